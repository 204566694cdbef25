"""The mistakes of each single run, which the page shows with the run: by name, with pictures where there are any."""

from __future__ import annotations

from collections import Counter
from typing import Any

from headstart.errors import UserError
from headstart.report.page.gallery import Galleries, key_of
from headstart.report.page.pictures import list_mistakes
from headstart.report.study.answers import read_names
from headstart.report.study.read import Run

MOST_OF_RUN = 12
MOST_PICTURES = 400  # besides those that stand in galleries; of more, the images that most runs are wrong about


class OwnMistakes:
    """Lists the mistakes of runs, then draws the images that they are about; without galleries there are names only."""

    def __init__(self, galleries: Galleries | None) -> None:
        self._galleries = galleries
        self._names: dict[str, list[str]] = {}
        self._wanted: Counter[str] = Counter()
        self._images: dict[str, tuple[Run, int]] = {}

    def of(self, run: Run) -> dict[str, Any]:
        """The mistakes that a run was most confident of: the image, what it said, and how sure in %."""
        answers = run.answers
        if answers is None:
            return {}
        if answers.images not in self._names:
            self._names[answers.images] = read_names([run.folder])
        found = []
        for mistake in list_mistakes([answers])[:MOST_OF_RUN]:
            key = key_of(run, mistake.place)
            self._wanted[key] += 1
            self._images.setdefault(key, (run, mistake.place))
            sure = None if mistake.confidence is None else round(100 * mistake.confidence)
            found.append([mistake.place, mistake.said, sure])
        return {"mistakes": found}

    def draw(self) -> dict[str, Any]:
        """By the images' keys: names, classes and links, and pictures that no gallery has; why some are missing."""
        shown: dict[str, list[Any]] = {}
        pictures: dict[str, list[Any]] = {}
        galleries, missing = self._galleries, ""
        for key, (run, row) in self._images.items():
            assert run.answers is not None
            shown[key] = [self._names[run.answers.images][row], int(run.answers.labels[row])]
            shown[key] += [galleries.link(run, row)] if galleries else []
        wanted = [key for key, _ in self._wanted.most_common() if galleries and key not in galleries.embedded]
        if len(wanted) > MOST_PICTURES:
            missing = f"the page has those of the {MOST_PICTURES} images that most runs are wrong about"
        for key in wanted[:MOST_PICTURES]:
            try:
                pictures[key] = galleries.picture(*self._images[key], shown[key][0]) if galleries else []
            except UserError as error:
                missing = str(error).partition("\n")[0].rstrip(".")
        return {"shown": shown, "pictures": pictures, "missing": missing}
