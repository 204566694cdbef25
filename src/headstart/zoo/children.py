"""Work in a process of its own: whatever happens in it, the caller gets what it had found, and the reason it stopped.

A server process loads torch and timm once and forks for each piece of work, so that one more costs milliseconds, starts
with the same memory as the others, and takes nobody with it.
"""

import importlib
import multiprocessing
import os
import signal
import time
import warnings
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any

PRELOAD = "headstart.zoo.measure"


def context() -> Any:
    """How processes are started here: forked from a server where the system can, else each from nothing."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([PRELOAD])
    return made


def warm_up() -> None:
    """Start the server, which loads torch while the caller goes on."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        context()
        from multiprocessing import forkserver

        forkserver.ensure_running()


def ask(work: str, *arguments: Any, timeout_s: float) -> dict[str, Any]:
    """Run a generator of dictionaries in a process of its own and join what it yields.

    Args:
        work: `module:function`, by name, as its module may be one that the caller has no use for.

    Returns:
        The parts as one dictionary; `error` says in a sentence why it stopped early, where it did.
    """
    starter = context()
    ours, theirs = starter.Pipe(duplex=False)
    process = starter.Process(target=_serve, args=(theirs, work, arguments), daemon=True)
    process.start()
    theirs.close()
    found: dict[str, Any] = {}
    try:
        complete = _receive(ours, found, time.monotonic() + timeout_s)
        if complete is None:
            return found | {"error": f"took longer than {timeout_s:g} s"}
        process.join(10)
        return found if complete else found | {"error": _ending(process.exitcode)}
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
        process.join()


def _receive(ours: connection.Connection, found: dict[str, Any], until: float) -> bool | None:
    """Fill `found`; True where the work came to its end, False where its process did first, None where it is late."""
    while True:
        if not ours.poll(max(0.0, until - time.monotonic())):
            return None
        try:
            part = ours.recv()
        except (EOFError, OSError):
            return False
        if part is None:
            return True
        found.update(part)


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"its process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _serve(theirs: connection.Connection, work: str, arguments: tuple[Any, ...]) -> None:
    """The other side: standard output belongs to the caller's table, and warnings of libraries to nobody."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    with suppress(OSError):  # where memory runs out, this process is to end, not the one that asked
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        module, _, function = work.partition(":")
        for part in getattr(importlib.import_module(module), function)(*arguments):
            theirs.send(part)
    except KeyboardInterrupt:
        os._exit(130)
    except Exception as error:
        theirs.send({"error": _reason(error)})
    theirs.send(None)
    theirs.close()


def _reason(error: Exception) -> str:
    """The error's first line, cut to what a cell can hold."""
    text = " ".join(str(error).strip().partition("\n")[0].split())
    short = text if len(text) <= 200 else f"{text[:199]}…"
    return f"{type(error).__name__}: {short}" if short else type(error).__name__
