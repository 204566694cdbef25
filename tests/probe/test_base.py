"""What all probes have in common: the choice by validation, refitting, weights of rows, label smoothing, odd cases."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headstart.config.selection import BY_CLASS
from headstart.errors import UserError
from headstart.evaluation.metrics import evaluate
from headstart.probe import LinearHeads, Logistic, NearestNeighbours, Ridge, head_file
from probe.problems import Rows, widened


@torch.no_grad()
def test_smoothed_labels_make_a_head_less_sure(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    for probe in (Logistic(grid=[100.0]), LinearHeads(lrs=[0.05])):
        plain, smooth = (probe.fit(x, y, val_x, val_y, 10, smoothing=share).head(x) for share in (0.0, 0.2))
        assert plain.softmax(1).amax(1).mean() > 0.95
        assert 0.7 < smooth.softmax(1).amax(1).mean() < 0.85, "0.8 + 0.2 / 10 is asked for"


def test_the_lowest_nll_is_chosen_then_stronger_regularisation() -> None:
    x = torch.tensor([[-2.0], [-1.0], [1.0], [2.0]])
    y = torch.tensor([0, 0, 1, 1])
    sure = Logistic(scale=0, grid=[0.1, 10.0]).fit(x, y, x, y, 2)  # all accuracies 1, nll falls with C
    assert [row["val_accuracy"] for row in sure.table] == [1.0, 1.0]
    assert sure.chosen["value"] == 10.0
    assert Ridge(grid=[0.1, 10.0]).fit(x, y, x, y, 2).chosen["value"] == 10.0  # no nll: the stronger wins


@pytest.mark.parametrize("select", BY_CLASS)
def test_a_value_is_chosen_by_what_select_names(select: str, digits: Rows) -> None:
    """Three pixels and uneven classes: the value of the lowest nll is not that of the best score."""
    x, y, val_x, val_y = digits
    x, val_x = x[:, 16:19], val_x[:, 16:19]
    keep = val_y < 2 + 8 * (torch.arange(len(val_y)) % 3 == 0)  # two classes have most of the images
    val_x, val_y = val_x[keep], val_y[keep]
    probe = Logistic(grid=[1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0], scale=0)
    fitted = probe.fit(x, y, val_x, val_y, 10, select=select)
    values = [row[select] for row in fitted.table]
    assert fitted.chosen[select] == max(values) > min(values)
    with torch.no_grad():
        expected = evaluate(fitted.head(val_x.float()), val_y)[select.removeprefix("val_")]
    assert fitted.chosen[select] == pytest.approx(expected, abs=1e-6)
    assert fitted.chosen["value"] != probe.fit(x, y, val_x, val_y, 10).chosen["value"], "which is chosen by nll"


def test_scores_that_are_no_probabilities_have_no_auroc_to_choose_by(digits: Rows) -> None:
    with pytest.raises(UserError, match="select=val_auroc: needs probabilities, which Ridge does not give"):
        Ridge(grid=[1.0, 2.0]).fit(*digits, 10, select="val_auroc")


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_refit_uses_the_validation_rows_with_the_chosen_value(smoothing: float, digits: Rows) -> None:
    x, y, val_x, val_y = digits
    rows = torch.cat([x, val_x]), torch.cat([y, val_y]), x[:0], y[:0], 10
    for probe in (Logistic, Ridge):
        plain, again = (probe(refit=refit).fit(*digits, 10, smoothing=smoothing) for refit in (False, True))
        assert again.chosen["value"] == plain.chosen["value"]
        both = probe(grid=[plain.chosen["value"]]).fit(*rows, smoothing=smoothing)
        assert torch.allclose(again.head.weight, both.head.weight, atol=1e-6)
        assert not torch.allclose(again.head.weight, plain.head.weight, atol=1e-4)


def test_several_values_need_validation_rows_and_a_grid_needs_positive_numbers(digits: Rows) -> None:
    x, y, _, _ = digits
    with pytest.raises(UserError, match="validation"):
        Logistic(scale=0, grid=[1.0, 2.0]).fit(x, y, x[:0], y[:0], 10)
    for grid in ([], [0.0], [-1.0, 1.0]):
        with pytest.raises(UserError, match="grid"):
            Logistic(scale=0, grid=grid)


def test_a_rows_weight_is_how_often_it_counts(digits: Rows) -> None:
    """Integer weights are repetitions, and 0 leaves a row out."""
    x, y, val_x, val_y = digits
    x, y = x[:200], y[:200]
    weights = torch.arange(200).remainder(3).float()
    again = torch.arange(200).repeat_interleave(weights.long())
    for probe in (Logistic(grid=[0.01], scale=0), Ridge(grid=[10.0]), NearestNeighbours(k=[300])):
        weighed = probe.fit(x, y, val_x, val_y, 10, weights).head(val_x)
        repeated = probe.fit(x[again], y[again], val_x, val_y, 10).head(val_x)
        if isinstance(probe, NearestNeighbours):  # k counts rows, so the one vote that all share differs
            weighed, repeated = weighed.argmax(1), repeated.argmax(1)
        assert torch.allclose(weighed.float(), repeated.float(), atol=2e-2), probe
    heavy = LinearHeads(lrs=[0.05], epochs=5).fit(x, y, val_x, val_y, 10, 1 + 9 * (y == 3).float())
    plain = LinearHeads(lrs=[0.05], epochs=5).fit(x, y, val_x, val_y, 10)
    assert (heavy.head(val_x).argmax(1) == 3).sum() > (plain.head(val_x).argmax(1) == 3).sum()


@pytest.mark.parametrize("probe", [Logistic, Ridge, NearestNeighbours, LinearHeads])
def test_the_odd_cases_end_in_finite_logits(probe: type, digits: Rows) -> None:
    """Fewer rows than features, repeated rows, constant features, a class without rows, bfloat16."""
    x, y, val_x, val_y = digits
    kept = (y != 4).nonzero()[:40, 0].repeat(2)
    wide = torch.cat([widened(x), torch.full((600, 3), 5.0)], 1)[kept].bfloat16()
    val_wide = torch.cat([widened(val_x), torch.full((400, 3), 5.0)], 1).bfloat16()
    fit = probe().fit(wide, y[kept], val_wide, val_y, 10)
    logits = fit.head(val_wide.float())
    assert torch.isfinite(logits).all()
    assert (logits.argmax(1) == val_y).float().mean() > 0.6
    assert not (logits.argmax(1) == 4).any()


@pytest.mark.parametrize("probe", [Logistic, Ridge, NearestNeighbours, LinearHeads])
def test_validation_chooses_among_sets_of_features(probe: type, digits: Rows, tmp_path: Path) -> None:
    x, y, val_x, val_y = digits
    noise = torch.randn(1000, 40, generator=torch.Generator().manual_seed(0))
    both, val_both = torch.cat([noise[:600], x], 1), torch.cat([noise[600:], val_x], 1)
    parts = {"noise": slice(0, 40), "pixels": slice(40, 104)}
    fit = probe().fit(both, y, val_both, val_y, 10, parts=parts)
    assert fit.chosen["features"] == "pixels"
    alone = probe().fit(x, y, val_x, val_y, 10)
    assert torch.allclose(fit.head(val_both), alone.head(val_x), atol=1e-4)
    head_file.save(fit.head, tmp_path / "probe.safetensors")
    assert torch.equal(head_file.load(tmp_path / "probe.safetensors")(val_both), fit.head(val_both))


def test_a_refit_weighs_validation_rows_as_their_class(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    by_class = torch.linspace(0.5, 2, 10)
    fit = Ridge(grid=[10.0], refit=True).fit(x, y, val_x, val_y, 10, by_class[y])
    rows, labels = torch.cat([x, val_x]), torch.cat([y, val_y])
    whole = Ridge(grid=[10.0]).fit(rows, labels, x[:0], y[:0], 10, by_class[labels])
    assert torch.allclose(fit.head.weight, whole.head.weight, atol=1e-6)


def test_a_refit_counts_an_image_once_however_many_views_it_has(digits: Rows) -> None:
    x, y, val_x, val_y = digits
    views, labels = x.repeat_interleave(8, 0), y.repeat_interleave(8)
    fit = Ridge(grid=[80.0], refit=True).fit(views, labels, val_x, val_y, 10, copies=8)
    once = Ridge(grid=[10.0]).fit(torch.cat([x, val_x]), torch.cat([y, val_y]), x[:0], y[:0], 10)
    assert torch.allclose(fit.head.weight, once.head.weight, atol=1e-6)


def test_what_a_probe_cannot_try_is_refused() -> None:
    for make in (
        lambda: NearestNeighbours(k=[0]),
        lambda: NearestNeighbours(metric="l1"),
        lambda: NearestNeighbours(temperature=0),
        lambda: LinearHeads(lrs=[]),
        lambda: LinearHeads(weight_decays=[-1.0]),
        lambda: LinearHeads(epochs=0),
        lambda: LinearHeads(epochs=1.5),
        lambda: LinearHeads(batch_size=1024.0),
        lambda: Logistic(max_iterations=0),
        lambda: Logistic(max_iterations=100.0),
        lambda: Logistic(tolerance=0),
        lambda: Logistic(scale=-0.5),
        lambda: LinearHeads(precision="16"),
        lambda: Ridge(layers=[]),
        lambda: Ridge(poolings=["sum"]),
    ):
        with pytest.raises(UserError, match=r"^probe"):
            make()
