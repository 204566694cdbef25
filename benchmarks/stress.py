"""Does a sweep that is killed again and again end with the numbers of one that was left alone?

Command:   python -m benchmarks stress
Expected:  40 results, none twice, none missing, none different; about 5 minutes on 2 cores.

40 jobs on the digits at 32 px in one multirun: feature extraction and fine-tuning for 2 epochs, 20 seeds each. First it
runs undisturbed. Then, in another folder, it is sent SIGKILL at 5 random moments (of a fixed seed), started again by
the same command each time, and at last left to end. Compared are the folders' names, the metrics, predictions.csv and
the bytes of the final weights; a result that was there when the sweep was killed must not be written again.
"""

import hashlib
import json
import random
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measure import HEADSTART, Figure, environment, run, say

JOBS, KILLS, FIRST, PATIENCE = 40, 5, 8.0, 600
SWEEP = (
    "train", "-m", "strategy=feature_extraction,finetune", "seed=range(20)", "data.image_size=32",
    "data.train_per_class=4", "data.n_test=60", "epochs=2", "hardware=cpu", "hardware.threads=1", "logger=csv",
    "study=stress", "checkpoint_every=0",
)  # fmt: skip


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
        while killed < KILLS:
            until = FIRST + moments.uniform(0, alone / KILLS)
            child = subprocess.Popen(
                _command(disturbed),
                cwd=disturbed,
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
            )
            time.sleep(until)
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                killed += 1
            child.wait(PATIENCE)
            now = _stamps(disturbed)
            rewritten += sum(now.get(name) != stamp for name, stamp in stamps.items())
            stamps = now
            say(f"  killed after {until:.1f} s: {len(now)} of {JOBS} results")
            if len(now) == JOBS:
                break
        last = run(_command(disturbed), cwd=disturbed)
        now = _stamps(disturbed)
        rewritten += sum(now.get(name) != stamp for name, stamp in stamps.items())
        say(f"  the last start skipped {last.output.count('is complete')}, took {last.seconds:.0f} s")
        ours, theirs = read_results(disturbed, "stress"), read_results(calm, "stress")
        different = [name for name in theirs.keys() & ours.keys() if ours[name] != theirs[name]]
        return [
            Figure("stress: times that the sweep was killed", killed, "", at_least=KILLS),
            Figure("stress: results", len(ours), "", at_least=JOBS),
            Figure("stress: results written twice", rewritten, "", at_most=0),
            Figure("stress: results missing or too many", len(ours.keys() ^ theirs.keys()), "", at_most=0),
            Figure("stress: results that differ from the undisturbed sweep's", len(different), "", at_most=0),
        ]


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
