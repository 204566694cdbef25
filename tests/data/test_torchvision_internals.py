"""The private parts of torchvision are there, and do what is expected of them, in the installed version."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from torchvision import datasets
from torchvision.datasets import utils

from data.images import write_image
from headstart.data import torchvision_internals as internals
from headstart.data import torchvision_sets

# where each set keeps its images or their paths, and its labels; Caltech's sets keep neither
ARRAYS, FILES = ("data", "targets"), ("_image_files", "_labels")
PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["CIFAR10", "CIFAR100", "EMNIST", "FashionMNIST", "KMNIST", "MNIST", "QMNIST", "USPS"], ARRAYS),
    **dict.fromkeys(["SEMEION", "STL10", "SVHN"], ("data", "labels")),
    **dict.fromkeys(["CLEVRClassification", "DTD", "FGVCAircraft", "Flowers102", "Food101", "SUN397"], FILES),
    **dict.fromkeys(["FER2013", "GTSRB", "Imagenette", "RenderedSST2", "StanfordCars"], ("_samples",)),
    **dict.fromkeys(["Country211", "EuroSAT", "ImageNet"], ("samples",)),
    "OxfordIIITPet": ("_images", "_labels"),
    "Places365": ("imgs", "targets"),
    "PCAM": ("h5py", "_base_folder", "_split"),
    "Caltech101": ("categories", "root"),
    "Caltech256": ("categories", "root"),
}


@pytest.mark.parametrize("name", sorted(torchvision_sets.SETS))
def test_a_set_keeps_its_images_and_labels_where_they_are_looked_for(name: str) -> None:
    source = "".join(inspect.getsource(kind) for kind in getattr(datasets, name).__mro__[:-1])
    for part in PARTS[name]:
        assert any(f"self.{part}{sign}" in source for sign in (" =", ":", ",")), f"{name} keeps no {part} any more"
    others = {*internals.FILES, *internals.LABELS, "_samples"} - {*PARTS[name]}
    if "samples" not in PARTS[name]:  # of a folder of images, `imgs` and `targets` are there too
        assert not [part for part in others if f"self.{part} =" in source], "another part would be taken first"


def test_samples_of_a_set_are_those_that_it_gives_in_public(tmp_path: Path) -> None:
    for at, name in enumerate(("a", "b")):
        write_image(tmp_path / "gtsrb" / "GTSRB" / "Training" / f"0000{at}" / f"{name}.ppm", value=10 * at)
    dataset = datasets.GTSRB(str(tmp_path), "train")
    samples = internals.find_samples(dataset)
    assert samples is not None
    assert [label for _, label in samples] == [label for _, label in dataset] == [0, 1]
    assert [Path(path).stem for path, _ in samples] == ["a", "b"]


def test_files_and_labels_of_a_set_are_those_that_it_gives_in_public(tmp_path: Path) -> None:
    base = tmp_path / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    names = [f"{name}/{name}_1.jpg" for name in ("woven", "banded")]
    (base / "labels" / "train1.txt").write_text("\n".join(names) + "\n")
    for at, name in enumerate(names):
        write_image(base / "images" / name, value=10 * at)
    dataset = datasets.DTD(str(tmp_path), "train")
    files = internals.find_files(dataset)
    assert files is not None
    assert internals.find_samples(dataset) is None
    assert [str(Path(path).relative_to(base / "images")) for path in files] == names
    assert internals.read_labels(dataset).tolist() == [label for _, label in dataset] == [1, 0]


def test_the_names_of_pcams_files_of_labels() -> None:
    assert {split: files["targets"][0] for split, files in datasets.PCAM._FILES.items()} == {
        split: f"camelyonpatch_level_2_split_{short}_y.h5"
        for split, short in (("train", "train"), ("val", "valid"), ("test", "test"))
    }


def test_every_extraction_looks_its_extractor_up_in_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[Any, ...]] = []
    table = internals.archive_extractors()
    assert set(table) == {".tar", ".zip"}
    for kind in table:
        monkeypatch.setitem(table, kind, lambda *arguments: called.append(arguments))
    for name in ("a.tar", "a.tar.gz", "a.tgz", "a.zip"):
        utils.extract_archive(str(tmp_path / name), str(tmp_path))
    assert called == [
        (str(tmp_path / name), str(tmp_path), compression)
        for name, compression in (("a.tar", None), ("a.tar.gz", ".gz"), ("a.tgz", ".gz"), ("a.zip", None))
    ]
