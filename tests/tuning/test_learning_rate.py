"""`learning_rate=find`: what a range test measures, proposes, pins and leaves, on real small networks."""

from __future__ import annotations

import csv
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from conftest import SMALL, compose
from headstart import train
from headstart.cli.explain import main as explain
from headstart.config.schema import HardwareConfig, RunConfig, to_plain
from headstart.errors import RunFailed, UserError
from headstart.models import factory
from headstart.runtime.seeds import get_random_state
from headstart.search.trials import is_same_run
from headstart.storage.identity import compute_identity
from headstart.strategy.plan import plan_phases
from headstart.training.range_test import HIGHEST, LOWEST, STEPS, Curve, RangeTest, find_rate_of_step
from headstart.tuning import learning_rate
from headstart.tuning.learning_rate import (
    PINS,
    choose_phase,
    find_steepest,
    find_valley,
    propose,
    read_pins,
    use_one_process,
)

LIVE = ("model=timm", "model.name=test_resnet", "model.weights=none", "strategy=scratch", "hardware.threads=1")


def as_fastai_does(losses: list[float]) -> tuple[int, int]:
    """The places of fastai's suggestions valley and steep: fastai/callback/schedule.py, version 2.7, by its text."""
    n, max_start, max_end = len(losses), 0, 0
    lds = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lds[i] < lds[j] + 1:
                lds[i] = lds[j] + 1
            if lds[max_end] < lds[i]:
                max_end = i
                max_start = max_end - lds[max_end]
    sections = (max_end - max_start) / 3
    valley = max_start + int(sections) + int(sections / 2)
    return valley, int(np.diff(np.float64(losses)).argmin())


@pytest.mark.parametrize("seed", range(20))
def test_the_suggestions_are_fastais(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, 85)
    depth, width, noise = rng.uniform(0.5, 3), rng.uniform(0.05, 0.3), rng.uniform(0, 0.05)
    losses = (3 - depth * np.exp(-(((at - 0.6) / width) ** 2)) + noise * rng.standard_normal(85)).tolist()
    assert (find_valley(losses), find_steepest(losses)) == as_fastai_does(losses)


def test_rates_rise_by_a_constant_factor() -> None:
    rates = [find_rate_of_step(step) for step in range(STEPS)]
    assert (rates[0], rates[-1]) == pytest.approx((LOWEST, HIGHEST))
    assert np.diff(np.log(rates)) == pytest.approx(np.full(STEPS - 1, math.log(HIGHEST / LOWEST) / (STEPS - 1)))


def test_losses_are_smoothed_as_fastai_smooths_them() -> None:
    curve, value = Curve(), torch.tensor(0.0)
    losses = torch.rand(50, generator=torch.Generator().manual_seed(0)) + 1
    for count, loss in enumerate(losses, 1):  # fastai's AvgSmoothLoss
        value = torch.lerp(loss, value, 0.98)
        assert not curve.add(0.1, float(loss))
        assert curve.smoothed[-1] == pytest.approx(float(value / (1 - 0.98**count)), rel=1e-4)
    assert curve.losses == losses.tolist()


def test_a_test_is_over_where_the_loss_diverges_or_is_not_finite() -> None:
    curve = Curve()
    assert not curve.add(1e-3, 1.0)
    assert not curve.add(1e-2, 6.9)
    assert curve.smoothed == pytest.approx([1.0, (0.98 * 1.0 + 6.9) / 1.98])
    assert curve.add(1e-1, 30.0)
    assert len(curve.rates) == 3
    assert curve.add(1.0, math.inf)
    assert curve.add(1.0, math.nan)
    assert len(curve.rates) == 3


def test_one_process_takes_the_steps_of_all_processes_of_all_machines() -> None:
    several = HardwareConfig(devices=2, nodes=3, accumulate=4, compile=True)
    alone = use_one_process(several)
    assert (alone.processes, alone.nodes, alone.accumulate, alone.compile) == (1, 1, 24, False)


@pytest.mark.parametrize(
    "losses", [[2.0] * 100, [2 + step / 50 for step in range(100)], [2 - step / 50 for step in range(16)], []]
)
def test_where_nothing_is_learnt_no_rate_is_proposed(losses: list[float]) -> None:
    with pytest.raises(RunFailed, match="the loss falls at no learning rate"):
        propose([find_rate_of_step(step) for step in range(len(losses))], losses)


def test_the_ends_of_a_curve_do_not_count() -> None:
    losses = (
        [9 - step for step in range(8)] + [3.0, 3.0] + [3 - step / 30 for step in range(60)] + [9.0] * 3 + [0.1] * 5
    )
    rates = [find_rate_of_step(step) for step in range(len(losses))]
    valley, steepest = propose(rates, losses)
    assert valley == float(f"{rates[10 + find_valley(losses[10:-5])]:.2g}")
    assert 10 <= rates.index(min(rates, key=lambda rate: abs(rate - steepest))) < 70


@pytest.mark.parametrize(
    ("overrides", "phase"),
    [
        (["strategy=finetune"], "all"),
        (["strategy=gradual_unfreeze"], "all"),
        (["strategy=gradual_unfreeze", "strategy.phases.all.lr=0.001"], "half"),
        (["strategy=head_then_all"], "all"),
        (["strategy=partial"], "tail"),
    ],
)
def test_the_deepest_phase_that_shares_the_rate_is_tested(overrides: list[str], phase: str) -> None:
    config = compose("learning_rate=find", *overrides)
    phases = plan_phases(factory.build_outline(config.model), config.strategy.phases)
    assert phases[choose_phase(phases)].name == phase


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["strategy=feature_extraction"], "each phase of strategy=feature_extraction fits a head.*strategy=finetune"),
        (["strategy=finetune", "strategy.phases.all.lr=0.01"], "each phase of strategy=finetune has its own lr"),
    ],
)
def test_without_a_phase_that_learns_at_the_rate_it_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=f"learning_rate=find: {message}"):
        compose("learning_rate=find", *overrides)


@pytest.mark.parametrize("value", ["0.01", "fnd"])
def test_another_value_is_refused(value: str) -> None:
    with pytest.raises(UserError, match=rf"learning_rate={value}: must be find, or null; .* optimizer\.lr={value}"):
        compose(f"learning_rate={value}", "strategy=finetune")


def test_explain_says_that_the_rate_is_to_be_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert explain([*LIVE, "data.image_size=32", "learning_rate=find"]) == 0
    assert "20 epochs, lr to be found; not cached" in capsys.readouterr().out


def run(folder: Path, *overrides: str) -> dict[str, Any]:
    line = [*SMALL, *LIVE, f"output_dir={folder / 'outputs'}", *overrides]
    result = train.run(compose(*line), line)
    return result | {"folder": result.folder, "skipped_run": result.skipped}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that has looked for its rate, and the folder in which others may follow."""
    folder, logger = tmp_path_factory.mktemp("found"), logging.getLogger("headstart.tuning")
    logger.setLevel(logging.INFO)
    result = run(folder, "learning_rate=find", "seed=1")
    logger.setLevel(logging.NOTSET)
    return folder, result


def read_pin(folder: Path) -> dict[str, Any]:
    (pin,) = json.loads((folder / "outputs" / "runs" / PINS).read_text("utf-8")).values()
    return dict(pin)


def test_the_rate_is_recorded_drawn_and_used(found: tuple[Path, dict[str, Any]]) -> None:
    folder, result = found
    pin, own = read_pin(folder), result["folder"]
    assert result["learning_rate"] == {key: value for key, value in pin.items() if not isinstance(value, list)}
    assert (pin["phase"], pin["seed"]) == ("all", 1)
    assert len(pin["rates"]) == len(pin["losses"]) == len(pin["smoothed"]) == pin["steps"] <= STEPS
    assert pin["rates"] == pytest.approx([find_rate_of_step(step) for step in range(pin["steps"])], rel=1e-3)
    assert propose(pin["rates"], pin["smoothed"]) == (pin["rate"], pin["steepest"])
    kept = yaml.safe_load((own / "config.yaml").read_text("utf-8"))
    assert (kept["learning_rate"], kept["optimizer"]["lr"]) == ("find", pin["rate"])
    with Image.open(own / "figures" / "learning_rate.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 10
    assert f"learning_rate=find: optimizer.lr={pin['rate']:g}" in (own / "train.log").read_text("utf-8")


def test_the_same_command_finds_its_run_and_a_repeat_takes_its_rate(
    found: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = found
    monkeypatch.setattr(learning_rate, "_measure", None)  # nothing is measured again
    assert run(folder, "learning_rate=find", "seed=1")["skipped_run"]
    repeat = run(folder, "learning_rate=find", "seed=2", "epochs=1")
    assert repeat["learning_rate"] == result["learning_rate"]
    assert repeat["folder"] != result["folder"]
    config = compose(*SMALL, *LIVE, "learning_rate=find", "seed=1", f"output_dir={folder / 'outputs'}")
    kept = yaml.safe_load((result["folder"] / "config.yaml").read_text("utf-8"))
    settled = replace(config, hardware=replace(config.hardware, **{k: kept["hardware"][k] for k in kept["hardware"]}))
    assert is_same_run(settled, kept)
    with pytest.raises(TypeError):  # with other settings, it would be
        run(folder, "learning_rate=find", "optimizer=sgd")


def test_training_is_as_with_the_same_rate_typed(found: tuple[Path, dict[str, Any]]) -> None:
    """Neither the weights nor the random numbers of the training depend on the range test before it."""
    folder, result = found
    typed = run(folder, f"optimizer.lr={result['learning_rate']['rate']}", "seed=1")
    assert typed["learning_rate"] is None
    assert typed["folder"] != result["folder"]
    ours, theirs = (load_file(each["folder"] / "checkpoints" / "best.safetensors") for each in (result, typed))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    curves = []
    for each in (result, typed):
        with (each["folder"] / "metrics.csv").open(newline="") as lines:
            curves.append([{**row, "seconds": None} for row in csv.DictReader(lines)])
    assert curves[0] == curves[1]


def measure(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    """The pin of a run in a study of its own, and what it does to the random state; nothing else of the run is done."""
    from headstart.models import preprocessing
    from headstart.tuning.resolve import resolve_auto

    config: RunConfig = compose(*SMALL, *LIVE, f"output_dir={tmp_path / 'outputs'}", "learning_rate=find", *overrides)
    spec = preprocessing.expected_input(config.model)
    phases = plan_phases(factory.build_outline(config.model), config.strategy.phases)
    before = get_random_state()
    settled, picks = resolve_auto(config, train.prepare_data(config, spec), phases, spec)
    after = get_random_state()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert picks.rate is not None
    assert settled.optimizer["lr"] == picks.rate["rate"]
    return picks.rate


def test_it_is_seeded(found: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    torch.manual_seed(7)
    pin = measure(tmp_path, "seed=1")
    assert pin["losses"] == read_pin(found[0])["losses"]
    assert measure(tmp_path, "seed=2", "study=other")["losses"] != pin["losses"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("strategy=partial", "strategy.start=scratch", "optimizer=sgd", "hardware.accumulate=2", "data.batch_size=8"),
        ("augment.mixup=0.2", "data.sampling=balanced", "hardware.precision=bf16", "hardware.clip=1", "head=ridge"),
        ("strategy=discriminative", "strategy.start=scratch", "data.storage=stream", "class_weights=balanced"),
    ],
    ids=["frozen layers, accumulated", "mixed", "streamed"],
)
def test_it_trains_as_the_phase_does(
    overrides: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parts keep the rates that they have among them."""
    used: set[tuple[float, ...]] = set()
    end = RangeTest.on_train_batch_end

    def note(self: RangeTest, *arguments: Any) -> None:
        groups = self.trainer.optimizers[0].param_groups
        used.update({tuple(float(f"{group['lr'] / group['rate']:.6g}") for group in groups)})
        end(self, *arguments)

    monkeypatch.setattr(RangeTest, "on_train_batch_end", note)
    pin = measure(tmp_path, *overrides)
    assert all(len(set(rates)) == 1 for rates in used)
    assert sorted(rates[0] for rates in used) == pytest.approx(pin["rates"], rel=1e-3)
    assert len(pin["losses"]) > 50
    assert LOWEST < pin["rate"] < HIGHEST


def test_a_damaged_pin_counts_as_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / PINS
    assert read_pins(path) == {}
    with caplog.at_level(logging.WARNING):
        for text in (
            "{",
            '{"a": {"rate": "x"}}',
            '{"a": {"rate": 1, "rates": [1], "losses": [], "smoothed": []}}',
            "[]",
        ):
            path.write_text(text)
            assert read_pins(path) == {}
    assert len(caplog.records) == 4


def test_what_is_to_be_found_is_another_run_and_its_absence_none(tmp_path: Path) -> None:
    plain = to_plain(compose("strategy=finetune"))
    asked = to_plain(compose("strategy=finetune", "learning_rate=find"))
    before = {key: value for key, value in plain.items() if key != "learning_rate"}
    assert compute_identity(plain, {}) == compute_identity(before, {})
    assert compute_identity(plain, {}) != compute_identity(asked, {})
