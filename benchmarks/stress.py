"""Does a sweep on two workers that are killed and stopped end with the numbers of one that was left alone?

Command:   python -m benchmarks stress
Expected:  100 results, none twice, none missing, none different; 5 to 15 minutes on 2 cores.

100 jobs on the digits at 32 px in one multirun: feature extraction and fine-tuning for 2 epochs, 50 seeds each. First
it runs undisturbed, one job after the other in one process. Then, in another folder, two workers of Ray run it: the
command is sent SIGKILL after 5 random numbers of results (of a fixed seed) and started again each time. In its last run
one worker is sent SIGKILL, the other is stopped for 10 s and continued. Compared are the folders' names, the metrics,
predictions.csv and the bytes of the final weights; a result that was there when the command was killed must not be
written again.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.measure import HEADSTART, Figure, environment, run, say

JOBS, KILLS, PATIENCE = 100, 5, 1800
LATER = 1.0  # seconds at most, after so many results, until the command is killed
STOPPED = 10.0  # seconds
RUNS_A_JOB = b"ray::Worker.run"  # what Ray calls such a process; Ray's own agents work in the same folder
SWEEP = (
    "train", "-m", "strategy=feature_extraction,finetune", "seed=range(50)", "data.image_size=32",
    "data.train_per_class=4", "data.n_test=60", "epochs=2", "hardware=cpu", "hardware.threads=1", "logger=csv",
    "study=stress", "checkpoint_every=0",
)  # fmt: skip
ON_RAY = ("hydra/launcher=ray", "hydra.launcher.num_cpus=1")


def measure(repeats: int) -> list[Figure]:
    """Results of a disturbed sweep against those of an undisturbed one; the number of repeats has no part in it."""
    moments = random.Random(0)
    with tempfile.TemporaryDirectory(prefix="headstart-stress-") as scratch:
        calm, disturbed = Path(scratch) / "calm", Path(scratch) / "disturbed"
        for place in (calm, disturbed):
            place.mkdir()
        alone = run(_command(calm), cwd=calm).seconds
        say(f"  undisturbed: {alone:.0f} s")
        stamps: dict[str, int] = {}
        rewritten, killed = 0, 0

        def look() -> int:
            nonlocal rewritten, stamps
            now = _stamps(disturbed)
            rewritten += sum(now.get(name) != stamp for name, stamp in stamps.items())
            stamps = now
            return len(now)

        for wanted in sorted(moments.sample(range(JOBS * 3 // 4), KILLS)):
            child = _start(disturbed)
            _wait_until(lambda child=child, wanted=wanted: child.poll() is not None or len(_stamps(disturbed)) > wanted)
            time.sleep(moments.uniform(0, LATER))
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                killed += 1
            child.wait(PATIENCE)
            say(f"  killed: {look()} of {JOBS} results")
        ended = _disturb_workers(disturbed)
        look()
        ours, theirs = read_results(disturbed, "stress"), read_results(calm, "stress")
        different = [name for name in theirs.keys() & ours.keys() if ours[name] != theirs[name]]
    return [
        Figure("stress: times that the command was killed", killed, "", at_least=KILLS),
        Figure("stress: workers that were killed, and stopped", ended, "", at_least=2),
        Figure("stress: results", len(ours), "", at_least=JOBS),
        Figure("stress: results written twice", rewritten, "", at_most=0),
        Figure("stress: results missing or too many", len(ours.keys() ^ theirs.keys()), "", at_most=0),
        Figure("stress: results that differ from the undisturbed sweep's", len(different), "", at_most=0),
    ]


def _disturb_workers(place: Path) -> int:
    """Start the command for the last time; kill one worker, stop the other for a while; returns how many of these."""
    _wait_until(lambda: not _workers(place))  # those of the command that was killed end by themselves
    child, before = _start(place), len(_stamps(place))
    _wait_until(lambda: child.poll() is not None or (len(_stamps(place)) > before and len(_workers(place, True)) >= 2))
    disturbed = 0
    if len(workers := _workers(place, True)) >= 2:
        os.kill(workers[0], signal.SIGKILL)
        os.kill(workers[1], signal.SIGSTOP)
        time.sleep(STOPPED)
        with suppress(ProcessLookupError):
            os.kill(workers[1], signal.SIGCONT)
            disturbed = 2
    code = child.wait(PATIENCE)
    say(f"  a worker killed, another stopped for {STOPPED:.0f} s; exit code {code}")
    return disturbed


def _workers(place: Path, busy: bool = False) -> list[int]:
    """Ray's processes that work in this folder, or those of them that run a job."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            name = (process / "cmdline").read_bytes()
            if name.startswith(RUNS_A_JOB if busy else b"ray::") and (process / "cwd").readlink() == place:
                found.append(int(process.name))
    return sorted(found)


def _wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > limit:
            raise TimeoutError(f"nothing happened for {PATIENCE} s")
        time.sleep(0.2)


def _start(place: Path) -> subprocess.Popen[bytes]:
    command, nowhere = (*_command(place), *ON_RAY), subprocess.DEVNULL
    return subprocess.Popen(command, cwd=place, env=environment(), stdout=nowhere, stderr=nowhere)


def _command(place: Path) -> tuple[str, ...]:
    return (*HEADSTART, *SWEEP, f"output_dir={place / 'outputs'}")


def _stamps(place: Path) -> dict[str, int]:
    """When each result was written, by its run's name."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (place / "outputs" / "stress").glob("*/result.json")}


def read_results(place: Path, study: str) -> dict[str, tuple[str, ...]]:
    """By a run's name: its metrics, and digests of its predictions and its final weights."""
    found = {}
    for path in (place / "outputs" / study).glob("*/result.json"):
        result = json.loads(path.read_text("utf-8"))
        files = (path.with_name("predictions.csv"), path.with_name("checkpoints") / "best.safetensors")
        digests = [hashlib.blake2b(file.read_bytes()).hexdigest() for file in files]
        found[path.parent.name] = (json.dumps([result["status"], result["test"], result["val"]]), *digests)
    return found
