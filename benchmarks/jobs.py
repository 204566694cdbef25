"""What does one more job of a sweep on cached features cost, and one that is skipped?

Command:   python -m benchmarks jobs
Expected:  on 2 otherwise idle cores at most 0.5 s for a job with W&B offline, 0.1 s for one that is skipped; about
           3 minutes with one repeat.

The sweep is `strategy=feature_extraction` on the digits, 10 images a class, once for each seed. A job's cost is the
difference between sweeps of 22 and of 2 jobs, as whole processes, divided by 20: what a process pays once, imports and
the first features, is in both. Beside it stands a bare loop: the same 45 fits of the same head on the same features,
without folders, configs, identity, predictions or W&B.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import HEADSTART, Figure, Process, interleaved, run, say, seconds

FEW, MANY = 2, 22
TRAIN = ("train", "-m", "strategy=feature_extraction", "data=digits", "data.train_per_class=10", "hardware=cpu")
LOOP = f"""
import json, time
import torch
import headstart
from headstart.data.sources import digits
from headstart.probe import Logistic
from PIL import Image

source = digits()
images = [Image.fromarray(source.train.images[row]) for row in range(len(source.train))]
features = torch.as_tensor(headstart.load("efficientnet_lite0").features(images))
labels = torch.as_tensor(source.train.labels)
def fit(seed):
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = torch.cat([order[labels[order] == label][:10] for label in range(10)])
    held = torch.cat([order[labels[order] == label][10:100] for label in range(10)])
    train, val = chosen.view(10, 10)[:, :8].flatten(), chosen.view(10, 10)[:, 8:].flatten()
    fitted = Logistic().fit(features[train], labels[train], features[val], labels[val], 10, None, seed=seed)
    return float((fitted.head(features[held]).argmax(1) == labels[held]).float().mean())
fit(0)
began = time.monotonic()
for seed in range({MANY - FEW}):
    fit(seed)
print("RESULT", json.dumps((time.monotonic() - began) / {MANY - FEW}))
"""


def measure(repeats: int) -> list[Figure]:
    """Seconds of one more job, with W&B offline and without, and of one more that is skipped."""
    with tempfile.TemporaryDirectory(prefix="headstart-jobs-") as scratch:
        place = Path(scratch)
        run(_command(MANY, "csv", "first"), cwd=place)  # the features of all seeds
        kinds = {"logger=csv": "csv", "W&B offline": "wandb"}
        sides: dict[str, Callable[[int], Process]] = {}
        for name, logger in kinds.items():
            for jobs in (FEW, MANY):
                sides[f"{name} {jobs}"] = _side(place, jobs, logger, f"{logger}-{jobs}")
        taken = interleaved(sides, repeats)
        skipped = {
            jobs: [run(_command(jobs, "csv", f"csv-{MANY}-0"), cwd=place) for _ in range(repeats)]
            for jobs in (FEW, MANY)
        }
        bare = json.loads(run((sys.executable, "-c", LOOP)).output.rpartition("RESULT")[2])
    cost = {name: _each(taken[f"{name} {FEW}"], taken[f"{name} {MANY}"]) for name in kinds}
    say(f"  one more job: {cost['logger=csv'] / bare:.1f} times the fits of a bare loop")
    return [
        Figure("one more job, logger=csv", cost["logger=csv"], "s"),
        Figure("one more job, W&B offline", cost["W&B offline"], "s", at_most=0.5),
        Figure("one more job that is skipped", _each(skipped[FEW], skipped[MANY]), "s", at_most=0.1),
        Figure("its fits in a bare loop", bare, "s"),
    ]


def _side(place: Path, jobs: int, logger: str, study: str) -> Callable[[int], Process]:
    return lambda turn: run(_command(jobs, logger, f"{study}-{turn}"), cwd=place)


def _command(jobs: int, logger: str, study: str) -> tuple[str, ...]:
    mode = ("env", "WANDB_MODE=offline")
    return (*mode, *HEADSTART, *TRAIN, f"seed=range({jobs})", f"logger={logger}", f"study={study}")


def _each(few: list[Process], many: list[Process]) -> float:
    return (seconds(many) - seconds(few)) / (MANY - FEW)
