"""One W&B run, fed from a thread of its own: it can neither prompt, nor hold up, nor end the training."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from headstart.tracking import wandb_artifacts, wandb_calls, wandb_internals, wandb_sweep
from headstart.tracking import wandb_settings as waits
from headstart.tracking.tracker import About, LoggerSettings, Pictures, State
from headstart.tracking.wandb_account import log_in, prepare_environment, read_known_settings
from headstart.tracking.wandb_names import LONGEST, fit_names
from headstart.tracking.wandb_reach import ServerCheck
from headstart.tracking.wandb_recordings import mark_uploaded
from headstart.tracking.wandb_settings import EXIT_CODES, KEPT, QUIET

log = logging.getLogger(__name__)


class WandbRun:
    """One W&B run. No call blocks; `close` waits a few seconds at most; trouble costs one warning.

    Each attempt of a run records the whole run, from its first epoch, under one id and never as W&B's "resume": so the
    latest recording in the folder is complete by itself, and W&B has each epoch once, whatever it had before.
    """

    def __init__(
        self, folder: Path, settings: LoggerSettings, about: About, *, resume: bool = False, kept: str = KEPT
    ) -> None:
        """Start a run in `folder`/wandb.

        Args:
            resume: only add to what W&B's server has of the run.
            kept: the sentence of the warning that says what is not lost.
        """
        self._folder, self._kept, self._resume = folder, kept, resume
        self._settings = settings
        self._arguments = {
            **fit_names(about.run_id, about.name, about.study),
            "config": dict(about.config) | wandb_sweep.describe_parameters(),
            "job_type": about.job_type[:LONGEST],
            "tags": list(about.tags),
        }
        self._calls: queue.SimpleQueue[Callable[[Any], None] | None] = queue.SimpleQueue()
        self._done = threading.Event()
        self._limit, self._allowed = float("inf"), waits.LOCAL_SECONDS
        self._state: State = "failed"
        self._online = False
        self._opening = True
        self._server: ServerCheck | None = None  # the latest
        self._warned = self._abandoned = self._closed = False
        self._set_data_dir = "WANDB_DATA_DIR" not in os.environ
        prepare_environment(folder / "wandb", data_too=self._set_data_dir)
        try:
            import wandb
        except Exception as error:
            self._warn("W&B cannot be imported", error)
            self._closed = True
            return
        self._wandb = wandb
        wandb_internals.silence_news()
        wandb_internals.count_no_imports()
        threading.Thread(target=self._work, name="headstart-wandb", daemon=True).start()
        self.send(wandb_calls.define_curves)

    def log(self, epoch: int, point: Mapping[str, float]) -> None:
        self.send(lambda run: wandb_calls.log_point(run, epoch, point))

    def describe(self, facts: Mapping[str, Any]) -> None:
        """Add facts to the config; a W&B table would be a file, which a bad network connection loses."""
        self.send(lambda run: run.config.update(dict(facts), allow_val_change=True))

    def summarise(self, numbers: Mapping[str, Any]) -> None:
        self.send(lambda run: run.summary.update(dict(numbers)))

    def show(self, pictures: Pictures) -> None:
        self.send(lambda run: wandb_calls.log_pictures(run, pictures))

    def send(self, call: Callable[[Any], None]) -> None:
        """Have `call` run with the `wandb.Run`, after those sent before it."""
        if not self._closed:
            self._calls.put(call)

    def close(self, state: State, seconds: float | None = None) -> None:
        """End the run in a state; only the first call counts.

        `seconds` is how long what was sent may take until the server is asked; None: as long as is due.
        """
        if self._closed:
            return
        if state == "completed" and self._settings.artifacts == "model" and not self._resume:
            self.send(wandb_artifacts.prepare_model(self._folder, self._arguments["config"]))
        self._closed = True
        self._state = state
        self._limit = time.monotonic() + (self._allowed if seconds is None else seconds)
        self._calls.put(None)
        threading.Thread(target=self._hurry, daemon=True).start()
        try:
            while not self._done.wait(0.02):
                if time.monotonic() > self._limit:
                    what = "W&B did not finish"
                    self._abandon(self._server.describe(what) if self._server else what, "no answer in time")
                    return
        except BaseException:  # Ctrl-C, or a signal that `headstart.runtime.signals` turned into its exception
            self._abandon("W&B did not finish", "interrupted while it uploaded")
            raise
        finally:
            if self._set_data_dir:
                os.environ.pop("WANDB_DATA_DIR", None)

    def _hurry(self) -> None:
        """Ask the server at the end of an online run: a slow one is waited for, a mute one is not."""
        while self._opening and self._server is None and not self._done.is_set():
            time.sleep(0.02)
        if self._server is None or not self._online:
            return
        if self._opening and not self._server.answers_by(waits.PATIENCE_AT_OPEN):
            self._go_offline()
            return
        self._server = ServerCheck(self._server.url)
        self._limit = time.monotonic() + self._server.patience + waits.CLOSE_SECONDS
        self._limit = time.monotonic() + (waits.UPLOAD_SECONDS if self._server.is_well() else waits.FLUSH_SECONDS)

    def _watch_opening(self, server: ServerCheck) -> None:
        """While training goes on: leave a server that answers with errors, or with nothing for long."""
        if not server.answers_within(waits.MUTE_SECONDS):
            self._go_offline()

    def _go_offline(self) -> None:
        """End `wandb.init`, if it still waits for the server: the run is recorded offline."""
        if self._opening:
            with contextlib.suppress(BaseException):
                wandb_internals.kill_service()

    def _work(self) -> None:
        """Open the run, make the calls, finish it; runs in the thread."""
        try:
            run = self._open()
            broken = False
            while (call := self._calls.get()) is not None:
                broken = broken or run is None or not self._made(call, run)
            if run is not None:
                wandb_sweep.mark_if_preempted(run, self._state)
                run.finish(exit_code=EXIT_CODES[self._state])
                if self._online and not (broken or self._abandoned):
                    mark_uploaded(run)
        except BaseException as error:  # also SystemExit: nothing that W&B raises may reach the training
            self._warn("W&B stopped", error)
            self._stop_service()
        finally:
            self._done.set()

    def _made(self, call: Callable[[Any], None], run: Any) -> bool:
        """Make one call and say whether it went well; the first that does not is the last."""
        try:
            call(run)
        except Exception as error:
            self._warn("W&B could not log", error)
            return False
        return True

    def _open(self) -> Any:
        """Return a fresh run: online if asked for, allowed and possible, else offline; None: W&B is switched off."""
        mode = read_known_settings(self._wandb).mode
        if mode == "disabled":
            log.info("W&B is switched off by `wandb disabled`; metrics are in metrics.csv; `wandb enabled` turns it on")
            return None
        trouble: tuple[str, object] | None = None
        if mode != "offline" and self._settings.mode != "offline":
            self._online, trouble = log_in(self._wandb, self._settings.mode)
        if trouble is None and self._online:
            self._server = ServerCheck(self._wandb.setup().settings.base_url, waits.INIT_SECONDS)
            self._allow(waits.CLOSE_SECONDS)
            threading.Thread(target=self._watch_opening, args=(self._server,), daemon=True).start()
            try:
                run = self._init("online")
                self._opening = False
                log.info("W&B: %s", run.url or "online")
                return run
            except Exception as error:
                if self._abandoned:
                    raise
                self._opening = False
                trouble = self._server.describe("W&B did not accept the run"), error
                self._stop_service()  # it would take the offline run for the one that failed, by its id
        self._opening = self._online = False
        self._allow(waits.LOCAL_SECONDS)
        run = self._init("offline")
        place = self._folder / "wandb"
        if trouble is not None:  # said now that there is a folder to sync
            self._warn(*trouble)
        log.info("W&B offline: %s; look at it with: wandb leet %s", place, place)
        return run

    def _allow(self, seconds: float) -> None:
        """Set how long the run waits for W&B at its end; counted from now, where it waits already."""
        self._allowed = seconds
        if self._closed:
            self._limit = time.monotonic() + seconds

    def _init(self, mode: Literal["online", "offline"]) -> Any:
        """Call `wandb.init`; each run stands alone, whatever other runs this process has open."""
        wanted = QUIET | dict.fromkeys(wandb_internals.MACHINE, not self._settings.system)
        settings = self._wandb.Settings(**{k: v for k, v in wanted.items() if k in self._wandb.Settings.model_fields})
        return self._wandb.init(
            **self._arguments,
            project=self._settings.project,
            entity=self._settings.entity,
            dir=str(self._folder),
            mode=mode,
            resume="allow" if self._resume and mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )

    def _abandon(self, what: str, reason: str) -> None:
        """Give the run up; its file is written by then."""
        self._abandoned = True
        self._warn(what, reason)
        thread = threading.Thread(target=self._stop_service, daemon=True)
        thread.start()
        thread.join(1.0)

    def _stop_service(self) -> None:
        """End W&B's process, which would hold up this one's exit; the next job starts a new one."""
        with contextlib.suppress(BaseException):
            wandb_internals.kill_service()
        with contextlib.suppress(BaseException):
            self._wandb.teardown()

    def _warn(self, what: str, reason: object) -> None:
        """Say, once a run, what is wrong, that nothing is lost, and how to upload, if there is something to upload."""
        if self._warned:
            return
        self._warned = True
        text = (str(reason).splitlines() or [type(reason).__name__])[0]
        place = self._folder / "wandb"
        online = "--no-skip-online " if self._online else ""
        later = f"; upload later with wandb sync {online}{shlex.quote(str(place))}" if any(place.glob("*run-*")) else ""
        log.warning("%s: %s. %s%s", what, text.rstrip("."), self._kept, later)
