"""The answers of `headstart predict`: a table in the terminal, lines of JSON, a CSV file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.prediction import Prediction

ENOUGH = 30  # characters of a class's name in the table
JUDGED = ("set", "withheld", "unlike")


def print_json(prediction: Prediction) -> None:
    """Print a line of JSON; a probability that there is not is null."""
    line: dict[str, object] = {"image": prediction.image}
    if prediction.error is not None:
        line["error"] = prediction.error
    else:
        line["labels"] = prediction.labels
        line["probabilities"] = [None if math.isnan(value) else value for value in prediction.probabilities]
        for key in JUDGED:
            if getattr(prediction, key, None) is not None:
                line[key] = getattr(prediction, key)
    print(json.dumps(line), flush=True)


class Table:
    """Prints a line for each image, in columns as wide as the longest name needs.

    Args:
        asked: what is shown besides labels and probabilities, by the names in `Judged`; `set` comes last.
        calibrated: whether the probabilities are calibrated, which the heading says.
    """

    def __init__(self, images: Sequence[str], asked: Sequence[str] = (), *, calibrated: bool = False) -> None:
        from headstart.data.filenames import escape_name

        self.escape, self.asked = escape_name, asked
        self.share = "% calibrated" if calibrated else "%"
        self.width = max(map(len, map(escape_name, images)))
        self.begun = False

    def print(self, prediction: Prediction) -> None:
        """Print the line of one image; before the first, the head of the table."""
        if not self.begun:
            more = "".join(f"  {name:<{self._measure(name)}}" for name in self.asked)
            print(f"{'image':<{self.width}}  {'answer':<{ENOUGH}}  {self.share:>6}{more}  then")
            self.begun = True
        name = f"{self.escape(str(prediction.image)):<{self.width}}"
        if prediction.error is not None:
            print(f"{name}  cannot be read: {prediction.error}")
            return
        labels = [self._shorten(label) for label in prediction.labels]
        shares = ["–" if math.isnan(value) else f"{100 * value:.1f}" for value in prediction.probabilities]
        rest = " · ".join(f"{label} {share}" for label, share in zip(labels[1:], shares[1:], strict=True))
        more = "".join(f"  {self._describe(prediction, name):<{self._measure(name)}}" for name in self.asked)
        width = max(6, len(self.share))
        print(f"{name}  {labels[0]:<{ENOUGH}}  {shares[0]:>{width}}{more}  {rest}".rstrip())

    def _measure(self, name: str) -> int:
        """The width of a column."""
        return ENOUGH if name == "set" else len(name)

    def _describe(self, prediction: Prediction, name: str) -> str:
        """The content of a column."""
        found = getattr(prediction, name)
        if name == "set":
            return "{" + ", ".join(map(self._shorten, found)) + "}"
        return "yes" if found else "no"

    def _shorten(self, label: str) -> str:
        text = self.escape(label)
        return text if len(text) <= ENOUGH else f"{text[: ENOUGH - 1]}…"


@contextmanager
def write_csv(path: Path, top: int, *, judged: bool = False) -> Iterator[Callable[[Prediction], None]]:
    """Inside this context, what this gives writes a line; the file replaces an old one when all are written."""
    import csv

    from headstart.storage.files import write_whole
    from headstart.storage.plain_text import plain_row

    pairs = [f"{name}_{at}" for at in range(1, top + 1) for name in ("label", "probability")]
    with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "error", *pairs, *(JUDGED if judged else ())])

        def write(prediction: Prediction) -> None:
            cells = zip(prediction.labels, prediction.probabilities, strict=True)
            shares = [cell for label, value in cells for cell in (label, "" if math.isnan(value) else f"{value:.6g}")]
            if judged:
                shares += [""] * (len(pairs) - len(shares))
                for name in JUDGED:
                    found = getattr(prediction, name, None)
                    shares.append("" if found is None else json.dumps(found, ensure_ascii=False))
            writer.writerow(plain_row([str(prediction.image), prediction.error or "", *shares]))

        yield write
