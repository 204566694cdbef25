"""What is settled before a run gets its identity: every `auto`, the hardware's settings, and the learning rate."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.context import Context, copy_pretrained, create_model
from headstart.data.checks import check_images
from headstart.runtime import hardware
from headstart.storage.runs import Run
from headstart.tracking.logger import SilentLog
from headstart.tuning import learning_rate, tune
from headstart.tuning.timing import TrialSetup

if TYPE_CHECKING:
    from headstart.config.schema import RunConfig
    from headstart.data.dataset import Data
    from headstart.models.input import Input
    from headstart.strategy.plan import Phase

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picks:
    """The pins of the study that a run uses; None for what was not asked for."""

    tuned: dict[str, Any] | None = None
    rate: dict[str, Any] | None = None


def resolve_auto(config: RunConfig, data: Data, phases: Sequence[Phase], spec: Input) -> tuple[RunConfig, Picks]:
    """Resolve every `auto` for this machine, the same in every process; also returns what was picked for the study."""
    storage = replace(config.data, storage="stream" if data.streamed else "memory")
    settled = replace(config, hardware=hardware.resolve_hardware(config.hardware), data=storage)
    tuned = None
    if settled.hardware.tune:
        settled, tuned = _tune(settled, config.hardware.precision, data, phases)
    settled, rate = learning_rate.resolve_rate(settled, phases, lambda alone: _open_context(alone, data, spec))
    return settled, Picks(tuned, rate)


def note_picks(run: Run, picks: Picks) -> None:
    """Say what was picked, and keep it for `result.json`; the curve of the learning rate is drawn."""
    if picks.tuned is not None:
        run.update_state(tuned=picks.tuned)
        log.info("  hardware.tune: %s", tune.describe_pin(picks.tuned))
    if picks.rate is not None:
        run.update_state(learning_rate=learning_rate.summarise_pin(picks.rate))
        log.info("  learning_rate=find: %s", learning_rate.describe_pin(picks.rate))
        learning_rate.draw_pin(picks.rate, run.folder / "figures" / learning_rate.FIGURE)


def _tune(config: RunConfig, asked: str, data: Data, phases: Sequence[Phase]) -> tuple[RunConfig, dict[str, Any]]:
    """Let `hardware.tune` choose; `asked` is the precision before it was resolved."""
    batch = config.data.batch_size
    setup = TrialSetup(
        model=config.model,
        hardware=config.hardware,
        optimizer=config.optimizer,
        batch_size=batch,
        image_size=data.image_size,
        classes=len(data.classes),
    )
    steps = tune.count_live_steps(phases, config.augment, data.sizes["train"], batch * config.hardware.processes)
    study = Path(config.output_dir) / config.study
    tuned_hardware, tuned = tune.tune_hardware(setup, asked, steps, study, config.cache)
    return replace(config, hardware=tuned_hardware), tuned


def _open_context(config: RunConfig, data: Data, spec: Input) -> Context:
    """What a phase works on, for a trial before the run has a folder: nothing is logged or written."""
    check_images(data, config.data.on_bad_image, config.cache)
    study, device = Path(config.output_dir) / config.study, hardware.select_device(config.hardware)
    model, _ = create_model(config, data, device, {})
    return Context(
        config=config,
        run=Run(study, study.name, config.study, "", leads=False),
        run_log=SilentLog(),
        data=data,
        model=model,
        input=spec,
        device=device,
        digests={},
        duplicates={},
        pretrained=copy_pretrained(config, model),
    )
