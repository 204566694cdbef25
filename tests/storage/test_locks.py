"""One process at a time: flock where it works, a lease with an owner and an end where it does not. Real processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from headstart.errors import RunFailed, UserError
from headstart.storage import locks, records, runs
from headstart.storage.runs import Run

LEASE = 1.0  # seconds
REFUSED = r"{folder} is being run by pid {pid} on {host}: wait for it, or stop it$"

# Says "held" when it holds the run's lock, then completes the run at the first line of its standard input.
CHILD = """
import errno, fcntl, logging, os, subprocess, sys
from pathlib import Path
from headstart.storage import runs
from headstart.errors import as_user_error
from headstart.storage import locks

folder, flock, note = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
locks.LEASE, locks.HEARTBEAT = float(sys.argv[4]), 0.2
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="log: %(message)s")
def broken(descriptor, operation):
    if flock != "lies":
        number = getattr(errno, flock)
        raise OSError(number, os.strerror(number))
if flock != "works":
    fcntl.flock = broken
try:
    with locks.hold(folder / runs.LOCK) as lock:
        if note == "agent":
            subprocess.Popen(["sleep", "60"], pass_fds=(lock.descriptor,), stdout=subprocess.DEVNULL)
        print("held", flush=True)
        sys.stdin.readline()
        run = runs.Run(folder, "name", "study", "hash", lock=lock.descriptor, claim=lock.claim)
        run.complete({"status": "completed", "by": note})
        print("completed", flush=True)
except Exception as error:
    print(type(as_user_error(error)).__name__, error, flush=True)
"""


class Child(subprocess.Popen[str]):
    """A process that works on the run in `folder`."""

    def __init__(self, folder: Path, flock: str, note: str = "") -> None:
        command = (sys.executable, "-c", CHILD, str(folder), flock, note, str(LEASE))
        super().__init__(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0)
        self.said: list[str] = []

    def next_line(self) -> str:
        """What it says next; what it logs before is kept in `said`."""
        assert self.stdout is not None
        for line in self.stdout:
            if not line.startswith("log: "):
                return line.strip()
            self.said.append(line.strip())
        return "nothing"

    def finish(self) -> str:
        """Let it complete the run; what it says of that."""
        assert self.stdin is not None
        self.stdin.write("\n")
        self.stdin.flush()
        said = self.next_line()
        self.wait(10)
        return said


@contextmanager
def working(folder: Path, flock: str, note: str = "") -> Iterator[Child]:
    """A child that holds the lock; it and its own children are killed at the end."""
    with Child(folder, flock, note) as child:
        try:
            assert child.next_line() == "held"
            yield child
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def refusal(folder: Path, pid: int) -> str:
    return REFUSED.format(folder=folder, pid=pid, host=socket.gethostname())


def broken_flock(number: int) -> object:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases in this process, as short as the children's."""
    monkeypatch.setattr("fcntl.flock", broken_flock(errno.ENOLCK))
    monkeypatch.setattr(locks, "LEASE", LEASE)
    monkeypatch.setattr(locks, "HEARTBEAT", 0.2)


def test_a_second_process_is_refused_at_once_and_the_lock_ends_with_a_killed_owner(tmp_path: Path) -> None:
    path = tmp_path / runs.LOCK
    with working(tmp_path, "works") as child:
        began = time.monotonic()
        with pytest.raises(UserError, match=refusal(tmp_path, child.pid)), locks.hold(path):
            pass
        assert time.monotonic() - began < 0.5
        before = path.stat().st_ino
        child.kill()
        child.wait()
        with locks.hold(path) as lock:
            assert lock.claim is None
            assert path.read_text() == f"pid {os.getpid()} on {socket.gethostname()}"
    assert path.stat().st_ino == before, "the file stays"
    assert [entry.name for entry in tmp_path.iterdir()] == [runs.LOCK], "no lease where flock works"


def test_a_child_that_inherits_the_descriptor_holds_the_lock_when_the_owner_is_killed(tmp_path: Path) -> None:
    with working(tmp_path, "works", "agent") as child:
        child.kill()
        child.wait()
        with pytest.raises(UserError, match=refusal(tmp_path, child.pid)), locks.hold(tmp_path / runs.LOCK):
            pass
        os.killpg(child.pid, signal.SIGKILL)
        with locks.hold(tmp_path / runs.LOCK, wait=True):
            pass


def test_on_a_full_disk_the_lock_holds_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with (
        locks.hold(tmp_path / runs.LOCK),
        pytest.raises(UserError, match="is being run by another process: wait"),
        locks.hold(tmp_path / runs.LOCK),
    ):
        pass


@pytest.mark.parametrize("flock", ["ENOLCK", "lies"])
def test_a_lease_is_used_and_said_where_flock_fails_or_lets_everybody_in(flock: str, tmp_path: Path) -> None:
    reason = "flock does not keep other processes out" if flock == "lies" else os.strerror(getattr(errno, flock))
    with working(tmp_path, flock, "first") as child:
        (said,) = child.said
        assert said.startswith(f"log: this file system has no flock that other hosts see ({reason}): a lease is used")
        assert child.finish() == "completed"
    assert records.read_result(tmp_path) == {"status": "completed", "by": "first"}


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_lease_is_used_whatever_the_error_of_a_missing_flock(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", broken_flock(number))
    with locks.hold(tmp_path / runs.LOCK) as lock:
        assert lock.claim == (tmp_path / runs.LOCK).read_text()


@pytest.mark.parametrize(
    ("options", "local"), [("rw,vers=3,nolock,local_lock=all", True), ("rw,local_lock=none", False)]
)
def test_a_lease_is_used_where_a_mount_option_hides_locks_from_other_hosts(
    options: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path.stat().st_dev
    table = tmp_path / "mountinfo"
    table.write_text(
        "21 1 0:9999 / /other rw - nfs server:/other rw,local_lock=all\n"
        f"22 1 {os.major(device)}:{os.minor(device)} / /a\\040folder rw,relatime shared:1 - nfs server:/x {options}\n"
    )
    monkeypatch.setattr(locks, "MOUNTS", table)
    with locks.hold(tmp_path / runs.LOCK) as lock:
        assert (lock.claim is not None) == local
        assert (lock.descriptor is None) == local


def test_a_lease_that_is_renewed_refuses_with_its_owner_however_long_it_lasts(tmp_path: Path, no_flock: None) -> None:
    with working(tmp_path, "ENOLCK") as child:
        with pytest.raises(UserError, match=refusal(tmp_path, child.pid)), locks.hold(tmp_path / runs.LOCK):
            pass
        assert child.finish() == "completed"


def test_the_lease_of_a_killed_owner_is_taken_over_when_it_has_ended(
    tmp_path: Path, no_flock: None, caplog: pytest.LogCaptureFixture
) -> None:
    with working(tmp_path, "ENOLCK") as child:
        child.kill()
        child.wait()
        began = time.monotonic()
        with locks.hold(tmp_path / runs.LOCK):
            assert LEASE <= time.monotonic() - began < 2 * LEASE
    (said,) = [record.getMessage() for record in caplog.records if "taken over" in record.getMessage()]
    assert (
        said
        == f"{tmp_path}: taken over from pid {child.pid} on {socket.gethostname()}, which had not renewed its lease"
    )
    caplog.clear()
    with locks.hold(tmp_path / runs.LOCK):
        pass
    assert "taken over" not in caplog.text, "that one was given back"


def test_an_owner_that_was_stopped_for_longer_than_its_lease_writes_no_result(tmp_path: Path) -> None:
    with working(tmp_path, "ENOLCK", "first") as first:
        first.send_signal(signal.SIGSTOP)
        with working(tmp_path, "ENOLCK", "second") as second:
            assert any(f"taken over from pid {first.pid} on " in line for line in second.said)
            first.send_signal(signal.SIGCONT)
            said = first.finish()
            assert said.startswith(f"RunFailed another process (pid {second.pid} on {socket.gethostname()}) took ")
            assert f"{tmp_path} over at 20" in said
            assert said.endswith("its result counts, and this one's is not written")
            assert not (tmp_path / "result.json").exists()
            assert not (tmp_path / "state.json").exists()
            assert second.finish() == "completed"
    assert json.loads((tmp_path / "result.json").read_text())["by"] == "second"


def test_a_process_that_was_told_the_claim_finds_out_too(tmp_path: Path, no_flock: None) -> None:
    """As a rank, which writes the result of a run that the command holds."""
    path = tmp_path / runs.LOCK
    with locks.hold(path) as lock:
        rank = Run(tmp_path, "name", "study", "hash", claim=lock.claim)
        rank.update_state(status="running")
    with locks.hold(path) as other:
        assert locks.is_held(path, other.claim)
        with pytest.raises(RunFailed, match=f"pid {os.getpid()} on "):
            rank.complete({"status": "completed"})
    with pytest.raises(RunFailed, match=f"pid {os.getpid()} on "):  # the other has ended
        rank.update_state(status="failed")
    assert rank.read_state() == {"status": "running"}
    assert rank.read_result() is None


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "lease"])
def test_threads_keep_each_other_out_and_wait_for_each_other(
    flock: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not flock:
        request.getfixturevalue("no_flock")
    path, held, go_on = tmp_path / runs.LOCK, threading.Event(), threading.Event()
    times = []

    def work() -> None:
        with locks.hold(path):
            held.set()
            go_on.wait()
            time.sleep(0.3)
            times.append(time.monotonic())

    thread = threading.Thread(target=work)
    thread.start()
    assert held.wait(10)
    with pytest.raises(UserError, match=refusal(tmp_path, os.getpid())), locks.hold(path):
        pass
    go_on.set()
    with locks.hold(path, wait=True):
        assert 0 < time.monotonic() - times[0] < 0.5
    thread.join()


def test_what_cannot_be_locked_is_said(tmp_path: Path, no_flock: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*paths: object, **options: object) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"output_dir: cannot write .*file/\.lock"), locks.hold(tmp_path / "file/.lock"):
        pass
    monkeypatch.setattr(os, "link", no_links)
    with (
        pytest.raises(UserError, match=r"output_dir: cannot write .*/\.lock: .*hard-link"),
        locks.hold(tmp_path / ".lock"),
    ):
        pass


def test_without_the_module_of_flock_a_lease_is_used(tmp_path: Path) -> None:
    """As on Windows, where importing must not fail."""
    script = (
        "import sys; sys.modules['fcntl'] = None; from pathlib import Path; from headstart.storage import locks\n"
        "with locks.hold(Path(sys.argv[1])) as lock: assert lock.claim"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / ".lock")], check=True, timeout=30)


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(target)
    with (
        pytest.raises(UserError, match=r"run/\.lock is a symbolic link to .*precious"),
        locks.hold(tmp_path / "run" / ".lock"),
    ):
        pytest.fail("held")
    assert target.read_text() == "kept"
