"""Images of a run's test set to try the page with, mistakes first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.data.rgb import to_rgb
from headstart.serve.answer import encode
from headstart.visualize.why.cases import TestImages

MISTAKES, ALL = 6, 12
LONGEST = 1024  # pixels of a side


@dataclass(frozen=True)
class Example:
    """A test image as a PNG file, its class, and the class that the run answered."""

    content: bytes
    label: str
    predicted: str


def read_examples(folder: Path) -> list[Example]:
    """The most confident mistakes of a run, then right answers of its classes.

    Raises:
        UserError: the test images are not there any more.
    """
    test = TestImages.read(folder)
    wrong = test.answers.find_mistakes(MISTAKES)
    rows = np.concatenate([wrong, test.answers.find_right(ALL - len(wrong))])
    part, classes = test.data.parts["test"], test.data.classes
    found = []
    for row in rows.tolist():
        image = part.split.images[int(part.rows[row])]
        picture = to_rgb(image) if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.thumbnail((LONGEST, LONGEST))
        label, predicted = (classes[int(values[row])] for values in (test.answers.labels, test.answers.predicted))
        found.append(Example(encode(picture), label, predicted))
    return found
