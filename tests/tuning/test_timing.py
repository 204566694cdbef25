"""A trial: real steps, timed, that leave no trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headstart.tuning import timing
from headstart.tuning.timing import Timing, Trial
from tuning.settings import BF16, LAST, PLAIN, config, setup_of


def test_a_trial_takes_real_steps_of_the_runs_network_and_leaves_no_trace(tmp_path: Path) -> None:
    asked = config(tmp_path)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    with timing.isolate(replace(asked.hardware, devices=2)):
        made = Trial(setup_of(asked))
        weights = made.model.fc.weight.detach().clone()
        counts, steps = {}, [0]
        made.model.register_forward_hook(lambda *_: steps.__setitem__(0, steps[0] + 1))

        def refuse(*_: Any) -> None:
            if torch.is_autocast_enabled("cpu"):
                raise RuntimeError("no bfloat16 here\nand a long story")

        made.model.register_forward_pre_hook(refuse)
        counts = made.time([LAST, PLAIN, BF16])
    assert made.images.shape == (16, 3, 32, 32)
    assert not torch.equal(made.model.fc.weight, weights), "the optimizer moved it"
    assert counts[BF16] == Timing(failed="RuntimeError: no bfloat16 here")
    for setting in (LAST, PLAIN):
        assert 1e-3 < (counts[setting].seconds or 0) < 10
    assert 2 * (1 + timing.STEPS) <= steps[0] <= 2 * timing.ROUNDS * (1 + timing.STEPS)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_loss_that_is_not_finite_leaves_a_setting_out(tmp_path: Path) -> None:
    made = Trial(setup_of(config(tmp_path, "optimizer=sgd", "optimizer.lr=1e30")))
    assert "the loss of a step is" in (made.time([LAST])[LAST].failed or "")
