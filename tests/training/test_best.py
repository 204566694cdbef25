"""The best weights of a phase: the rule, patience, the start as a candidate, and a kill at any point."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headstart.errors import RunFailed, UserError
from headstart.models import weights
from headstart.storage import checkpoints
from headstart.training.best import BestWeights, read_facts
from headstart.training.trainer import VerifiedCheckpoints

TWO_PHASES = (
    "model=lenet5", "strategy=head_then_all", "strategy.start=scratch", "data.batch_size=8", "scheduler=constant",
)  # fmt: skip


def make(folder: Path, **options: Any) -> BestWeights:
    return BestWeights(nn.Linear(1, 1, bias=False), folder / "best.safetensors", select="val_accuracy", **options)


def finish_epoch(best: BestWeights, epoch: int, accuracy: float, loss: float = 1.0, weight: float = 0.0) -> None:
    """As at the end of an epoch after which the network's weight is `weight`."""
    nn.init.constant_(best.model.weight, weight)  # type: ignore[arg-type]
    best.offer(epoch, {"accuracy": accuracy, "loss": loss})


def read_weight(best: BestWeights) -> float:
    best.load()
    return float(best.model.weight.detach())  # type: ignore[operator]


def test_of_equal_accuracies_the_lower_loss_is_kept_and_patience_waits_for_it(tmp_path: Path) -> None:
    """As in an audit: the loss fell from 0.89 to 0.42 at equal accuracy, and the phase was stopped."""
    best = make(tmp_path, patience=2)
    for epoch, loss in enumerate((0.89, 0.7, 0.55, 0.42), start=1):
        finish_epoch(best, epoch, 0.8, loss, weight=epoch)
        assert not best.is_overdue(epoch)
    finish_epoch(best, 5, 0.8, 0.42, weight=5)
    assert not best.is_overdue(5)
    finish_epoch(best, 6, 0.7, 0.1, weight=6)
    assert best.is_overdue(6)
    assert (best.epoch, read_weight(best)) == (4, 4.0)
    assert not make(tmp_path).is_overdue(1000), "without patience"


def do(step: str, best: BestWeights, attempt: int, scores: tuple[float, ...], saved: list[dict[str, Any]]) -> None:
    """One step of a phase: an epoch's end, or a checkpoint, which holds the epoch it is written after."""
    kind, number = step.split()
    epoch = int(number)
    if kind == "epoch":
        finish_epoch(best, epoch, scores[epoch], weight=10 * attempt + epoch)
    else:
        saved.append({"epoch": epoch, "best": best.pack()})


@pytest.mark.parametrize("ranks", itertools.permutations(range(3)))
@pytest.mark.parametrize("saves", [(), (0,), (1,), (0, 1, 2)])
def test_after_a_kill_at_any_point_weights_epoch_and_score_belong_together(
    saves: tuple[int, ...], ranks: tuple[int, ...], tmp_path: Path
) -> None:
    """On a GPU the second attempt gets other scores: here an epoch that was the best is not the best again."""
    steps = [f"{kind} {epoch}" for epoch in range(3) for kind in ("epoch", "save") if kind == "epoch" or epoch in saves]
    earlier = tuple(0.5 + 0.1 * rank for rank in ranks)
    later = tuple(score - 0.15 for score in earlier)
    for kill in range(len(steps) + 1):
        folder = tmp_path / str(kill)
        saved: list[dict[str, Any]] = []
        one = make(folder)
        for step in steps[:kill]:
            do(step, one, 1, earlier, saved)
        two, done = make(folder), -1
        if saved:
            two.unpack(saved[-1]["best"])
            done = saved[-1]["epoch"]
        for epoch in range(done + 1, 3):
            finish_epoch(two, epoch, later[epoch], weight=20 + epoch)
        seen = {10 + epoch: earlier[epoch] for epoch in range(done + 1)}
        seen |= {20 + epoch: later[epoch] for epoch in range(done + 1, 3)}
        winner = max(seen, key=lambda weight: seen[weight])
        assert read_weight(two) == winner
        assert two.facts == {"epoch": winner % 10, "val_accuracy": seen[winner], "val_loss": 1.0}
        assert read_facts(two.path) == two.facts


def test_a_checkpoint_on_disk_brings_the_best_weights_back_whatever_became_of_their_file(tmp_path: Path) -> None:
    best = make(tmp_path)
    finish_epoch(best, 1, 0.8, weight=1)
    path = checkpoints.write(tmp_path, 1, {"best": best.pack()})
    for harm in (
        best.path.unlink,
        lambda: best.path.write_bytes(b"half"),
        lambda: finish_epoch(best, 2, 0.9, weight=2),
    ):
        harm()
        again = make(tmp_path)
        again.unpack(torch.load(path, weights_only=True)["best"])
        assert read_weight(again) == 1.0
        assert again.epoch == 1


def test_a_file_that_something_else_wrote_is_neither_saved_nor_handed_on(tmp_path: Path) -> None:
    best = make(tmp_path)
    finish_epoch(best, 1, 0.8, weight=1)
    finish_epoch(make(tmp_path), 7, 0.3, weight=7)
    for use in (best.pack, best.load):
        with pytest.raises(RunFailed, match=r"best.safetensors should be of .*'epoch': 1.* and is of .*'epoch': 7"):
            use()


def test_a_phase_hands_on_no_less_than_it_was_given(
    run_small: Callable[..., dict], caplog: pytest.LogCaptureFixture
) -> None:
    options = (*TWO_PHASES, "epochs=2", "optimizer.lr=0.05", "patience=1", "keep=all")
    result = run_small(*options)
    fitted, learned = result["phases"]
    assert learned["best_epoch"] == 0
    assert learned["epochs"] == 1, "the start counts for patience too"
    assert learned["start"]["val_accuracy"] == pytest.approx(fitted["val_accuracy"])
    assert learned["start"]["val_loss"] == pytest.approx(fitted["val_nll"], abs=1e-4)
    assert result["val"]["accuracy"] == pytest.approx(fitted["val_accuracy"])
    assert "all  none of its 1 epochs was better on validation (val_accuracy) than the start" in caplog.text
    files = [result["folder"] / "checkpoints" / name for name in ("head/best.safetensors", "best.safetensors")]
    one, two = (weights.read(file)[0] for file in files)
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_phase_that_gains_is_not_held_back(run_small: Callable[..., dict]) -> None:
    weak = "+head.probe.grid=[1e-6]"
    learned = run_small(*TWO_PHASES, weak, "augment=none", "epochs=2", "optimizer.lr=0.01", "select=val_loss")
    assert learned["phases"][1]["best_epoch"] > 0
    assert learned["val"]["nll"] < learned["phases"][1]["start"]["val_loss"]


def test_a_new_head_is_no_candidate(run_small: Callable[..., dict]) -> None:
    """Not even where all epochs are worse: an untrained network is no result of a training."""
    result = run_small("model=lenet5", "strategy=scratch", "epochs=1", "optimizer.lr=0.3")
    assert result["phases"][0]["best_epoch"] == 1
    assert "start" not in result["phases"][0]


def test_a_resume_that_is_not_bit_equal_reports_no_other_epochs_score(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The killed attempt kept a better epoch after its checkpoint, and the second attempt does not get there again."""
    options = ("model=lenet5", "strategy=scratch", "epochs=3", "checkpoint_every=0", "data.batch_size=8")
    offer = BestWeights.offer

    def win_and_die(self: BestWeights, epoch: int, checked: dict[str, float]) -> None:
        if epoch == 3:
            nn.init.zeros_(self.model.get_classifier().weight)  # type: ignore[operator]
            offer(self, epoch, {"accuracy": 1.0, "loss": 0.0})
            raise KeyboardInterrupt
        offer(self, epoch, checked)

    monkeypatch.setattr(BestWeights, "offer", win_and_die)
    with pytest.raises(KeyboardInterrupt):
        run_small(*options)

    def lose(self: BestWeights, epoch: int, checked: dict[str, float]) -> None:
        offer(self, epoch, {"accuracy": 0.0, "loss": 9.0} if epoch == 3 else checked)

    monkeypatch.setattr(BestWeights, "offer", lose)
    kept = run_small(*options)
    assert kept["attempts"] == 2
    expected = run_small(*options, "study=undisturbed")
    for key in ("val", "test"):
        assert kept[key] == expected[key]
    assert kept["phases"][0]["best_epoch"] == expected["phases"][0]["best_epoch"]


def test_a_checkpoint_of_another_version_is_named(tmp_path: Path) -> None:
    path = checkpoints.write(tmp_path, 1, {"position": {}})
    with pytest.raises(UserError, match=r"step-00000001.*of another version of headstart.*rerun=true"):
        VerifiedCheckpoints().load_checkpoint(path)
