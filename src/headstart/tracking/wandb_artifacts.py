"""The network of a run as an artifact in W&B, with its lineage: the data and the weights that it comes from."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

log = logging.getLogger(__name__)

# Of the run's folder, where it cannot be exported: what `headstart predict` and `model.weights=run:FOLDER` read.
FILES = ("checkpoints/best.safetensors", "probe.safetensors", "config.yaml", "overrides.yaml", "result.json")
FACTS = ("study", "model", "strategy", "data", "weights", "seed", "config_hash", "folder")


def prepare_model(folder: Path, config: Mapping[str, Any]) -> Callable[[Any], None]:
    """Export the complete run in `folder`, and return what logs it with the `wandb.Run`."""
    scratch = TemporaryDirectory(prefix="headstart-artifact-")
    files = gather_model(folder, Path(scratch.name))

    def log_it(run: Any) -> None:
        with scratch:
            log_model(run, files, config)

    return log_it


def gather_model(folder: Path, scratch: Path) -> dict[str, Path]:
    """The files of the artifact of the complete run in `folder`, by their names there.

    They are those of `headstart export`, which are written to `scratch`. A run that cannot be exported, such as one
    whose head no other library could load, is kept as headstart itself reads it.
    """
    # by its name: this room stands below that of exports, which reads a complete run
    exports = importlib.import_module("headstart.export.run")
    try:
        return {path.name: path for path in exports.export(folder, scratch / "model", exports.Options()).files}
    except Exception as error:  # a tracker never ends a run
        log.warning("logger.artifacts=model: W&B gets the run's own files, because it cannot be exported: %s", error)
        return {name: folder / name for name in FILES if (folder / name).is_file()}


def log_model(run: Any, files: Mapping[str, Path], config: Mapping[str, Any]) -> None:
    """Log the files that `gather_model` found as the artifact `model-<id>`.

    Its metadata names the data and the pretrained weights by their digests. Online these are artifacts too, which the
    run uses: W&B then draws the lineage. They hold their description only, never images or the weights themselves.
    """
    import wandb

    sources = {kind: str(config.get(f"digest_{kind}", "none")) for kind in ("data", "weights")}
    names = {"data": config.get("data"), "weights": config.get("weights")}
    facts = {key: config[key] for key in FACTS if key in config}
    metadata = facts | {f"digest_{kind}": digest for kind, digest in sources.items()}
    if not run.offline:
        for kind, digest in sources.items():
            if digest != "none":
                run.use_artifact(_describe(kind, digest, str(names[kind])))
    artifact = wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
    for name, path in files.items():
        artifact.add_file(str(path), name)
    run.log_artifact(artifact)


def _describe(kind: str, digest: str, name: str) -> Any:
    """The artifact that stands for data or pretrained weights: one for each content."""
    import wandb

    artifact = wandb.Artifact(f"{kind}-{digest[:16]}", "dataset" if kind == "data" else "model")
    artifact.metadata = {"name": name, "digest": digest}
    with artifact.new_file(f"{kind}.json") as file:
        json.dump({"name": name, "digest": digest}, file)
    return artifact
