"""torchvision's sets: real loading code on small folders in each set's own on-disk format."""

import hashlib
import inspect
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from torchvision import datasets

from data.images import check_source, write_image
from headstart.data import sources, torchvision_sets
from headstart.data.splits import Part
from headstart.errors import UserError


def fake_cifar(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10's own format: five pickled batches of [n, 3072] rows, and a file of class names."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def put(name: str, content: dict) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(seed: int) -> dict:
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": [i % 10 for i in range(20)]}

    names = [f"data_batch_{i}" for i in range(1, 6)]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [[n, put(n, batch(i))] for i, n in enumerate(names)])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", put("test_batch", batch(9))]])
    md5 = put("batches.meta", {"label_names": [f"class {i}" for i in range(10)]})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)


def test_cifar10_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cifar(tmp_path, monkeypatch)
    source = sources.torchvision("CIFAR10", str(tmp_path))
    check_source(source)
    assert source.test is not None
    assert (len(source.train), len(source.test), source.classes[3]) == (100, 20, "class 3")
    expected = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)[4]
    np.testing.assert_array_equal(source.train.images[4], expected.reshape(3, 32, 32).transpose(1, 2, 0))


def test_dtd_uses_its_three_splits_and_partition(tmp_path: Path) -> None:
    base = tmp_path / "dtd" / "dtd"
    (base / "labels").mkdir(parents=True)
    for part, first in (("train", 0), ("val", 2), ("test", 4)):
        lines = [f"{name}/{name}_{i}.jpg" for name in ("woven", "banded") for i in (first, first + 1)]
        (base / "labels" / f"{part}2.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            write_image(base / "images" / line, value=first)
    source = sources.torchvision("DTD", str(tmp_path), partition=2)
    check_source(source)
    assert source.classes == ("banded", "woven")
    assert source.val is not None
    assert source.test is not None
    assert [Path(n).name for n in source.val.names] == [
        "banded_2.jpg",
        "banded_3.jpg",
        "woven_2.jpg",
        "woven_3.jpg",
    ]
    assert source.val.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(UserError, match=r"data\.source\.partitoin is no option of DTD; it takes: partition"):
        sources.torchvision("DTD", str(tmp_path), partitoin=2)


def test_eurosat_has_no_official_split(tmp_path: Path) -> None:
    for name in ("River", "Forest"):
        for i in range(3):
            write_image(tmp_path / "eurosat" / "2750" / name / f"{name}_{i}.jpg")
    source = sources.torchvision("EuroSAT", str(tmp_path))
    check_source(source)
    assert (source.classes, source.val, source.test) == (("Forest", "River"), None, None)


def test_pets_flowers_aircraft_cars_and_caltech_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets that keep their file lists in five other ways."""
    pets = tmp_path / "oxford-iiit-pet"
    (pets / "annotations").mkdir(parents=True)
    for part in ("trainval", "test"):
        rows = [("Abyssinian_1", 1, 1), ("american_bulldog_7", 2, 2)]
        (pets / "annotations" / f"{part}.txt").write_text("".join(f"{n} {y} {b} 1\n" for n, y, b in rows))
        for name, *_ in rows:
            write_image(pets / "images" / f"{name}.jpg")
    source = sources.torchvision("OxfordIIITPet", str(tmp_path))
    check_source(source)
    assert source.classes == ("Abyssinian", "American Bulldog")

    from scipy.io import savemat

    flowers = tmp_path / "flowers-102"
    flowers.mkdir()
    savemat(flowers / "imagelabels.mat", {"labels": np.array([[1, 2, 102, 1, 2, 1]])})
    savemat(flowers / "setid.mat", {"trnid": [[1, 2]], "valid": [[3, 4]], "tstid": [[5, 6]]})
    for i in range(1, 7):
        write_image(flowers / "jpg" / f"image_{i:05d}.jpg")
    monkeypatch.setattr("torchvision.datasets.flowers102.check_integrity", lambda *_: True)
    source = sources.torchvision("Flowers102", str(tmp_path))
    check_source(source)
    assert source.val is not None
    assert (len(source.classes), source.val.labels.tolist()) == (102, [101, 0])

    craft = tmp_path / "fgvc-aircraft-2013b" / "data"
    (craft / "images").mkdir(parents=True)
    (craft / "variants.txt").write_text("747-100\nA320\n")
    for part in ("train", "val", "test"):
        (craft / f"images_variant_{part}.txt").write_text(f"{part}1 747-100\n{part}2 A320\n")
    source = sources.torchvision("FGVCAircraft", str(tmp_path))
    check_source(source)
    assert source.test is not None
    assert [Path(n).stem for n in source.test.names] == ["test1", "test2"]

    for name in ("BACKGROUND_Google", "accordion", "bonsai"):
        write_image(tmp_path / "caltech101" / "101_ObjectCategories" / name / "image_0001.jpg")
    source = sources.torchvision("Caltech101", str(tmp_path))
    check_source(source)
    assert (source.classes, len(source.train)) == (("accordion", "bonsai"), 2)

    write_image(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00000" / "a.ppm")
    write_image(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00001" / "b.ppm")
    write_image(tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / "00000.ppm")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;Width;ClassId\n00000.ppm;10;1\n")
    source = sources.torchvision("GTSRB", str(tmp_path))
    check_source(source)
    assert source.classes == ("0", "1")


def test_arrays_stored_channels_first_or_transposed() -> None:
    values = np.arange(2 * 3 * 32 * 32) % 251
    svhn = SimpleNamespace(data=values.astype(np.uint8).reshape(2, 3, 32, 32), labels=np.array([0, 9]))
    split = torchvision_sets._unpack("SVHN", svhn, "train")
    assert split.images[1].shape == (32, 32, 3)
    assert split.images[1][5, 7, 2] == svhn.data[1, 2, 5, 7]
    emnist = SimpleNamespace(data=values[: 2 * 28 * 28].astype(np.uint8).reshape(2, 28, 28), targets=np.array([1, 0]))
    split = torchvision_sets._unpack("EMNIST", emnist, "train")
    assert split.images[0][3, 9] == emnist.data[0, 9, 3]
    pcam = SimpleNamespace(y=np.array([1, 0]).reshape(2, 1, 1, 1))
    pixels = [np.full((4, 4, 3), 5, np.uint8)] * 2

    class File(dict):  # h5py is not installed here: the mapping that it gives
        def __init__(self, path: Path) -> None:
            super().__init__(y=pcam.y)

        def __enter__(self) -> "File":
            return self

        def __exit__(self, *_: object) -> None: ...

    class Pcam(list):
        h5py = SimpleNamespace(File=File)
        _FILES, _split, _base_folder = datasets.PCAM._FILES, "val", Path()

    split = torchvision_sets._unpack("PCAM", Pcam([(p, 0) for p in pixels]), "val")
    assert split.labels.tolist() == [1, 0]
    assert Part(split, np.array([0])).digest() != Part(split, np.array([1])).digest()


def test_missing_set_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error

    def offline(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(UserError) as caught:
        sources.torchvision("CIFAR10", str(tmp_path))
    message = str(caught.value)
    assert "CIFAR10" in message
    assert str(tmp_path) in message
    assert f"datasets.CIFAR10('{tmp_path}', train=True, download=True)" in message
    assert "HEADSTART_DATA" in message
    with pytest.raises(UserError, match=r"data\.source\.name=StanfordCars: not found in"):
        sources.torchvision("StanfordCars", str(tmp_path))


def test_unknown_set_names_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean CIFAR100"):
        sources.torchvision("Cifar-100")


@pytest.mark.parametrize("name", sorted(torchvision_sets.SETS))
def test_recipe_matches_the_constructor(name: str) -> None:
    build = getattr(datasets, name)
    parameters = inspect.signature(build.__init__).parameters
    recipe = torchvision_sets.SETS[name]
    for arguments in filter(lambda a: a is not None, (recipe.train, recipe.val, recipe.test)):
        for key in {**arguments, **recipe.options}:
            assert key in parameters or "kwargs" in parameters, f"{name} has no argument {key}"
        if "split" in arguments:
            allowed = str(inspect.getsource(sys.modules[build.__module__]))
            assert f'"{arguments["split"]}"' in allowed, f"{name} knows no split {arguments['split']}"
        assert "split" in arguments or "split" not in parameters or recipe.options, f"{name} has splits"
    assert "train" not in parameters or "train" in recipe.train, f"{name} has a training and a test set"


def test_an_option_that_makes_every_part_the_same_is_refused(tmp_path: Path) -> None:
    for name, option, value in (("CIFAR10", "train", True), ("DTD", "split", "test"), ("QMNIST", "what", "test")):
        with pytest.raises(UserError, match=rf"data\.source\.{option}={value}: .*every part of {name} the same images"):
            sources.torchvision(name, str(tmp_path), **{option: value})


@pytest.mark.parametrize("name", sorted(torchvision_sets.SETS))
def test_no_option_of_any_set_chooses_a_part(name: str) -> None:
    """What is left to the user beside headstart's own arguments; a new option of torchvision has to be looked at."""
    recipe, allowed = torchvision_sets.SETS[name], set()
    for option in inspect.signature(getattr(datasets, name).__init__).parameters:
        try:
            torchvision_sets._check_options(name, recipe, {option: None})
            allowed.add(option)
        except UserError:
            pass
    known = {"partition", "annotation_level", "size", "small", "folds", "target_type", "target_types", "compat"}
    assert allowed <= known | ({"split"} if name == "EMNIST" else set())  # EMNIST's split is its kind of characters
