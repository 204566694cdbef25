"""Run work in a process of its own; if the process dies, the caller still gets its results so far and the reason.

A server process loads torch and timm once and forks for each piece of work. So a further piece costs milliseconds,
starts with the same memory as the others, and its crash does not affect the caller.
"""

import importlib
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection
from pathlib import Path
from typing import Any

from headstart.config import own_code
from headstart.errors import UserError

PRELOAD = "headstart.zoo.measure"


def make_context() -> Any:
    """Make the context that starts processes: forked from a server if the system can do that, else new ones."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload([PRELOAD])
    return made


def warm_up() -> None:
    """Start the server, which loads torch in the background."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        make_context()
        from multiprocessing import forkserver

        forkserver.ensure_running()


def run_in_process(work: str, *arguments: Any, timeout_s: float, imports: Sequence[str] = ()) -> dict[str, Any]:
    """Run a generator of dictionaries in a process of its own and merge what it yields.

    Args:
        work: `module:function`, by name, so that the caller need not import the module.
        imports: modules of one's own that are imported before (`headstart.config.own_code`).

    Returns:
        The merged dictionary; if the work stopped early, `error` is a sentence with the reason.
    """
    starter = make_context()
    ours, theirs = starter.Pipe(duplex=False)
    process = starter.Process(target=_serve, args=(theirs, work, arguments, imports), daemon=True)
    process.start()
    theirs.close()
    found: dict[str, Any] = {}
    try:
        complete = _receive(ours, found, time.monotonic() + timeout_s)
        if complete is None:
            return found | {"error": f"took longer than {timeout_s:g} s"}
        process.join(10)
        return found if complete else found | {"error": _describe_exit(process.exitcode)}
    finally:
        ours.close()
        if process.is_alive():
            process.kill()
        process.join()


def _receive(ours: connection.Connection, found: dict[str, Any], until: float) -> bool | None:
    """Fill `found`; returns True if the work is complete, False if its process ended before, None if it is too late."""
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


def _describe_exit(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"its process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _serve(theirs: connection.Connection, work: str, arguments: tuple[Any, ...], imports: Sequence[str]) -> None:
    """Do the work in the child process, without standard output, which is for the table, and without warnings."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    with suppress(OSError):  # if memory runs out, the system shall end this process and not the caller
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        own_code.load(imports)
        module, _, function = work.partition(":")
        for part in getattr(importlib.import_module(module), function)(*arguments):
            theirs.send(part)
    except KeyboardInterrupt:
        os._exit(130)
    except UserError as error:
        theirs.send({"refused": str(error)})
    except Exception as error:
        theirs.send({"error": _describe_error(error)})
    theirs.send(None)
    theirs.close()


def _describe_error(error: Exception) -> str:
    """The error's first line, shortened for a cell of the table."""
    text = " ".join(str(error).strip().partition("\n")[0].split())
    short = text if len(text) <= 200 else f"{text[:199]}…"
    return f"{type(error).__name__}: {short}" if short else type(error).__name__
