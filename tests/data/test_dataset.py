"""The parts of a run: their sizes, what had to be adapted, in memory or streamed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.images import load
from headstart.data import sources
from headstart.data.dataset import Data, prepare
from headstart.data.source import Source, array_split
from headstart.data.splits import Part, split_source
from headstart.errors import UserError


@pytest.mark.parametrize(("storage", "free", "streamed"), [
    ("auto", 1e9, False), ("auto", 1e6, True), ("stream", 1e9, True), ("memory", 4e6, False)
])  # fmt: skip
def test_auto_streams_what_would_fill_more_than_half_of_the_memory(
    storage: str, free: float, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.runtime.memory.free_memory", lambda: free)  # 200 images of 73 px take 3.2 MB
    assert prepared(storage=storage).streamed is streamed
    monkeypatch.setattr("headstart.runtime.memory.free_memory", lambda: 3e6)
    with pytest.raises(UserError, match=r"data.storage=memory: .* use data.storage=stream"):
        prepared(storage="memory")


def settings_of(**changes: object) -> object:
    base = {
        "source": {"_target_": "headstart.data.sources.digits"},
        "train_per_class": 10,
        "train_fraction": None,
    }
    base |= {
        "storage": "auto",
        "resize": "auto",
        "n_train": None,
        "n_test": 100,
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "group": None,
        "folds": None,
        "fold": None,
        "split_seed": 0,
        "pixel_range": None,
    }
    return type("Config", (), base | changes)()


def prepared(**changes: object) -> Data:
    return prepare(settings_of(**changes), image_size=64, crop_pct=0.875, interpolation="bicubic")


def test_prepare() -> None:
    data = prepared()
    assert data.sizes == {"train": 80, "val": 20, "test": 100}
    assert "test" not in vars(data)  # not read before it is asked for
    assert data.train.images.shape == (80, 3, 73, 73)
    assert data.adaptations == [
        "all 200 images are grey: repeated to 3 channels",
        "all 200 images are enlarged to 73 px, the smallest from 8 px",
    ]
    assert len(data.parts["train"].split) == 80  # the rest of the source is let go
    assert data.test is data.test
    full = sources.digits().train
    row = int(data.train.names[0][6:-1])
    expected = load(Part(full, np.array([row])), 73, "bicubic", crop=64)
    assert data.train.ids[0] == expected.ids[0]


def test_digest_follows_the_parts() -> None:
    assert prepared().digest == prepared().digest
    assert len({prepared(split_seed=s, n_test=n).digest for s, n in ((0, 100), (1, 100), (0, 99))}) == 3


def test_ten_classes_are_named_with_their_numbers_and_how_many_more_there_are() -> None:
    def described(classes: int) -> str:
        labels = np.arange(classes).repeat(np.arange(classes) + 3)  # 3 of the first class, 4 of the second, …
        source = Source(tuple(f"c{i}\n" for i in range(classes)), array_split(labels.astype(np.uint8), labels, "train"))
        parts = split_source(source, val_fraction=0.01, test_fraction=0.01)
        data = Data(source.classes, parts, image_size=8, stored_size=8, interpolation="bilinear", workers=0)
        return data.describe_classes()

    ten = ", ".join(rf"c{i}\n ({i + 1} + 1 + 1)" for i in range(10))
    assert described(10) == f"images by class (train + val + test): {ten}"
    assert described(12) == f"images by class (train + val + test): {ten}, … and 2 more"


FRAMES = """path,label,patient
{rows}
"""


@pytest.mark.parametrize("group", ["patient", r"regex:/(p\d+)_"])
def test_no_patient_of_a_table_is_in_two_parts(tmp_path: Path, group: str) -> None:
    """A small form of the case `groups/frames.csv`."""
    (tmp_path / "frames").mkdir()
    rows = []
    for patient in range(12):
        for frame in range(3):
            name = f"frames/p{patient:02}_{frame}.png"
            Image.new("RGB", (8, 8), (20 * patient, frame, 0)).save(tmp_path / name)
            rows.append(f"{name},{'ill' if patient % 2 else 'well'},p{patient:02}")
    (tmp_path / "frames.csv").write_text(FRAMES.format(rows="\n".join(rows)), "utf-8")
    source = {"_target_": "headstart.data.sources.csv", "path": str(tmp_path / "frames.csv")}
    parts = prepared(source=source, group=group, train_per_class=None, n_test=None).parts
    patients = [{Path(name).name[:3] for name in part.names} for part in parts.values()]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 12
    assert {name: len(part) for name, part in parts.items()} == {"train": 24, "val": 6, "test": 6}


def test_a_column_for_a_source_without_columns_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.group=patient: names the column of a table, and this data source"):
        prepared(group="patient")
