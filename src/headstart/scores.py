"""The scores of predictions: their names, and those that are made of counts by class or of ranks.

They are not those of torchmetrics (see `headstart.evaluation.metrics`); the tests compare both, and scikit-learn's.
Importing this does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("accuracy", "top5", "balanced_accuracy", "f1", "auroc", "nll", "ece")  # of `test` and `val` in result.json
TOP = 5  # with as many classes or fewer, the class is always among the five likeliest: `top5` says nothing


def measure(name: str, scores: Tensor, labels: Tensor) -> float:
    """Return `balanced_accuracy`, `f1` or `auroc` of logits [n, C] against labels [n], as `select` needs it.

    Raises:
        ValueError: the AUROC is not defined: a class has no image.
    """
    if name == "auroc":
        found = auroc(scores.float().log_softmax(1), labels)
        if found is None:
            raise ValueError("AUROC is not defined: a class has no image")
        return found
    images, predicted, hits = count_classes(scores, labels)
    return (
        balanced_accuracy(images, hits) if name == "balanced_accuracy" else macro_f1(images, predicted, hits)
    ).item()


def count_classes(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count for each class the images of it, those predicted as it, and those that are both: float64 [C] each."""
    predicted, classes = scores.argmax(1), scores.shape[1]
    counted = labels, predicted, labels[predicted == labels]
    images, answers, hits = (some.bincount(minlength=classes).double() for some in counted)
    return images, answers, hits


def class_scores(images: Any, predicted: Any, hits: Any) -> tuple[Any, Any, Any]:
    """Return recall, precision and F1 of each class, NaN where they are not defined: tensors or arrays [..., classes].

    Args:
        images: how many images are of the class; without any it has no recall.
        predicted: how many are predicted as it; without any it has no precision.
        hits: how many are both. F1, the harmonic mean of recall and precision, is `2 hits / (images + predicted)`.
    """
    return hits / images, hits / predicted, 2 * hits / (images + predicted)


def balanced_accuracy(images: Tensor, hits: Tensor) -> Tensor:
    """The mean recall over the classes that occur, from counts [classes]."""
    return (hits / images).nanmean()


def macro_f1(images: Tensor, predicted: Tensor, hits: Tensor) -> Tensor:
    """The mean F1 over the classes that occur or are predicted, from counts [classes]."""
    return class_scores(images, predicted, hits)[2].nanmean()


def auroc(log_probabilities: Tensor, labels: Tensor) -> float | None:
    """The mean over classes of the area under the ROC curve of one class against the rest (macro one-vs-rest).

    The area is the chance that an image of the class gets a higher probability [n, C] of it than one of another class,
    where equal ones count half (Hand and Till 2001, section 2). None if a class has no image.
    """
    import torch

    counts = labels.bincount(minlength=log_probabilities.shape[1]).tolist()
    if 0 in counts or len(counts) < 2:
        return None
    areas = []
    for label, own in enumerate(counts):
        column = log_probabilities[:, label].contiguous()
        mine, ordered = column[labels == label], column.sort().values
        below = torch.searchsorted(ordered, mine) + torch.searchsorted(ordered, mine, right=True)
        # each image of the class against all: half of (below + up to it); against one another they win own ** 2 / 2
        areas.append((below.sum().item() - own * own) / (2 * own * (len(labels) - own)))
    return sum(areas) / len(areas)
