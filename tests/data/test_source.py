"""Splits of a source: digests of content, some of the rows, and no torch."""

import sys
from pathlib import Path

import numpy as np

from data.images import write_image
from headstart.data import sources
from headstart.data.source import ArrayImages, FileImages, Split, array_split
from headstart.data.splits import Part


def digest(split: Split, *rows: int) -> str:
    return Part(split, np.array(rows)).digest()


def test_digest_follows_content_and_labels_not_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for c in "ab":
            for i in range(3):
                write_image(tmp_path / name / c / f"{name}{i}.png", value=i)
    one, two = (sources.image_folder(str(tmp_path / n)).train for n in ("one", "two"))
    assert digest(one, *range(6)) == digest(two, *range(6))
    assert digest(one, 0, 1) != digest(one, 1, 0)
    assert digest(one, 0) != digest(one, 3)  # the same pixels, another label
    before = digest(one, 0)
    write_image(tmp_path / "one" / "a" / "one0.png", value=99)
    assert digest(one, 0) != before
    (tmp_path / "one" / "a" / "one0.png").write_bytes(b"no image at all")
    assert isinstance(digest(one, 0), str)  # nothing is decoded


def test_select_keeps_rows() -> None:
    split = array_split(np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.arange(6), "train")
    kept = split.select(np.array([4, 1]))
    assert isinstance(kept.images, ArrayImages)
    assert kept.images.array.base is None  # a copy: the whole can be freed
    assert (kept.names, kept.labels.tolist()) == (["train[4]", "train[1]"], [4, 1])
    assert digest(kept, 0, 1) == digest(split, 4, 1)
    assert not isinstance(split.images, FileImages)


def test_sources_and_splits_import_no_torch() -> None:
    import subprocess

    code = "import sys, headstart.data, headstart.data.splits\nsys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
