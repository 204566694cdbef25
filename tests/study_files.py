"""Write run folders as `headstart train` leaves them; every number is computed from generated predictions."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

PARAMS = {"efficientnet_lite0": (3_383_818, 0.083), "resnet18": (11_181_642, 0.297)}
PROBES = ("feature_extraction", "ridge")
BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def drawn(rng: np.random.Generator, n: int, classes: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels [n] and probabilities [n, classes] of a model that is righter with more skill; some classes look
    alike.
    """
    labels = np.arange(n) % classes
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += skill
    logits[np.arange(n), (labels * 3 + 1) % classes] += 0.35 * skill * (labels % 3 == 0)
    return labels, softmax(1.6 * logits)


def scores(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """The metrics of a result.json part."""
    n = len(labels)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    right = predicted == labels
    top5 = np.argsort(-probabilities, axis=1)[:, :5]
    bins = np.clip(np.ceil(confidence * BINS), 1, BINS)
    gaps = [abs((right[bins == k] - confidence[bins == k]).sum()) / n for k in range(1, BINS + 1)]
    return {
        "accuracy": float(right.mean()),
        "top5": float((top5 == labels[:, None]).any(axis=1).mean()) if probabilities.shape[1] > 5 else None,
        "balanced_accuracy": float(np.mean([right[labels == k].mean() for k in sorted(set(labels.tolist()))])),
        "nll": float(-np.log(probabilities[np.arange(n), labels]).mean()),
        "ece": float(np.sum(gaps)),
    }


def config(run: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A resolved config.yaml; `changes` are dotted keys."""
    strategy, seed = run["strategy"], run["seed"]
    head = {"head": 1, "backbone": None}
    probe = {"_target_": f"headstart.probe.{'Ridge' if strategy == 'ridge' else 'Logistic'}"}
    fitted: dict[str, Any] = {"rates": head, "epochs": None, "probe": probe}
    gradient = {"epochs": 8, "probe": None, "augment": True}
    last_layers = {"head": 1, "depth1": 0.5, "backbone": None}
    rates = last_layers if strategy == "last_layers" else {"head": 1, "backbone": {"rate": 1, "decay": 0.7}}
    phases: dict[str, Any] = {"main": gradient | {"rates": rates}}
    if strategy in PROBES:
        phases = {"main": fitted}
    elif strategy == "head_then_all":
        phases = {"head": fitted, "main": gradient | {"rates": {"all": 0.3}}}
    made: dict[str, Any] = {
        "model": {
            "name": run["model"],
            "weights": "none" if strategy == "scratch" else "imagenet",
            "args": {},
        },
        "strategy": {
            "name": strategy,
            "start": "scratch" if strategy == "scratch" else "pretrained",
            "phases": phases,
        },
        "data": {"name": run["data"], "source": {"_target_": f"headstart.data.sources.{run['data']}"}},
        "augment": {"crop_scale": [0.7, 1.0], "flip": False},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.003, "weight_decay": 0.01},
        "hardware": {"accelerator": "cpu", "workers": 0, "precision": "32"},
        "logger": {"wandb": False, "tags": []},
        "study": run["study"],
        "seed": seed,
        "epochs": 8,
        "output_dir": "outputs",
    }
    made["data"] |= {"train_per_class": 10, "batch_size": 50, "split_seed": seed}
    for key, value in changes.items():
        node = made
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return made


def write_run(
    outputs: Path,
    study: str = "demo",
    strategy: str = "finetune",
    seed: int = 0,
    *,
    model: str = "efficientnet_lite0",
    data: str = "digits",
    skill: float = 2.4,
    classes: list[str] | None = None,
    n_test: int = 400,
    epochs: int = 8,
    features: float | None = None,
    cached: bool = False,
    wandb: str | None = None,
    changes: dict[str, Any] | None = None,
    update: dict[str, Any] | None = None,
) -> Path:
    """Write one completed run and return its folder; `update` replaces top-level fields of result.json."""
    names = [str(k) for k in range(10)] if classes is None else classes
    facts = {"study": study, "strategy": strategy, "seed": seed, "model": model, "data": data}
    settings = config(facts, changes or {})
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()
    folder = outputs / study / f"{model}-{strategy}-{data}-s{seed}-{digest}"
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, int(digest, 16)])
    skill += 0.05 * rng.normal()
    labels, probabilities = drawn(rng, n_test, len(names), skill)
    probe = strategy in PROBES
    features = (7.4 if probe else 0.0) if features is None else features
    fit = 0.6 + 0.1 * rng.random() if probe else epochs * (1.9 + 0.3 * rng.random())
    total, gmacs = PARAMS[model]
    own = 0.0 if cached else features
    result = facts | {
        "status": "completed",
        "run": folder.name,
        "test": scores(labels, probabilities),
        "val": scores(*drawn(rng, 200, len(names), skill)),
        "n_train": 80,
        "n_val": 20,
        "n_test": n_test,
        "params": {"total": total, "trainable": 12_810 if probe else total},
        "gmacs": gmacs,
        "epochs": 0 if probe else epochs,
        "backbone_forwards": 100 + n_test if probe else 100 * (epochs + (strategy == "head_then_all")) + 20 + n_test,
        "seconds": {
            "features": features,
            "features_reused": features if cached else 0.0,
            "fit": fit,
            "test": 1.5,
            "total": own + fit + 1.5 + 0.8,
        },
        "images_per_second": 43.2,
        "hardware": {"device": "cpu", "cores": 2, "precision": "32", "peak_memory_gib": 1.0 + rng.random()},
        "versions": {"headstart": "0.1.0", "torch": "2.15.0", "timm": "1.0.31"},
        "digests": {"data": data_digest(settings["data"], n_test, names)},
        "config_hash": digest,
        "cached": cached,
        "classes": names,
        "phases": [phase(name, node, epochs) for name, node in settings["strategy"]["phases"].items()],
    }
    if strategy == "ridge":
        result["test"] |= {"nll": None, "ece": None}
    if wandb:
        result["wandb_id"] = wandb
    (folder / "result.json").write_text(json.dumps(result | (update or {}), indent=1))
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    (folder / "state.json").write_text(json.dumps({"status": "completed"}))
    write_metrics(folder, strategy, epochs, skill, rng)
    write_predictions(folder, labels, probabilities, sure=strategy != "ridge")
    return folder


def phase(name: str, node: dict[str, Any], epochs: int) -> dict[str, Any]:
    """A phase's record in result.json."""
    if node["probe"]:
        return {
            "name": name,
            "kind": "probe",
            "cut_at": "head",
            "epochs": 0,
            "seconds": 0.7,
            "chosen": 1.0,
            "tried": 13,
        }
    return {"name": name, "kind": "images", "cut_at": None, "epochs": epochs, "seconds": 2.0 * epochs}


def data_digest(settings: dict[str, Any], n_test: int, classes: list[str]) -> str:
    """What stands for the content of all images: it follows from what was asked for."""
    asked = json.dumps([settings, n_test, classes], sort_keys=True)
    return hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()


def write_metrics(folder: Path, strategy: str, epochs: int, skill: float, rng: np.random.Generator) -> None:
    """Write metrics.csv: a row for a probe, a row per epoch for a phase that trains."""
    level = 1 / (1 + np.exp(-(skill - 0.9)))
    rows: list[list[Any]] = []
    if strategy in PROBES or strategy == "head_then_all":
        rows.append(["head" if strategy == "head_then_all" else "main", "", "", "", 0.97, 0.6, 0.93 * level, "", 0.7])
    if strategy not in PROBES:
        for epoch in range(epochs):
            accuracy = (
                level * (1 - np.exp(-(epoch + (4 if strategy == "head_then_all" else 1)) / 2.5)) + 0.01 * rng.normal()
            )
            rows.append(["main", epoch, 2 * epoch + 2, 1.2, accuracy, 1.1, min(1.0, accuracy), 0.003, 2.0])
    with (folder / "metrics.csv").open("w", newline="") as out:
        head = [
            "phase",
            "epoch",
            "step",
            "train_loss",
            "train_accuracy",
            "val_loss",
            "val_accuracy",
            "lr",
            "seconds",
        ]
        csv.writer(out).writerows([head, *rows])


def write_predictions(folder: Path, labels: np.ndarray, probabilities: np.ndarray, sure: bool = True) -> None:
    """Write predictions.csv, without confidences where the head gives no probabilities."""
    with (folder / "predictions.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["index", "name", "label", "predicted", "confidence", "top5"])
        for index, (label, row) in enumerate(zip(labels.tolist(), probabilities, strict=True)):
            likely = np.argsort(-row)[:5].tolist()
            confidence = f"{row.max():.6g}" if sure else ""
            writer.writerow([index, f"test[{index}]", label, likely[0], confidence, " ".join(map(str, likely))])


def write_demo(outputs: Path, study: str = "demo") -> list[Path]:
    """Write the demo: three strategies, three seeds; the probe's features come from the cache after the
    first.
    """
    skills = {"scratch": 1.5, "feature_extraction": 2.3, "finetune": 2.7}
    return [
        write_run(outputs, study, strategy, seed, skill=skill, cached=strategy == "feature_extraction" and seed > 0)
        for strategy, skill in skills.items()
        for seed in range(3)
    ]
