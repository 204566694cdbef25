"""One W&B run, fed from a thread of its own: it can neither prompt, nor hold up, nor end the training."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from headstart.tracking import wandb_internals
from headstart.tracking.wandb_reach import ServerCheck

log = logging.getLogger(__name__)

INIT_SECONDS = 2.5  # for the server to accept the run; after that it is recorded offline
CLOSE_SECONDS = 4.5  # what a run may wait for W&B at its end ...
UPLOAD_SECONDS = 60.0  # ... unless the server answers: then as long as the upload takes, up to this
FLUSH_SECONDS = 1.5  # what an unreachable server is waited for: W&B's process writes its file every second
KEPT = "The run goes on; metrics are in metrics.csv"

# Quiet, and no look at console, git, machine, packages or command line: slow, and arguments may hold secrets.
QUIET: dict[str, Any] = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "label_disable": True,
    "init_timeout": INIT_SECONDS,
    "finish_timeout": UPLOAD_SECONDS,
    "use_dot_wandb": False,
    **wandb_internals.SETTINGS,
}


class LoggerSettings(Protocol):
    """The `logger` part of the config."""

    @property
    def wandb(self) -> bool: ...
    @property
    def project(self) -> str | None: ...
    @property
    def entity(self) -> str | None: ...
    @property
    def mode(self) -> str: ...
    @property
    def tags(self) -> Sequence[str]: ...


class WandbRun:
    """One W&B run. `send` never blocks; `close` waits a few seconds at most; trouble costs one warning."""

    def __init__(
        self, folder: Path, settings: LoggerSettings, arguments: Mapping[str, Any], *, kept: str = KEPT
    ) -> None:
        """Start a run in `folder`/wandb; `arguments` go to `wandb.init` (id, name, group, config, ...).

        `kept` is the sentence of the warning that says what is not lost.
        """
        self._folder = folder
        self._kept = kept
        self._settings = settings
        self._arguments = dict(arguments)
        self._calls: queue.SimpleQueue[Callable[[Any], None] | None] = queue.SimpleQueue()
        self._done = threading.Event()
        self._limit = float("inf")
        self._exit_code = 1
        self._online = False
        self._server: ServerCheck | None = None  # the latest
        self._warned = False
        self._abandoned = False
        self._closed = False
        self._set_data_dir = "WANDB_DATA_DIR" not in os.environ
        self._prepare_environment(folder / "wandb")
        try:
            import wandb
        except Exception as error:
            self._warn("W&B cannot be imported", error)
            self._closed = True
            return
        self._wandb = wandb
        wandb_internals.silence_news_thread()
        wandb_internals.count_no_imports()
        threading.Thread(target=self._work, name="headstart-wandb", daemon=True).start()

    def _prepare_environment(self, place: Path) -> None:
        """Keep W&B's files in the run's folder, its process our own, and its error reports at home."""
        if self._set_data_dir:  # the pictures of tables; W&B's own choice is the home folder
            os.environ["WANDB_DATA_DIR"] = str(place)
        try:
            Path(os.environ["HOME"], ".cache").mkdir(exist_ok=True)
        except (KeyError, OSError):  # W&B's process would log to the console
            os.environ.setdefault("WANDB_CACHE_DIR", str(place / "cache"))
        wandb_internals.forget_inherited_service()
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")

    def send(self, call: Callable[[Any], None]) -> None:
        """Have `call` run with the `wandb.Run`, after those sent before it."""
        if not self._closed:
            self._calls.put(call)

    def close(self, exit_code: int, seconds: float = CLOSE_SECONDS) -> None:
        """End the run in the state of `exit_code` (0: finished, else failed); only the first call counts.

        `seconds` is how long what was sent may take that far, the start of W&B's process with it.
        """
        if self._closed:
            return
        self._closed = True
        self._exit_code = exit_code
        self._limit = time.monotonic() + seconds
        self._calls.put(None)
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

    def _work(self) -> None:
        """Open the run, make the calls, finish it; runs in the thread."""
        try:
            run = self._open()
            broken = False
            while (call := self._calls.get()) is not None:
                broken = broken or run is None or not self._made(call, run)
            if self._online:
                self._server = ServerCheck(self._wandb.setup().settings.base_url)
                self._limit = time.monotonic() + (UPLOAD_SECONDS if self._server.is_well() else FLUSH_SECONDS)
            if run is not None:
                run.finish(exit_code=self._exit_code)
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
        mode = self._read_known_settings().mode
        if mode == "disabled":
            log.info("W&B is switched off by `wandb disabled`; metrics are in metrics.csv; `wandb enabled` turns it on")
            return None
        trouble: tuple[str, object] | None = None
        if mode != "offline" and self._settings.mode != "offline":
            trouble = self._log_in()
        if trouble is None and self._online:
            self._server = ServerCheck(self._wandb.setup().settings.base_url)
            try:
                run = self._init("online")
                log.info("W&B: %s", run.url or "online")
                return run
            except Exception as error:
                if self._abandoned:
                    raise
                trouble = self._server.describe("W&B did not accept the run"), error
                self._stop_service()  # it would take the offline run for the one that failed, by its id
        self._online = False
        run = self._init("offline")
        place = self._folder / "wandb"
        if trouble is not None:  # said now that there is a folder to sync
            self._warn(*trouble)
        log.info("W&B offline: %s; look at it with: wandb leet %s", place, place)
        return run

    def _init(self, mode: Literal["online", "offline"]) -> Any:
        """Call `wandb.init`; each run stands alone, whatever other runs this process has open."""
        settings = self._wandb.Settings(**{k: v for k, v in QUIET.items() if k in self._wandb.Settings.model_fields})
        return self._wandb.init(
            **self._arguments,
            project=self._settings.project,
            entity=self._settings.entity,
            dir=str(self._folder),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=settings,
        )

    def _read_known_settings(self) -> Any:
        """W&B's settings from the environment, the folder (`wandb offline`, `wandb disabled`) and the account."""
        return self._wandb.setup(self._wandb.Settings(silent=True)).settings

    def _log_in(self) -> tuple[str, object] | None:
        """Set whether to talk to the server: never without a key, so that W&B has nothing to ask for.

        Returns what is wrong, and why, if the user wants to be online and cannot.
        """
        others: Any = self._wandb.run  # a run that the user has opened; while it lasts, `wandb.login` does nothing
        if others is not None:
            self._online = not (others.offline or others.disabled)
            return None
        try:
            self._online = bool(self._wandb.login(prompt=False, verify=False))
        except Exception as error:
            return "W&B does not accept the API key", error
        if not self._online and self._settings.mode == "online":
            return "W&B has no API key", "set WANDB_API_KEY or call wandb login"
        return None

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
