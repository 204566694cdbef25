"""The scores of a test set, also class by class, and the predictions for each image."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart import scores as by_class
from headstart.config.environment import hide_in_text
from headstart.storage.files import write_text
from headstart.storage.plain_text import plain_cell

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

ECE_BINS = 15
ROW_COLUMNS = ("index", "name", "label", "predicted", "confidence", "top5")  # no top5 of five classes or fewer
PREDICTION_COLUMNS = (*ROW_COLUMNS, "label_name", "predicted_name")  # of the file


def evaluate(scores: Tensor, labels: Tensor, probabilities: bool = True) -> dict[str, float | None]:
    """Return the scores named in `headstart.scores.NAMES`, of `scores` [n, C] against `labels` [n].

    All are fractions except `nll`, which is the mean in nats. `scores` are logits or log-probabilities; with
    `probabilities=False` only their order within an image has a meaning, and `nll`, `ece` and `auroc` are None. `auroc`
    is None too if a class occurs in no label, and `top5` with five classes or fewer. Equal scores rank in the order of
    their classes. `balanced_accuracy` is the mean recall over the classes that occur in `labels`, `f1` the mean F1 over
    those that occur or are predicted, `auroc` the mean over classes of one against the rest. `ece` is top-label
    calibration in 15 bins of equal width, open on the left (Guo et al. 2017, https://arxiv.org/abs/1706.04599).
    Raises ValueError for no rows, unequal lengths, labels out of range or NaN.
    """
    # Not by torchmetrics (1.9.0). To import it takes 1.5 s of processor time after torch and timm (2.7 s on two busy
    # cores), which a run with a fitted head avoids. And its numbers differ: its macro recall counts a class that was
    # predicted but occurs in no label as 0; its top-5 ranks equal scores in the arbitrary order of torch.topk; its
    # AUROC leaves out a class without labels; its calibration error treats scores in [0, 1] as probabilities, closes
    # bins on the left, and gives a confidence of 1 a bin of its own. If none of this occurs, the numbers are equal; the
    # tests of this file check both.
    import torch

    scores, labels = _check(scores, labels)
    hits = scores.argmax(1) == labels
    images, predicted, hit = by_class.count_classes(scores, labels)
    numbers: dict[str, float | None] = dict.fromkeys(by_class.NAMES)
    numbers["accuracy"] = hits.double().mean().item()
    numbers["balanced_accuracy"] = by_class.balanced_accuracy(images, hit).item()
    numbers["f1"] = by_class.macro_f1(images, predicted, hit).item()
    if scores.shape[1] > by_class.TOP:
        own = scores.gather(1, labels[:, None])
        columns = scores.new_ones(scores.shape, dtype=labels.dtype).cumsum(1) - 1
        rank = ((scores > own) | ((scores == own) & (columns < labels[:, None]))).sum(1)
        numbers["top5"] = (rank < by_class.TOP).double().mean().item()
    if probabilities:
        log_probabilities = scores.log_softmax(1)
        numbers["auroc"] = by_class.auroc(log_probabilities, labels)
        numbers["nll"] = -log_probabilities.gather(1, labels[:, None]).double().mean().item()
        gaps = calibration_gaps(log_probabilities.amax(1).exp().double().numpy(), hits.numpy())
        # summed by torch: numpy adds float64 in another order, which changes the last digit
        numbers["ece"] = torch.from_numpy(gaps).abs().sum().item() / len(hits)
    return numbers


def list_classes(scores: Tensor, labels: Tensor, names: Sequence[str]) -> list[dict[str, Any]]:
    """List for each class its name, number of images, recall, precision and F1 (None where one is not defined)."""
    scores, labels = _check(scores, labels)
    counts = by_class.count_classes(scores, labels)
    columns = [
        [None if value != value else value for value in found.tolist()] for found in by_class.class_scores(*counts)
    ]
    return [
        {"name": name, "images": int(images), "recall": recall, "precision": precision, "f1": f1}
        for name, images, recall, precision, f1 in zip(names, counts[0].tolist(), *columns, strict=True)
    ]


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, int64 [n]; bins of equal width, open on the left, the first also holds 0."""
    import numpy as np

    return np.ceil(confidence * ECE_BINS).clip(1, ECE_BINS).astype(np.int64) - 1


def calibration_gaps(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return for each bin the sum of confidence - right over its images, float64 [15].

    Their absolute values, summed and divided by n, are the calibration error (Guo et al. 2017, equation 3).
    `confidence` is the top label's probability, float64 [n], `right` whether that label is the true one, bool [n].
    """
    import numpy as np

    return np.bincount(confidence_bins(confidence), weights=confidence - right, minlength=ECE_BINS)


def list_predictions(
    scores: Tensor, labels: Tensor, names: Sequence[str], probabilities: bool = True
) -> list[dict[str, Any]]:
    """List one row for each image, with the keys of `ROW_COLUMNS`, in the order of `scores` [n, C].

    `label`, `predicted` and the list `top5` are class indices, `confidence` is the probability of the top label
    (None with `probabilities=False`), `index` the number of the row. With five classes or fewer there is no `top5`.
    """
    scores, labels = _check(scores, labels)
    if len(names) != len(labels):
        raise ValueError(f"{len(names)} names for {len(labels)} images")
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, : by_class.TOP].tolist()
    more = scores.shape[1] > by_class.TOP
    confidence = scores.softmax(1).amax(1).tolist() if probabilities else [None] * len(order)
    columns = zip(names, labels.tolist(), order, confidence, strict=True)
    return [
        {"index": i, "name": hide_in_text(name), "label": label, "predicted": top[0], "confidence": sure}
        | ({"top5": top} if more else {})
        for i, (name, label, top, sure) in enumerate(columns)
    ]


def save_predictions(path: Path, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    """Write `rows` as predictions.csv, completely or not at all; confidence is rounded to 6 digits.

    `classes` are the names of the class indices; the file has them beside `label` and `predicted`. Without `top5` in
    the rows, it has no such column.
    """
    text = io.StringIO(newline="")
    more = any("top5" in row for row in rows)
    writer = csv.DictWriter(text, [column for column in PREDICTION_COLUMNS if more or column != "top5"])
    writer.writeheader()
    for row in rows:
        confidence = "" if row["confidence"] is None else f"{row['confidence']:.6g}"
        texts = {f"{key}_name": plain_cell(classes[row[key]]) for key in ("label", "predicted")}
        texts["name"] = plain_cell(row["name"])
        texts |= {"top5": " ".join(map(str, row["top5"]))} if more else {}
        writer.writerow({**row, **texts, "confidence": confidence})
    write_text(path, text.getvalue(), errors="surrogateescape")


def _check(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return both on the CPU, as float32 (or float64, if they are) and int64, or raise ValueError."""
    if scores.ndim != 2 or labels.ndim != 1 or len(scores) != len(labels) or scores.numel() == 0:
        shapes = f"{list(scores.shape)} and {list(labels.shape)}"
        raise ValueError(f"scores must be [n, C] and labels [n] with n and C at least 1; they are {shapes}")
    scores = scores.detach().cpu()
    scores = scores if scores.element_size() == 8 else scores.float()
    labels = labels.detach().cpu().long()
    if scores.isnan().any():
        raise ValueError("scores hold NaN: the model has diverged")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        found = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"labels run from {found}, but there are {scores.shape[1]} classes")
    return scores, labels
