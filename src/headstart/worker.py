"""One process of several of a run: torchrun starts it as `python -m headstart.worker FOLDER`."""

import json
import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from headstart.config import resolvers
from headstart.config.schema import from_plain
from headstart.distributed.torchrun import PATIENCE_AT_END, SHOWN, SPEC, STOP
from headstart.errors import Pruned, as_user_error
from headstart.runtime import shutdown, signals
from headstart.storage.files import write_json
from headstart.storage.runs import Run, log_to_file
from headstart.tracking import progress
from headstart.tracking.console import configure_logging


def main(exchange: Path) -> int:
    """Call `headstart.train.work` as one process of several; returns an exit code."""
    number = int(os.environ["RANK"])
    try:
        _work(exchange, number)
    except BaseException as error:
        fact: dict[str, Any] = {"rank": number, "when": time.time(), "kind": type(error).__name__}
        known = as_user_error(error)
        plain = known or isinstance(error, Pruned)
        fact["message"] = str(known or error) if plain else f"{type(error).__name__}: {error}"
        fact["signum"] = error.signum if isinstance(error, signals.Stopped) else None
        write_json(exchange / f"rank-{number}.json", fact)
        if os.environ.get("HEADSTART_DEBUG"):
            traceback.print_exc()
        if isinstance(error, signals.Stopped) and number > 0:
            _wait_for(exchange / "rank-0.json")  # rank 0 closes its files first: when one rank ends, torchrun ends all
        return 1
    return 0


def _work(exchange: Path, number: int) -> None:
    import torch
    from torch import distributed as dist

    from headstart.distributed import comm

    signals.watch_stop_file(exchange / STOP)
    spec = json.loads((exchange / SPEC).read_text("utf-8"))
    sys.path += [folder for folder in spec["path"] if folder not in sys.path]
    resolvers.register()
    config = from_plain(spec["config"])
    folder = Path(spec["run"]["folder"])
    run = Run(**spec["run"] | {"folder": folder, "leads": number == 0, "lock": None})
    on_gpu = config.hardware.accelerator == "gpu"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=comm.PATIENCE)
    configure_logging(quiet=number > 0)
    from headstart import train

    watch = progress.take_over(spec["progress"])
    with ExitStack() as stack:
        if number == 0:
            stack.enter_context(progress.watch_run(watch))
            stack.enter_context(log_to_file(folder / "train.log"))
        train.work(config, run, spec["digests"], spec["done"])
    if number == 0:
        write_json(exchange / SHOWN, sorted(watch.shown or ()))
    dist.destroy_process_group()


def _wait_for(path: Path) -> None:
    limit = time.monotonic() + PATIENCE_AT_END
    while not path.exists() and time.monotonic() < limit:
        time.sleep(0.05)


def entry(exchange: str) -> int:
    """Run this process and end it without the interpreter's teardown; the arguments come from `torchrun`."""
    codes = shutdown.exit_quickly()
    signals.end_with_parent(signal.SIGKILL)
    code = main(Path(exchange))
    if code:
        sys.stderr.flush()
        os._exit(code)  # exit handlers may wait for collectives with processes that are gone
    codes.append(code)
    return code


if __name__ == "__main__":
    sys.exit(entry(*sys.argv[1:]))
