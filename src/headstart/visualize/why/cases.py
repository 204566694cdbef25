"""The images whose maps are drawn: mistakes of a run, right answers, those on which two runs differ, or given files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.config.words import count
from headstart.data.dataset import Data
from headstart.data.filenames import escape_name
from headstart.errors import UserError
from headstart.visualize.run_data import read_folder_data
from headstart.visualize.why.answers import Answers, find_changed, read_answers

MISTAKES, RIGHT, CHANGED, GIVEN = "why-mistakes", "why-right", "why-against", "why"  # names of files


@dataclass(frozen=True)
class Case:
    """An image as a file or as its pixels, its name, and the name of its class if it is known."""

    image: str | Image.Image | np.ndarray
    name: str
    label: str | None = None


@dataclass(frozen=True)
class Cases:
    """Images for one sheet: its title, and the file's name without ending."""

    cases: list[Case]
    title: str
    file: str


@dataclass(frozen=True)
class TestImages:
    """The test images of a run, with what it answered."""

    data: Data
    answers: Answers

    @classmethod
    def read(cls, folder: Path) -> TestImages:
        """Read them again.

        Raises:
            UserError: they are not there any more, or are not those of predictions.csv.
        """
        answers, data = read_answers(folder), read_folder_data(folder)
        if not np.array_equal(answers.labels, data.parts["test"].labels):
            raise UserError(f"{folder}: its test images have changed since it ran, so predictions.csv is not of them")
        return cls(data, answers)

    def list_cases(self, rows: np.ndarray) -> list[Case]:
        """The images of these rows of the test part."""
        part = self.data.parts["test"]
        return [
            Case(part.split.images[int(part.rows[row])], escape_name(part.names[row]), self.data.classes[label])
            for row, label in zip(rows.tolist(), part.labels[rows].tolist(), strict=True)
        ]


def choose_files(paths: Sequence[str], most: int) -> Cases:
    """The first of the given image files."""
    title = "Where it looks" + (f": the first {most} of {len(paths):,} images" if len(paths) > most else "")
    return Cases([Case(path, escape_name(Path(path).name)) for path in paths[:most]], title, GIVEN)


def choose_answers(test: TestImages, most: int) -> list[Cases]:
    """The most confident mistakes of a run, if it has any, and right answers of all classes."""
    wrong, right = test.answers.find_mistakes(most), test.answers.find_right(most)
    mistakes, images = count(int((~test.answers.right).sum()), "mistake"), count(len(test.answers.labels), "test image")
    if not len(wrong):
        print(f"no mistake on {images}")
    first = f"{len(wrong)} of {mistakes} on {images}, the most confident first"
    second = f"{count(len(right), 'right answer')}, the most confident of each class"
    found = [Cases(test.list_cases(wrong), first, MISTAKES), Cases(test.list_cases(right), second, RIGHT)]
    return [cases for cases in found if cases.cases]


def choose_changed(folder: Path, other: Path, test: TestImages, most: int) -> Cases:
    """The test images on which two runs differ, and then others that were difficult.

    Args:
        test: of the run in `folder`.

    Raises:
        UserError: they were tested on different images.
    """
    answers = read_answers(other)
    if test.answers.names != answers.names or not np.array_equal(test.answers.labels, answers.labels):
        raise UserError(f"{folder} and {other} were tested on different images; name the images to be compared")
    changed = count(int((test.answers.right != answers.right).sum()), "verdict")
    rows = find_changed(test.answers, answers, most)
    title = f"{changed} of {count(len(answers.labels), 'test image')} differ; the most confident mistakes first"
    return Cases(test.list_cases(rows), title, CHANGED)
