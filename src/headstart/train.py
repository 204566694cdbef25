"""One experiment from a validated config to its result; read top to bottom, it is the way of the data."""

import logging
import time
from importlib.metadata import version
from typing import Any

import torch

from headstart import __version__, fit, hardware, metrics, runs, strategy, validate
from headstart import config as configs
from headstart.config import RunConfig
from headstart.data import prepare
from headstart.logger import RunLog
from headstart.models import factory, weights

log = logging.getLogger(__name__)


def run(config: RunConfig, overrides: list[str]) -> dict[str, Any]:
    """Run one experiment and return what its `result.json` holds; a completed one is not run again.

    Raises:
        UserError: the config, the data, the weights or the machine cannot do what is asked.
    """
    config.hardware = hardware.settle(config.hardware)
    device = hardware.apply(config.hardware)
    validate.check_components(config)
    spec = factory.expected_input(config.model)
    plain = configs.plain(config)
    with runs.hold(plain) as here:
        done = runs.read_result(here.folder)
        if done is not None and not config.rerun:
            log.info(
                "%s is complete (test accuracy %.1f %%): skipped; rerun=true runs it again",
                here.folder,
                100 * done["test"]["accuracy"],
            )
            return done
        began = time.monotonic()
        here.begin(plain, overrides)
        with _logger(config, here) as run_log:
            context = _prepare(config, here, run_log, spec, device)
            phases = strategy.plan(context.model, config.strategy.phases)
            ways = [fit.way(context, phase) for phase in phases]
            _say_facts(context, phases, ways)
            outcomes = []
            for index, (phase, way) in enumerate(zip(phases, ways, strict=True)):
                here.state(status="running", phase=phase.name, index=index, of=len(phases))
                outcomes.append(fit.run_phase(context, phase, index, way))
            weights.save(context.model, here.folder / weights.FINAL)
            result = _conclude(context, phases, ways, outcomes, began)
    log.info(
        "  test accuracy %.1f %% on %d images  |  %.1f s  |  %s",
        100 * result["test"]["accuracy"],
        result["n_test"],
        result["seconds"]["total"],
        here.folder,
    )
    return result


def _logger(config: RunConfig, here: runs.Run) -> RunLog:
    return RunLog(
        here.folder,
        config.logger,
        run_id=run_id(here),
        name=here.name,
        study=here.study,
        job_type=config.strategy.name,
        config=configs.flat(config),
    )


def run_id(here: runs.Run) -> str:
    """The W&B id: known before the fit, and the same when the run is resumed."""
    return f"{here.study}-{here.hash}"


def _prepare(
    config: RunConfig, here: runs.Run, run_log: RunLog, spec: factory.Input, device: torch.device
) -> fit.Context:
    """Data first, since it says how many outputs the network needs; then the network, seeded."""
    log.info("%s", here.name)
    data = prepare(
        config.data,
        image_size=config.data.image_size or spec.image_size,
        crop_pct=spec.crop_pct,
        interpolation=spec.interpolation,
        workers=config.hardware.workers,
    )
    torch.manual_seed(config.seed)
    model, notes = factory.create(config.model, data.classes, pretrained=config.strategy.start == "pretrained")
    for note in [*notes, *data.adaptations]:
        log.info("  %s", note)
    digest = weights.backbone_digest(model) if config.strategy.start == "pretrained" else None
    model = model.to(device).to(memory_format=hardware.memory_format(config.hardware))
    return fit.Context(config, here, run_log, data, model, spec, device, digest)


def _say_facts(context: fit.Context, phases: list[strategy.Phase], ways: list[fit.Way]) -> None:
    """What the run is, before it starts: sizes, machine, and the strategy as a table."""
    config, sizes = context.config, context.data.sizes
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
    for line in strategy_table(phases, ways, config.optimizer["lr"]):
        log.info("  %s", line)


def strategy_table(phases: list[strategy.Phase], ways: list[fit.Way], lr: float) -> list[str]:
    """The strategy as aligned lines: phase, depth, rate, parameters, and how its prefix is run."""
    lines = [f"{'phase':<14}{'depth':<8}{'rate':>10}  {'parameters':>12}"]
    for phase, way in zip(phases, ways, strict=True):
        work = "one solve" if phase.config.probe else f"{phase.config.epochs} epochs, lr {phase.config.lr or lr:g}"
        cached = f"prefix cached up to {way.cut.at}" if way.cut else f"not cached: {way.why}"
        for number, (depth, _, rate, count) in enumerate(phase.rows):
            tail = f"  {work}; {cached}" if number == 0 else ""
            shown = "frozen" if rate is None else f"{rate:g}"
            lines.append(f"{phase.name if number == 0 else '':<14}{depth:<8}{shown:>10}  {count:>12,}{tail}")
    return lines


def _conclude(
    context: fit.Context,
    phases: list[strategy.Phase],
    ways: list[fit.Way],
    outcomes: list[fit.Outcome],
    began: float,
) -> dict[str, Any]:
    """Test once, write predictions and the result, and tell the dashboard."""
    config, here, data = context.config, context.run, context.data
    started = time.monotonic()
    probabilities = outcomes[-1].probabilities
    val_logits, val_cost = fit.logits(context, "val", ways[-1])
    val = metrics.evaluate(val_logits, data.val.labels, probabilities)
    logits, cost = fit.logits(context, "test", ways[-1])
    test = metrics.evaluate(logits, data.test.labels, probabilities)
    rows = metrics.predictions(logits, data.test.labels, data.test.names, probabilities)
    metrics.save_predictions(here.folder / "predictions.csv", rows)
    testing = time.monotonic() - started
    costs = [outcome.extraction for outcome in outcomes] + [val_cost, cost]
    learned = frozenset().union(*(phase.trainable for phase in phases))
    sizes = {name: parameter.numel() for name, parameter in context.model.named_parameters()}
    fitting = sum(outcome.seconds for outcome in outcomes)
    result = {
        "status": "completed",
        "run": here.name,
        "study": here.study,
        "model": config.model.name,
        "strategy": config.strategy.name,
        "data": config.data.name,
        "seed": config.seed,
        "test": test,
        "val": val,
        "n_train": data.sizes["train"],
        "n_val": data.sizes["val"],
        "n_test": data.sizes["test"],
        "params": {"total": sum(sizes.values()), "trainable": sum(sizes[name] for name in learned)},
        "gmacs": gmacs(context.model, data.image_size),
        "epochs": sum(outcome.epochs for outcome in outcomes),
        "backbone_forwards": sum(o.backbone_forwards for o in outcomes)
        + (val_cost.rows + cost.rows if ways[-1].cut else data.sizes["val"] + data.sizes["test"]),
        "seconds": {
            "features": sum(part.seconds for part in costs),
            "features_reused": sum(part.reused_seconds for part in costs),
            "fit": fitting,
            "test": testing - cost.seconds + cost.reused_seconds,
            "total": time.monotonic() - began,
        },
        "cached": any(part.rows for part in costs) and not any(part.computed for part in costs),
        "images_per_second": sum(outcome.images for outcome in outcomes) / max(fitting, 1e-9),
        "phases": [
            {"name": o.phase, "kind": o.kind, "cut_at": o.cut_at, "epochs": o.epochs, "seconds": o.seconds}
            | (o.details or {})
            for o in outcomes
        ],
        "classes": list(data.classes),
        "hardware": hardware.facts(config.hardware),
        "versions": _versions(),
        "digests": {"data": data.digest, "weights": context.start_digest},
        "config_hash": here.hash,
        "wandb_id": run_id(here) if config.logger.wandb else None,
    }
    context.run_log.finish(result, rows, lambda which: data.test.images[which], data.classes)
    here.complete(result)
    here.state(status="completed")
    return result


def gmacs(model: torch.nn.Module, image_size: int) -> float:
    """Multiply-adds of one forward pass of one image, in units of 10^9 (convolutions and matrix products)."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, image_size, image_size, device=device))
    return float(counter.get_total_flops() / 2e9)


def _versions() -> dict[str, str]:
    names = (
        "torch",
        "torchvision",
        "timm",
        "pytorch-lightning",
        "hydra-core",
        "torchmetrics",
        "wandb",
        "numpy",
    )
    return {"headstart": __version__} | {name: version(name) for name in names}
