"""The temperature of a run: fitted on validation images, told of test images, and without any effect on the order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from headstart.errors import UserError
from headstart.evaluation import metrics
from headstart.evaluation.calibration import REFITTED, SCORES, calibrate
from headstart.predict.load import load


def draw(n: int, seed: int, sharpness: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [n, 5] that are `sharpness` times as sure as they may be, and labels that follow the true ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 5, generator=generator)
    return sharpness * logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


def test_a_network_that_is_too_sure_gets_the_temperature_that_cures_it() -> None:
    val, test = draw(4000, 0, 3.0), draw(4000, 1, 3.0)
    found = calibrate(val, test, probabilities=True)
    assert found["temperature"] == pytest.approx(3, rel=0.05)
    assert found["n"] == 4000
    before = metrics.evaluate(*test)
    assert found["test"]["nll"] < before["nll"] - 0.3
    assert found["test"]["ece"] < 0.03 < before["ece"]
    assert found["test"]["nll"] == pytest.approx(
        float(functional.cross_entropy(test[0] / found["temperature"], test[1]))
    )


def test_without_images_or_probabilities_there_is_none_but_a_reason() -> None:
    part = draw(50, 0, 1.0)
    assert calibrate(None, part, probabilities=True) == {"temperature": None, "why": REFITTED}
    assert calibrate(part, part, probabilities=False) == {"temperature": None, "why": SCORES}


def test_predict_applies_it_when_asked_and_changes_no_label(run_small: Callable[..., dict]) -> None:
    made = run_small("model=lenet5", "strategy=scratch", "epochs=3")
    network = load(made["folder"], "cpu")
    assert network.temperature == made["calibration"]["temperature"] != 1
    pictures = list(torch.randint(0, 256, (6, 40, 40, 3), dtype=torch.uint8).numpy())
    plain, cool = (network.predict(pictures, top=10, calibrated=asked) for asked in (False, True))
    for one, other in zip(plain, cool, strict=True):
        assert one.labels == other.labels
        expected = (torch.tensor(one.probabilities).log() / network.temperature).softmax(0)
        assert other.probabilities == pytest.approx(expected.tolist(), abs=1e-5)
    val = json.loads((Path(made["folder"]) / "result.json").read_text())["calibration"]["val"]
    assert val["nll"] <= made["val"]["nll"] + 1e-3


def test_a_head_that_was_refitted_on_its_validation_images_is_refused_in_words(run_small: Callable[..., dict]) -> None:
    options = ("model=lenet5", "strategy=feature_extraction", "strategy.start=scratch", "+head.probe.refit=true")
    network = load(run_small(*options)["folder"], "cpu")
    with pytest.raises(UserError, match=r"refitted on its validation images[^$]*train it with refit=false"):
        network.predict(torch.zeros(8, 8, 3, dtype=torch.uint8).numpy(), calibrated=True)
