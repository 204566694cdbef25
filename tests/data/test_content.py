"""The digest of a data set's content: the same for every seed and fold, another one for other images or labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.images import picture, read
from headstart.data.content import digest_content, digest_listing
from headstart.data.source import array_split
from headstart.data.splits import Part


def flat(root: Path, change: str = "", count: int = 6) -> Path:
    """Two classes without parts; `change` says what differs."""
    for place, name in enumerate("ab"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(100 * place + i).save(root / name / f"{i}.png")
    if change == "replaced":
        for path in root.rglob("*.png"):
            picture(1000 + int(path.stem)).save(path)
    elif change == "relabelled":
        (root / "a/0.png").rename(root / "b/moved.png")
    elif change == "added":
        picture(999).save(root / "a/new.png")
    return root


CUTS = ({}, {"train_per_class": 3}, {"folds": 3, "fold": 0}, {"folds": 3, "fold": 0, "train_per_class": 3})


@pytest.mark.parametrize("cut", CUTS)
def test_no_seed_and_no_fold_changes_it(cut: dict[str, int], tmp_path: Path) -> None:
    root = flat(tmp_path / "data")
    others = [{"split_seed": 7}] + ([{"fold": 1}, {"fold": 2, "split_seed": 3}] if "folds" in cut else [])
    first, *rest = (read(root, **(cut | other)) for other in ({}, *others))
    assert {data.content for data in rest} == {first.content}
    assert all(data.digest != first.digest for data in rest), "the split differs"


@pytest.mark.parametrize("change", ["replaced", "relabelled", "added"])
@pytest.mark.parametrize("cut", CUTS[:3])
def test_other_images_or_labels_change_it(change: str, cut: dict[str, int], tmp_path: Path) -> None:
    one, other = (read(flat(tmp_path / name, name), **cut) for name in ("as it was", change))
    assert one.content != other.content


def test_the_folder_it_stands_in_does_not_change_it(tmp_path: Path) -> None:
    assert read(flat(tmp_path / "one")).content == read(flat(tmp_path / "other")).content


def test_another_label_of_one_image_changes_it() -> None:
    images, digests = np.arange(4 * 12, dtype=np.uint8).reshape(4, 4, 3), []
    for labels in ([0, 0, 1, 1], [0, 1, 0, 1]):
        part = Part(array_split(images, np.array(labels), "train"), np.arange(4))
        listing = digest_listing("ab", {"train": part})
        digests.append((listing, digest_content("the same listing", [part])))
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] != digests[1][1]
