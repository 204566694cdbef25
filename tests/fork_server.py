"""Processes of `headstart` that begin with every library loaded: forked from a server, in place of 6 s of imports each.

They are real processes: a signal ends one, the system frees its lock, its exit code is its own. What they share is
what a fresh `python -m headstart` would find anew: the libraries as they are after import, and the seed of Python's
hashes. Tests of start-up, of the environment and of the way out start `python -m headstart`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

LATE = ("sklearn.datasets", "kornia.augmentation", "wandb")  # what headstart imports inside functions
LONGEST = 1 << 17  # bytes of a message


@dataclass
class Process:
    """A process that the server has forked; `said` is its output, line by line, where it was not sent elsewhere."""

    pid: int
    said: IO[str] | None = None

    def send_signal(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self, timeout: float = 300) -> int:
        """The exit code, negative after a signal; a process that takes too long is killed, and TimeoutError raised."""
        _running.discard(self.pid)
        link = _server()
        link.send(json.dumps({"wait": self.pid}).encode())
        link.settimeout(timeout)
        try:
            return int(link.recv(LONGEST))
        except TimeoutError:
            self.send_signal(signal.SIGKILL)
            link.settimeout(None)
            link.recv(LONGEST)
            raise
        finally:
            link.settimeout(None)


def start(
    *arguments: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    before: str = "",
    output: tuple[int, int] | None = None,
) -> Process:
    """Start `headstart ARGUMENTS`.

    Args:
        env: its environment; None: this one's.
        before: Python code that it runs first; it may end the process itself.
        output: the files that become its standard output and error; None: a pipe for both, to be read here.
    """
    request = {
        "arguments": arguments,
        "cwd": str(cwd or Path.cwd()),
        "env": dict(os.environ if env is None else env),
        "before": before,
    }
    ours, theirs = os.pipe() if output is None else (None, None)
    files = output or (theirs, theirs)
    link = _server()
    socket.send_fds(link, [json.dumps(request).encode()], files)
    pid = int(link.recv(LONGEST))
    _running.add(pid)
    if ours is None:
        return Process(pid)
    os.close(theirs)
    return Process(pid, os.fdopen(ours, encoding="utf-8"))


def run(*arguments: str, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """`start`, and wait for the end, as `subprocess.run(..., capture_output=True, text=True)` does."""
    pipes = [os.pipe(), os.pipe()]
    process = start(*arguments, output=(pipes[0][1], pipes[1][1]), **options)
    with ThreadPoolExecutor(len(pipes)) as pool:
        said = []
        for ours, theirs in pipes:
            os.close(theirs)
            said.append(pool.submit(_read, ours))
        code = process.wait(timeout)
    return subprocess.CompletedProcess(["headstart", *arguments], code, *(each.result() for each in said))


def read_to_end(process: Process) -> str:
    """What a started process says until it ends; it must end well."""
    assert process.said is not None
    with process.said:
        said = process.said.read()
    assert process.wait() == 0, said
    return said


def _read(pipe: int) -> str:
    with os.fdopen(pipe, encoding="utf-8") as file:
        return file.read()


def end_unfinished() -> None:
    """Kill what a test has started and, as it failed, not waited for."""
    for pid in list(_running):
        for kill in (os.kill, os.killpg):  # it may not have a group of its own yet
            with suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)
        Process(pid).wait()


_running: set[int] = set()
_link: socket.socket | None = None


def _server() -> socket.socket:
    """The connection to this process's server, which starts when it is first needed and ends with this process."""
    global _link
    if _link is None:
        _link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(theirs.fileno())]
        server = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        atexit.register(_end, _link, server)
    return _link


def _end(link: socket.socket, server: subprocess.Popen[bytes]) -> None:
    end_unfinished()
    link.close()
    server.wait()


def serve(link: socket.socket) -> None:
    """Fork a process for each request until the other side is closed; the forked ones return from here as well."""
    from headstart.runtime import shutdown

    codes = shutdown.exit_quickly()
    _load()
    gc.freeze()  # or each process would copy whatever its garbage collector looks at
    while True:
        message, files, *_ = socket.recv_fds(link, LONGEST, 2)
        if not message:
            codes.append(0)
            return
        request = json.loads(message)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            link.send(str(os.waitstatus_to_exitcode(status)).encode())
            continue
        pid = os.fork()
        if pid == 0:
            link.close()
            codes.append(_work(request, files))
            return
        for file in files:
            os.close(file)
        link.send(str(pid).encode())


def _load() -> None:
    import headstart

    for found in pkgutil.walk_packages(headstart.__path__, "headstart."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name in LATE:
        importlib.import_module(name)


def _work(request: dict[str, Any], output: Iterable[int]) -> int:
    """In a new process: what `python -m headstart` does, in a session of its own; returns its exit code."""
    from headstart.cli.main import main

    os.setsid()
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), *output)):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["headstart", *request["arguments"]]
    try:
        exec(request["before"], {"__name__": "before"})
        return main(request["arguments"])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
