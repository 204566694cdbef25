"""Every strategy of the catalogue, cut off in each of its phases and gone on with, and on two processes over gloo.

The processes are forked with their libraries loaded; that a process begun anew goes on as well, and that torchrun
starts the ranks, is tested in `test_resume` and `test_processes`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from headstart.models import factory, weights
from integration.test_processes import TWO, ranks_forked, results
from integration.test_resume import SHARD, STEP, killed, run_here, same, train
from integration.test_strategies import STRATEGIES

__all__ = ["ranks_forked"]  # a fixture
pytestmark = pytest.mark.slow

MIXED = ("augment.mixup=0.4", "augment.cutmix=1.0")  # with numpy's generator, which a checkpoint has to hold
PROBED = ("feature_extraction", "cached_views")
CUTS = {  # where each is killed: in a phase of gradient steps (4 an epoch), or while features are computed
    "feature_extraction": [(SHARD, 2)],
    "cached_views": [(SHARD, 4)],
    "first_layers": [(SHARD, 2), (STEP, 5)],
    "head_then_all": [(SHARD, 2), (STEP, 5)],
    "partial": [(SHARD, 2), (STEP, 5)],
    "gradual_unfreeze": [(SHARD, 2), (STEP, 2), (STEP, 6), (STEP, 10), (STEP, 14)],
}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    weights.save(timm.create_model("test_resnet", num_classes=10), path)
    return path


def options(name: str, file: Path) -> tuple[str, ...]:
    """The strategy under as many of the options that cross it as it takes."""
    return (
        f"strategy={name}", "model=timm", "model.name=test_resnet", f"model.weights={file}", "epochs=2", "patience=5",
        "label_smoothing=0.1", "class_weights=balanced", *(() if name in PROBED else MIXED), "data.image_size=32",
        "data.train_per_class=5", "data.n_test=21", "data.batch_size=12", "hardware=cpu", "hardware.threads=1",
        "logger=csv", "checkpoint_every=0",
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pretrained: Path) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            run_here(made[name], *options(name, pretrained))
        return made[name]

    return run


@pytest.mark.parametrize(
    ("name", "at", "nth"), [(name, *cut) for name in STRATEGIES for cut in CUTS.get(name, [(STEP, 5)])]
)
def test_killed_in_any_phase_it_ends_as_if_it_had_not_been(
    name: str, at: tuple[str, str], nth: int, tmp_path: Path, pretrained: Path, undisturbed: Callable[[str], Path]
) -> None:
    killed(tmp_path, at, nth, "after", *options(name, pretrained))
    train(tmp_path, *options(name, pretrained))
    same(tmp_path, undisturbed(name))


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.usefixtures("ranks_forked")
def test_two_processes_run_every_phase(
    name: str, tmp_path: Path, pretrained: Path, undisturbed: Callable[[str], Path]
) -> None:
    run_here(tmp_path, *options(name, pretrained), *TWO)
    (two,), (one,) = results(tmp_path), results(undisturbed(name))
    assert two["hardware"]["devices"] == 2
    assert [(phase["name"], phase["kind"]) for phase in two["phases"]] == [
        (phase["name"], phase["kind"]) for phase in one["phases"]
    ]
    assert two["params"] == one["params"]
    if name in PROBED:
        assert two["test"] == one["test"], "a probe gives the same on one and on two"
    before, ours, theirs = (
        load_file(pretrained),
        *(factory.read_tensors(each["folder"] / weights.FINAL)[0] for each in (two, one)),
    )
    learned = {key for key in before if key.rpartition(".")[2] in ("weight", "bias")}
    moved = [{key for key in learned if not torch.equal(before[key], after[key])} for after in (ours, theirs)]
    assert moved[0] == moved[1] != set()
