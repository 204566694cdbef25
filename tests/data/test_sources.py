"""Sources that come as arrays, their files and the config files that name a source."""

import gzip
import inspect
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import yaml

from data.images import check_source
from headstart.config import resolvers
from headstart.config.schema import DataConfig
from headstart.data import sources, torchvision_sets
from headstart.data.source import array_split
from headstart.errors import UserError

CONF = Path(__file__).parents[2] / "conf" / "data"
FILES = sorted(
    path for path in CONF.glob("*.yaml") if not path.stem.endswith(("_full", "_small"))
)  # those are studies'
REAL_FASHION = resolvers.FASHION_FOLDER


def test_digits_are_the_real_ones() -> None:
    source = sources.digits()
    check_source(source)
    assert (len(source.train), source.val, source.test, len(source.classes)) == (1797, None, None, 10)
    first = np.asarray(source.train.images[0])
    assert (first.shape, first.dtype, first.max()) == ((8, 8), np.uint8, 239)  # 15/16 of 255
    assert source.train.names[17] == "train[17]"


@pytest.mark.skipif(not REAL_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debian() -> None:
    source = sources.fashion_mnist()
    check_source(source)
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
        assert config["source"]["name"] in torchvision_sets.SETS
        assert config["name"] == path.stem


def test_number_of_config_files() -> None:
    assert len(FILES) == 29


def test_numbers_of_images_and_labels_must_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="3 images but 2 labels"):
        array_split(np.zeros((3, 2, 2), np.uint8), np.array([0, 1]), "train")
    with pytest.raises(UserError, match="1 image files but 2 labels"):
        torchvision_sets._pairs(["a.png"], np.array([0, 1]))

    def idx(name: str, shape: tuple[int, ...]) -> None:
        head = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
        with gzip.open(tmp_path / name, "wb") as file:
            file.write(head + bytes(int(np.prod(shape))))

    monkeypatch.setattr(sources, "FASHION_FOLDER", tmp_path)
    idx("train-images-idx3-ubyte.gz", (3, 28, 28))
    idx("train-labels-idx1-ubyte.gz", (2,))
    with pytest.raises(UserError, match="3 train images but 2 labels"):
        sources.fashion_mnist()


def test_a_damaged_gzip_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FASHION_FOLDER", tmp_path)
    content = gzip.compress(
        bytes([0, 0, 8, 1]) + np.array([5000], ">u4").tobytes() + np.random.default_rng(0).bytes(5000)
    )
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(content[:12] + b"\xff" * 40 + content[52:])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte\.gz cannot be read"):
        sources.fashion_mnist()
