"""What a run logs of itself before it starts: preprocessing, sizes, machine, and the strategy as a table."""

import logging
from collections.abc import Sequence

from headstart.config.schema import HardwareConfig
from headstart.config.words import count
from headstart.context import Context
from headstart.data.batches import Batches
from headstart.data.checks import warn_of_duplicates
from headstart.models import preprocessing
from headstart.strategy import table
from headstart.strategy.plan import Phase, describe_depths
from headstart.strategy.route import FittedHead, Route

log = logging.getLogger(__name__)


def log_facts(context: Context, phases: Sequence[Phase], routes: Sequence[Route]) -> None:
    """Log the facts of the run before it starts: sizes, machine, and the strategy as a table."""
    config, sizes = context.config, context.data.sizes
    log.info("  %s", preprocessing.describe(config.preprocessing, context.data.stored_size))
    log.info(
        "  %d classes, %d train + %d validation + %d test images at %d px  |  %s, %s, %s  |  %s",
        len(context.data.classes),
        sizes["train"],
        sizes["val"],
        sizes["test"],
        context.data.image_size,
        context.device.type,
        config.hardware.precision,
        config.hardware.memory_format,
        f"weights {config.model.weights}" if config.strategy.start == "pretrained" else "weights random",
    )
    log.info("  %s", context.data.describe_classes())
    if not all(isinstance(route, FittedHead) for route in routes):
        _log_step_size(config.hardware, config.data.batch_size, sizes["train"], config.optimizer["lr"])
    if depths := describe_depths(context.model):
        log.info("  %s", depths)
    warn_of_duplicates(context.duplicates)
    options = table.Options(config.optimizer["lr"], config.label_smoothing, config.patience, config.augment)
    lines = table.format_table(table.make_rows(phases, routes, options))
    log.info("  %s", "\n  ".join(lines))  # one record: a sweep shows an equal table once
    context.run_log.log_text("strategy_table", lines)


def _log_step_size(hardware_: HardwareConfig, batch: int, images: int, lr: float) -> None:
    batches = Batches(images, batch, shuffle=True, seed=0, phase="")
    steps = batches.count_step_images(hardware_.accumulate)
    log.info(
        "  %d images per step%s: batches of %d, %s, %d accumulated  |  lr %g, not scaled by it",
        steps[0],
        f" (the last of an epoch: {steps[-1]})" if steps[-1] != steps[0] else "",
        min(batch, -(-images // batches.world)),
        count(batches.world, "process"),
        min(hardware_.accumulate, len(batches)),
        lr,
    )
