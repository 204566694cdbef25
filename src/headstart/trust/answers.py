"""Answers of a run with their sets of classes, or withheld, by thresholds from its validation images.

The thresholds are chosen on `predictions.npz`, whose probabilities are those of `Network.stream` without a temperature.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from headstart.errors import UserError
from headstart.evaluation.probabilities import NAME
from headstart.predict.prediction import Prediction
from headstart.trust.conformal import choose_set_threshold, choose_withholding, make_sets, measure_withholding
from headstart.trust.unlike import Familiar, read_or_learn

if TYPE_CHECKING:
    from headstart.predict.network import Network

BATCH = 256  # images whose features are compared at a time
Part = tuple[np.ndarray, np.ndarray]  # probabilities [n, classes], labels int64 [n]


@dataclass(frozen=True)
class Judged(Prediction):
    """An answer, its set of classes, whether it is withheld, and whether its image is unlike the training images.

    What was not asked for is None.
    """

    set: tuple[str, ...] | None = None
    withheld: bool | None = None
    unlike: bool | None = None


@dataclass(frozen=True)
class Judge:
    """The thresholds of a run, and sentences on what they do on its test images."""

    set_threshold: float | None
    answer_threshold: float | None
    notes: list[str]
    network: Network
    familiar: Familiar | None = None

    def apply(self, predictions: Iterable[Prediction], top: int) -> Iterator[Judged]:
        """Judge answers; for sets they list all classes, of which `top` stay."""
        for batch in _batch(predictions, 1 if self.familiar is None else BATCH):
            for each, strange in zip(batch, self._find_unlike(batch), strict=True):
                yield self._judge(each, top, strange)

    def _judge(self, each: Prediction, top: int, unlike: bool | None) -> Judged:
        inside = withheld = None
        if each.error is None and self.set_threshold is not None:
            pairs = zip(each.labels, each.probabilities, strict=True)
            inside = tuple(label for label, chance in pairs if chance >= self.set_threshold)
        if each.error is None and self.answer_threshold is not None:
            withheld = each.probabilities[0] < self.answer_threshold
        return Judged(each.image, each.labels[:top], each.probabilities[:top], each.error, inside, withheld, unlike)

    def _find_unlike(self, batch: Sequence[Prediction]) -> list[bool | None]:
        """Which images of these answers are unlike the training images; None: not asked for, or not readable."""
        found: list[bool | None] = [None] * len(batch)
        readable = [at for at, each in enumerate(batch) if each.error is None]
        if self.familiar is not None and readable:
            unlike = self.familiar.find_unlike(self.network, [str(batch[at].image) for at in readable])
            for at, value in zip(readable, unlike.tolist(), strict=True):
                found[at] = value
        return found


def _batch(predictions: Iterable[Prediction], size: int) -> Iterator[list[Prediction]]:
    """Lists of `size` answers, the last one shorter."""
    given = iter(predictions)
    while some := list(islice(given, size)):
        yield some


def make_judge(network: Network, sets: float | None, abstain: float | None, *, unlike: bool = False) -> Judge:
    """Choose the thresholds on the run's validation images.

    Args:
        unlike: also find images that are unlike the training images.

    Raises:
        UserError: there are no such images that the head has not learnt, or too few.
    """
    set_threshold = answer_threshold = None
    notes = []
    if sets is not None or abstain is not None:
        parts = _read_parts(network)
        (chances, labels), test = parts["val"], parts["test"]
    if sets is not None:
        set_threshold = float(np.float32(choose_set_threshold(chances, labels, sets)))
        inside = make_sets(test[0], set_threshold)
        covered = inside[np.arange(len(test[1])), test[1]].mean()
        notes.append(
            f"sets of classes from {set_threshold:.3g} up, by {len(labels):,} validation images: on the run's test "
            f"images {100 * covered:.1f} % hold the true class, with {inside.sum(1).mean():.2f} classes on average"
        )
    if abstain is not None:
        chosen = choose_withholding(chances, labels, abstain)
        kept, answer_threshold = measure_withholding(*test, chosen.threshold), chosen.threshold
        notes.append(
            f"answers from {chosen.threshold:.3g} up: on validation images {100 * chosen.precision:.1f} % right and "
            f"{100 * chosen.coverage:.1f} % answered, on test images {100 * kept.precision:.1f} % and "
            f"{100 * kept.coverage:.1f} %"
        )
    familiar = read_or_learn(network) if unlike else None
    notes += [] if familiar is None else [familiar.describe()]
    return Judge(set_threshold, answer_threshold, notes, network, familiar)


def _read_parts(network: Network) -> dict[str, Part]:
    """The probabilities and labels of the run's validation and test images."""
    if network.folder is None:
        raise UserError(f"--sets and --abstain need a run's validation images, and {network.name} is no run")
    if getattr(network.route, "is_refitted", False):
        raise UserError(
            f"{network.folder}: its head was fitted once more with its validation images (refit: true), so none is "
            "left by which --sets and --abstain could choose; train it with refit: false in the phase's probe"
        )
    path = network.folder / NAME
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: is missing, and --sets and --abstain read validation images there; heads without probabilities "
            "write none, others do with rerun=true"
        ) from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is damaged; rerun=true runs this run again from its start") from error
    if "val_labels" not in content or not len(content["val_labels"]):
        raise UserError(
            f"{network.folder}: has no validation images, by which --sets and --abstain choose; raise data.val_fraction"
        )
    if content["classes"].tolist() != network.classes:
        raise UserError(f"{path}: its classes are not the network's; rerun=true runs this run again from its start")
    return {name: (content[f"{name}_probabilities"], content[f"{name}_labels"]) for name in ("val", "test")}
