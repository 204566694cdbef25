"""Phases that learn by gradient steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch


def test_compiled_networks_see_one_size_in_training_alone(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    seen: list[tuple[bool, int]] = []

    def compiled(network: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        def call(inputs: torch.Tensor) -> torch.Tensor:
            seen.append((network.training, len(inputs)))
            return network(inputs)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    options = ("model=timm", "model.name=test_resnet", "strategy=scratch", "data.batch_size=12", "epochs=2")
    result = run_small(*options, "hardware.compile=true")
    assert result["n_train"] % 12 > 1, "a last batch that is smaller"
    last = result["n_train"] % 12
    assert f"12 images per step (the last of an epoch: {last}): batches of 12" in caplog.text
    assert seen == [(True, 12)] * 2 * (result["n_train"] // 12)


def test_it_is_said_that_nothing_is_compiled_without_a_whole_batch(
    run_small: Callable[..., dict], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(torch, "compile", lambda network: network)
    options = ("model=lenet5", "strategy=scratch", "data.batch_size=500", "epochs=1", "hardware.compile=true")
    n_train = run_small(*options, "hardware.accumulate=8")["n_train"]
    assert f"{n_train} images per step: batches of {n_train}, 1 process, 1 accumulated" in caplog.text
    assert "nothing is compiled, because no batch has 500 images" in caplog.text
