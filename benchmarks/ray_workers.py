"""Is a study of small networks faster on two workers of one thread than one job after the other?

Command:   python -m benchmarks ray
Expected:  on 2 otherwise idle cores >= 1.5 x, Ray's start and the imports of both workers included; about 15 minutes.

The sides are `experiment=compound_grid size=small` in one process, whose jobs use all cores as they do by default, and
with `hydra/launcher=ray`, two workers of one core each. A third sweep, in one process with one thread, must have the
results of the second to the bit: metrics, predictions, final weights.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.measure import HEADSTART, Figure, Process, run, say
from benchmarks.stress import read_results

STUDY = "compound_grid"
SWEEP = ("train", "-m", f"experiment={STUDY}", "size=small", "hardware=cpu", "logger=csv")
ONE_THREAD = "hardware.threads=1"
ON_RAY = ("hydra/launcher=ray", "hydra.launcher.num_cpus=1")
INSTALL = "Ray is not installed: pip install -c constraints.txt -e '.[ray]'"


def is_installed() -> bool:
    """Whether the extra is there."""
    return find_spec("ray") is not None


def measure(repeats: int) -> list[Figure]:
    """How many times as fast a sweep is on Ray, and how many of its results differ; repeats have no part in it."""
    with tempfile.TemporaryDirectory(prefix="headstart-ray-benchmark-") as scratch:
        places = {name: Path(scratch) / name for name in ("sequence", "workers", "thread")}
        sides = {"sequence": (), "workers": (ONE_THREAD, *ON_RAY), "thread": (ONE_THREAD,)}
        taken: dict[str, Process] = {}
        for name, words in sides.items():
            places[name].mkdir()
            taken[name] = run((*HEADSTART, *SWEEP, *words), cwd=places[name])
            say(f"  {name}: {taken[name].seconds:.0f} s")
        ours, theirs = (read_results(places[name], STUDY) for name in ("workers", "thread"))
        different = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    faster = {name: process.seconds / taken["workers"].seconds for name, process in taken.items()}
    return [
        Figure("ray: two workers against one job after the other", faster["sequence"], "x", at_least=1.5),
        Figure("ray: two workers against one job of one thread", faster["thread"], "x"),
        Figure("ray: results", len(ours), "", at_least=18),
        Figure("ray: results that differ from those of one process", len(different), "", at_most=0),
    ]
