"""The model card: what a network was trained on, how, how good it is, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.config.environment import hide_in_text
from headstart.config.words import count, spell_seconds
from headstart.errors import UserError
from headstart.export import licence as licences
from headstart.export import lineage, results
from headstart.export.markdown import code, text
from headstart.export.templates import load_template
from headstart.models import preprocessing
from headstart.predict.run import read_config
from headstart.storage.plain_text import escape_controls
from headstart.storage.records import Result, read_result
from headstart.storage.redact import mask_by_form
from headstart.strategy import table
from headstart.strategy.plan import plan_phases
from headstart.strategy.route import choose_route

if TYPE_CHECKING:
    from headstart.config.schema import RunConfig
    from headstart.export.onnx_int8 import Measured
    from headstart.predict.network import Network

CUT = ("train_per_class", "train_fraction", "n_train", "n_test", "folds", "fold")


def write(
    run: Path,
    network: Network,
    ancestors: list[lineage.Ancestor],
    graphs: Any = None,
    *,
    int8: Measured | None = None,
    in_head: bool = False,
    front: Mapping[str, str] | None = None,
) -> str:
    """The text of README.md.

    Args:
        graphs: how the ONNX graphs compared with PyTorch; None if there are none.
        int8: how the 8-bit graph compared with the run; None if there is none.
        in_head: whether the last layer's weights are divided by the temperature.
        front: more keys of the front matter.
    """
    result, config = read_result(run), read_config(run)
    assert result is not None
    known = lineage.derive_licence(ancestors)
    facts = {
        "front": licences.make_front_matter(known, ancestors, front or {}),
        "architecture": text(network.name.partition(".")[0]),
        "architecture_plain": code(network.name.partition(".")[0]),
        "module": find_module(network.name),
        "data": text(config.data.name),
        "side": network.image_size,
        "enough": network.transform.enough,
        "classes": network.classes,
        "run": code(run.resolve().name),
        "temperature": network.temperature,
        "uncalibrated": network.uncalibrated,
        "graphs": graphs,
        "int8": int8,
        "in_head": in_head,
        "prepared": text(preprocessing.describe(config.preprocessing, network.transform.square.size)),
        "pixel_range": network.transform.pixel_range,
        "strategy": escape_controls(_write_strategy(network, config)).replace("`", "'"),
        "limits": _list_limits(network, result),
        "licence": licences.describe(known, ancestors),
        "lineage": _list_lineage(run, result, ancestors),
    }
    facts |= _describe_training(config, result) | results.collect(run, result)
    written = load_template("card.md").render(facts)
    return mask_by_form(hide_in_text(written.rstrip() + "\n"))


def find_module(name: str) -> str | None:
    """The package to import before timm knows the network; None if it is timm's own."""
    import timm

    module = timm.models.model_entrypoint(name.partition(".")[0]).__module__
    package = module.partition(".")[0]
    return None if package == "timm" else "headstart" if package == "headstart" else module


def _write_strategy(network: Network, config: RunConfig) -> str:
    try:
        phases = plan_phases(network.network, config.strategy.phases)
        routes = [choose_route(network.network, phase, config.augment, network.image_size) for phase in phases]
    except UserError as error:  # of code of the author's own that is not imported here
        return str(error)
    options = table.Options(config.optimizer["lr"], config.label_smoothing, config.patience, config.augment)
    return "\n".join(table.format_table(table.make_rows(phases, routes, options)))


def _describe_training(config: RunConfig, result: Result) -> dict[str, Any]:
    cut = [f"{name} {getattr(config.data, name)}" for name in CUT if getattr(config.data, name) is not None]
    cut += [f"{100 * config.data.val_fraction:g} % for validation", f"split seed {config.data.split_seed}"]
    cut += ["no group stands in two parts"] if config.data.group else []
    pairs = {name: number for name, number in (result.get("duplicates") or {}).items() if number}
    hardware: Mapping[str, Any] = result.get("hardware") or {}
    seconds = (result.get("seconds") or {}).get("total")
    return {
        "version": (result.get("versions") or {}).get("headstart", ""),
        "n": {part: f"{result[f'n_{part}']:,}" for part in ("train", "val", "test")},
        "cut": text(", ".join(cut)),
        "digests": result.get("digests") or {},
        "skipped": count(sum(map(len, (result.get("skipped") or {}).values())), "image") + " that could not be read",
        "duplicates": text(", ".join(f"{name}: {number}" for name, number in pairs.items())) or "none found",
        "strategy_name": text(config.strategy.name),
        "seed": config.seed,
        "epochs": count(int(result.get("epochs") or 0), "epoch"),
        "minutes": spell_seconds(seconds) if seconds else "an unknown time",
        "precision": text(str(config.hardware.precision)),
        "machine": "a GPU" if hardware.get("accelerator", config.hardware.accelerator) == "gpu" else "a CPU",
        "versions": ", ".join(f"{name} {version}" for name, version in (result.get("versions") or {}).items()),
    }


def _list_limits(network: Network, result: Result) -> list[str]:
    """What the numbers do not say, one sentence each."""
    rows = [row for row in result.get("per_class") or () if row.get("recall") is not None]
    found = [
        f"It knows {count(len(network.classes), 'class')} and answers with one of them for every image, also for one "
        "that shows none of them.",
        "The test images come from the same source as the training images. On other cameras, places or times it may be "
        "worse: test it there (`headstart evaluate`).",
    ]
    if rows:
        worst = min(rows, key=lambda row: row["recall"])
        found.append(f"Its lowest recall is {100 * worst['recall']:.1f} %, of {text(worst['name'])}.")
    few = [row for row in rows if row["images"] < results.FEW]
    if few:
        found.append(
            f"{count(len(few), 'class')} had fewer than {results.FEW} test images: their recall is a rough guess."
        )
    if network.temperature is not None:
        found.append("Calibration holds for images like the validation images, in the same mix of classes.")
    return found


def _list_lineage(run: Path, result: Result, ancestors: list[lineage.Ancestor]) -> list[str]:
    digest = (result.get("digests") or {}).get("data")
    found = [f"this network: the run {text(run.resolve().name)}, on data of digest `{digest}`"]
    for each in ancestors:
        stated = each is ancestors[-1] and each is not lineage.RANDOM  # runs in between keep the first one's licence
        facts = [f"licence {text(each.licence or 'unknown')}"] if stated else []
        facts += [f"digest `{each.digest}`"] if each.digest else []
        found.append(text(each.words) + ": " * bool(facts) + ", ".join(facts))
    return found
