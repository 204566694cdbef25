"""Sources: real loading code on small folders in each set's own on-disk format."""

import gzip
import hashlib
import inspect
import pickle
import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from torchvision import datasets

from headstart.config import DataConfig
from headstart.data import catalogue, sources
from headstart.data.sources import ArrayImages, FileImages, Source, array_split
from headstart.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "data"
FILES = sorted(
    path for path in CONF.glob("*.yaml") if not path.stem.endswith(("_full", "_small"))
)  # those are studies'
REAL_FASHION = sources.FASHION_FOLDER


def write_image(path: Path, value: int = 0, size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 255 - value, 7)).save(path)


def check(source: Source) -> None:
    for split in filter(None, (source.train, source.val, source.test)):
        assert split.labels.dtype == np.int64
        assert len(split.images) == len(split.labels) == len(split.names)
        assert split.labels.min() >= 0
        assert split.labels.max() < len(source.classes)


def test_digits_are_the_real_ones() -> None:
    source = sources.digits()
    check(source)
    assert (len(source.train), source.val, source.test, len(source.classes)) == (1797, None, None, 10)
    first = np.asarray(source.train.images[0])
    assert (first.shape, first.dtype, first.max()) == ((8, 8), np.uint8, 239)  # 15/16 of 255
    assert source.train.names[17] == "train[17]"


@pytest.mark.skipif(not REAL_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debian() -> None:
    source = sources.fashion_mnist()
    check(source)
    assert source.test is not None
    assert np.bincount(source.train.labels).tolist() == [6000] * 10
    assert np.bincount(source.test.labels).tolist() == [1000] * 10
    assert source.classes[source.train.labels[0]] == "Ankle boot"
    assert 60 < np.asarray(source.train.images[0]).mean() < 120


def test_torn_idx_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FASHION_FOLDER", tmp_path)
    head = bytes([0, 0, 8, 3]) + np.array([5, 28, 28], ">u4").tobytes()
    with gzip.open(tmp_path / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(head + bytes(100))
    with pytest.raises(UserError, match=r"train-images.*100 bytes of 3920"):
        sources.fashion_mnist()


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
    check(source)
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
    check(source)
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
    check(source)
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
    check(source)
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
    check(source)
    assert source.val is not None
    assert (len(source.classes), source.val.labels.tolist()) == (102, [101, 0])

    craft = tmp_path / "fgvc-aircraft-2013b" / "data"
    (craft / "images").mkdir(parents=True)
    (craft / "variants.txt").write_text("747-100\nA320\n")
    for part in ("train", "val", "test"):
        (craft / f"images_variant_{part}.txt").write_text(f"{part}1 747-100\n{part}2 A320\n")
    source = sources.torchvision("FGVCAircraft", str(tmp_path))
    check(source)
    assert source.test is not None
    assert [Path(n).stem for n in source.test.names] == ["test1", "test2"]

    for name in ("BACKGROUND_Google", "accordion", "bonsai"):
        write_image(tmp_path / "caltech101" / "101_ObjectCategories" / name / "image_0001.jpg")
    source = sources.torchvision("Caltech101", str(tmp_path))
    check(source)
    assert (source.classes, len(source.train)) == (("accordion", "bonsai"), 2)

    write_image(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00000" / "a.ppm")
    write_image(tmp_path / "gtsrb" / "GTSRB" / "Training" / "00001" / "b.ppm")
    write_image(tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images" / "00000.ppm")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;Width;ClassId\n00000.ppm;10;1\n")
    source = sources.torchvision("GTSRB", str(tmp_path))
    check(source)
    assert source.classes == ("0", "1")


def test_arrays_stored_channels_first_or_transposed() -> None:
    svhn = SimpleNamespace(data=np.arange(2 * 3 * 32 * 32).reshape(2, 3, 32, 32) % 251, labels=np.array([0, 9]))
    split = catalogue._unpack("SVHN", svhn, "train")
    assert split.images[1].shape == (32, 32, 3)
    assert split.images[1][5, 7, 2] == svhn.data[1, 2, 5, 7]
    emnist = SimpleNamespace(data=np.arange(2 * 28 * 28).reshape(2, 28, 28), targets=np.array([1, 0]))
    split = catalogue._unpack("EMNIST", emnist, "train")
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

    split = catalogue._unpack("PCAM", Pcam([(p, 0) for p in pixels]), "val")
    assert split.labels.tolist() == [1, 0]
    assert split.digest([0]) != split.digest([1])


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


@pytest.mark.parametrize("name", sorted(catalogue.SETS))
def test_recipe_matches_the_constructor(name: str) -> None:
    build = getattr(datasets, name)
    parameters = inspect.signature(build.__init__).parameters
    recipe = catalogue.SETS[name]
    for arguments in filter(lambda a: a is not None, (recipe.train, recipe.val, recipe.test)):
        for key in {**arguments, **recipe.options}:
            assert key in parameters or "kwargs" in parameters, f"{name} has no argument {key}"
        if "split" in arguments:
            allowed = str(inspect.getsource(sys.modules[build.__module__]))
            assert f'"{arguments["split"]}"' in allowed, f"{name} knows no split {arguments['split']}"
        assert "split" in arguments or "split" not in parameters or recipe.options, f"{name} has splits"
    assert "train" not in parameters or "train" in recipe.train, f"{name} has a training and a test set"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_config_file_binds(path: Path) -> None:
    text = path.read_text()
    config = yaml.safe_load(text)
    assert text.startswith("# ")
    assert set(config) <= {field.name for field in fields(DataConfig)}
    target = config["source"].pop("_target_")
    module, function = target.rsplit(".", 1)
    assert module == "headstart.data.sources"
    inspect.signature(getattr(sources, function)).bind(**config["source"])
    if function == "torchvision" and path.stem != "torchvision":
        assert config["source"]["name"] in catalogue.SETS
        assert config["name"] == path.stem


def test_number_of_config_files() -> None:
    assert len(FILES) == 28


def test_image_folder_with_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for part, count in (("train", 3), ("valid", 1), ("test", 2)):
        for name in ("b", "a"):
            for i in range(count):
                write_image(tmp_path / part / name / "deep" / f"{i}.PNG", value=i)
    (tmp_path / "train" / "a" / "notes.txt").write_text("no image")
    write_image(tmp_path / "train" / "a" / "._hidden.jpg")
    (tmp_path / "extra").mkdir()
    source = sources.image_folder(str(tmp_path))
    check(source)
    assert source.classes == ("a", "b")
    assert source.val is not None
    assert source.test is not None
    assert (len(source.train), len(source.val), len(source.test)) == (6, 2, 4)
    assert "extra" in caplog.text


def test_image_folder_follows_links_but_no_loops(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere" / "x.png")
    write_image(tmp_path / "set" / "a" / "1.png")
    write_image(tmp_path / "set" / "b" / "1.png")
    (tmp_path / "set" / "a" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "self").symlink_to("self")
    (tmp_path / "set" / "b" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "elsewhere")
    source = sources.image_folder(str(tmp_path / "set"))
    names = [Path(n).relative_to(tmp_path / "set").as_posix() for n in source.train.names]
    assert names == ["a/1.png", "b/1.png", "b/more/x.png"]
    assert source.train.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "the folder is empty"),
        (["1.png", "2.png"], "its images lie in no class folder"),
        (["a/1.png", "b/notes.txt"], r"b: no image in this class folder"),
        (["a/1.png"], r"only one class \('a'\)"),
        (["train/a/1.png", "train/b/1.png", "val/c/1.png"], "classes in val but not in train: c"),
        (["test/a/1.png", "test/b/1.png"], "no folder train beside it"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, paths: list[str], message: str) -> None:
    for path in paths:
        if path.endswith(".png"):
            write_image(tmp_path / path)
        else:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("")
    with pytest.raises(UserError, match=message):
        sources.image_folder(str(tmp_path))


def test_missing_folder() -> None:
    with pytest.raises(UserError, match=r"data\.source\.root=nowhere"):
        sources.image_folder("nowhere")


def test_csv(tmp_path: Path) -> None:
    for i in range(4):
        write_image(tmp_path / "pictures" / f"{i},x.png")
    table = tmp_path / "table.csv"
    table.write_text(
        '\ufeffpath,label,split\n"pictures/0,x.png",10,train\n"pictures/1,x.png",9,train\n'
        '"pictures/2,x.png",9,Test\n"pictures/3,x.png",10,validation\n',
        encoding="utf-8",
    )
    source = sources.csv(str(table))
    check(source)
    assert source.classes == ("9", "10")
    assert source.train.labels.tolist() == [1, 0]
    assert source.val is not None
    assert source.test is not None
    assert np.asarray(source.test.images[0]).shape == (10, 12, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column 'path'"),
        ("file,label\na,b\n", r"found: file, label.*data\.source\.image"),
        ("path,label,split\nx.png,a,dev\n", "line 2: split 'dev' is unknown"),
        ("path,label\nx.png,\n", "line 2.*empty"),
        ("path,label\nx.png,a\ny.png,b\n", r"2 of 2 image files do not exist:\n.*x\.png"),
        ("path,label\n", "no training image"),
    ],
)
def test_bad_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        sources.csv(str(tmp_path / "table.csv"))


def test_digest_follows_content_and_labels_not_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        for c in "ab":
            for i in range(3):
                write_image(tmp_path / name / c / f"{name}{i}.png", value=i)
    one, two = (sources.image_folder(str(tmp_path / n)).train for n in ("one", "two"))
    assert one.digest(range(6)) == two.digest(range(6))
    assert one.digest([0, 1]) != one.digest([1, 0])
    assert one.digest([0]) != one.digest([3])  # the same pixels, another label
    before = one.digest([0])
    write_image(tmp_path / "one" / "a" / "one0.png", value=99)
    assert one.digest([0]) != before
    (tmp_path / "one" / "a" / "one0.png").write_bytes(b"no image at all")
    assert isinstance(one.digest([0]), str)  # nothing is decoded


def test_select_keeps_rows() -> None:
    split = array_split(np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.arange(6), "train")
    kept = split.select(np.array([4, 1]))
    assert isinstance(kept.images, ArrayImages)
    assert kept.images.array.base is None  # a copy: the whole can be freed
    assert (kept.names, kept.labels.tolist()) == (["train[4]", "train[1]"], [4, 1])
    assert kept.digest([0, 1]) == split.digest([4, 1])
    assert not isinstance(split.images, FileImages)


def test_sources_and_splits_import_no_torch() -> None:
    import subprocess

    code = "import sys, headstart.data, headstart.data.splits\nsys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
