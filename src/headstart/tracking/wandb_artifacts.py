"""The weights of a run as an artifact in W&B, with its lineage: the data and the weights that it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Of the run's folder: what `headstart predict`, `headstart export` and `model.weights=run:FOLDER` read.
FILES = ("checkpoints/best.safetensors", "probe.safetensors", "config.yaml", "overrides.yaml", "result.json")
FACTS = ("study", "model", "strategy", "data", "weights", "seed", "config_hash", "folder")


def log_model(run: Any, folder: Path, config: Mapping[str, Any]) -> None:
    """Log the final weights of the run in `folder` as the artifact `model-<id>`.

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
    for name in FILES:
        if (folder / name).is_file():
            artifact.add_file(str(folder / name), name)
    run.log_artifact(artifact)


def _describe(kind: str, digest: str, name: str) -> Any:
    """The artifact that stands for data or pretrained weights: one for each content."""
    import wandb

    artifact = wandb.Artifact(f"{kind}-{digest[:16]}", "dataset" if kind == "data" else "model")
    artifact.metadata = {"name": name, "digest": digest}
    with artifact.new_file(f"{kind}.json") as file:
        json.dump({"name": name, "digest": digest}, file)
    return artifact
