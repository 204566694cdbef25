"""The classification sets of torchvision: which splits each has, and how its labels are read."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.archives import check_before_extracting
from headstart.data.offline import may_download
from headstart.data.source import Images, Source, Split, array_split, file_split
from headstart.data.torchvision_internals import find_files, find_samples, read_labels, read_pcam_labels
from headstart.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """Constructor arguments of each split (None: there is no such split) and options for all of them."""

    train: dict[str, Any]
    val: dict[str, Any] | None = None
    test: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None  # where torchvision's class has no names


def _flag() -> Recipe:
    return Recipe({"train": True}, test={"train": False})


def _split(train: str, val: str | None = None, test: str | None = None, **more: Any) -> Recipe:
    held_out = [None if name is None else {"split": name} for name in (val, test)]
    return Recipe({"split": train}, held_out[0], held_out[1], **more)


SETS = {
    "Caltech101": Recipe({}),
    "Caltech256": Recipe({}),
    "CIFAR10": _flag(),
    "CIFAR100": _flag(),
    "CLEVRClassification": _split("train", test="val"),  # its test split has no labels
    "Country211": _split("train", "valid", "test"),
    "DTD": _split("train", "val", "test"),
    "EMNIST": Recipe({"train": True}, test={"train": False}, options={"split": "balanced"}),
    "EuroSAT": Recipe({}),
    "FashionMNIST": _flag(),
    "FER2013": _split(
        "train",
        test="test",
        classes=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    ),
    "FGVCAircraft": _split("train", "val", "test"),
    "Flowers102": _split("train", "val", "test"),
    "Food101": _split("train", test="test"),
    "GTSRB": _split("train", test="test"),
    "Imagenette": _split("train", test="val"),
    "ImageNet": _split("train", test="val"),
    "KMNIST": _flag(),
    "MNIST": _flag(),
    "OxfordIIITPet": _split("trainval", test="test"),
    "PCAM": _split("train", "val", "test", classes=("normal", "tumour")),
    "Places365": _split("train-standard", test="val", options={"small": True}),
    "QMNIST": _flag(),
    "RenderedSST2": _split("train", "val", "test"),
    "SEMEION": Recipe({}),
    "StanfordCars": _split("train", test="test"),
    "STL10": _split("train", test="test"),
    "SUN397": Recipe({}),
    "SVHN": _split("train", test="test"),
    "USPS": _flag(),
}

CHOOSES_PART = {"QMNIST": {"what"}}  # options that choose a part beside the recipe's own


class DecodedImages:
    """Images that only the torchvision set itself can read (HDF5)."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int, /) -> Any:
        return self.dataset[index][0]

    def raw(self, index: int, /) -> bytes:
        return np.asarray(self[index]).tobytes()


def read(name: str, root: str, options: dict[str, Any]) -> Source:
    """The set of that name below `root`, downloaded where missing; else UserError says how to fetch it."""
    if name not in SETS:
        near = difflib.get_close_matches(name.lower(), [known.lower() for known in SETS], n=1)
        hint = next((f" Did you mean {known}?" for known in SETS if [known.lower()] == near), "")
        raise UserError(f"data.source.name={name} is unknown.{hint} Known: {', '.join(SETS)}")
    recipe = SETS[name]
    _check_options(name, recipe, options)
    kwargs = recipe.options | options
    datasets = {
        part: _open(name, root, arguments | kwargs)
        for part, arguments in (("train", recipe.train), ("val", recipe.val), ("test", recipe.test))
        if arguments is not None
    }
    parts = {part: _unpack(name, dataset, part) for part, dataset in datasets.items()}
    classes = recipe.classes or _class_names(datasets["train"])
    values = np.unique(np.concatenate([split.labels for split in parts.values()]))
    if classes is None or len(classes) <= values.max():  # no names, or labels such as CLEVR's 3 … 10 objects
        classes = tuple(str(value) for value in values)
        parts = {p: Split(s.images, np.searchsorted(values, s.labels), s.names) for p, s in parts.items()}
    return Source(classes, parts["train"], parts.get("val"), parts.get("test"))


def _check_options(name: str, recipe: Recipe, options: dict[str, Any]) -> None:
    """Refuse options that the set does not have, and those that would give train, val and test the same images."""
    from torchvision import datasets

    opened = {part: getattr(recipe, part) for part in ("train", "val", "test") if getattr(recipe, part) is not None}
    chooses_part = {key for arguments in opened.values() for key in arguments} | CHOOSES_PART.get(name, set())
    reserved = {"self", "root", "transform", "target_transform", "transforms", "download", "loader", "kwargs"}
    known = set(inspect.signature(getattr(datasets, name).__init__).parameters) - reserved - chooses_part
    for option, value in options.items():
        if option in chooses_part:
            used = ", ".join(f"{part}: {k}={v}" for part, arguments in opened.items() for k, v in arguments.items())
            raise UserError(
                f"data.source.{option}={value}: this would give every part of {name} the same images, test included;"
                f" leave it out. headstart opens each part by itself ({used})"
            )
        if option not in known:
            raise UserError(
                f"data.source.{option} is no option of {name}; it takes: {', '.join(sorted(known)) or 'none'}"
            )


def _open(name: str, root: str, arguments: dict[str, Any]) -> Any:
    """Opens what is on disk, and downloads only if that fails: StanfordCars refuses download=True."""
    from torchvision import datasets

    build = getattr(datasets, name)
    parameters = inspect.signature(build.__init__).parameters
    can_download = "download" in parameters or "kwargs" in parameters
    try:
        with check_before_extracting():
            try:
                return build(root, **arguments, **({"download": False} if can_download and name != "ImageNet" else {}))
            except (RuntimeError, OSError):
                if not can_download or name == "ImageNet" or not may_download():
                    raise
                return build(root, **arguments, download=True)
    except UserError:
        raise
    except Exception as error:  # a damaged file makes torchvision's readers raise whatever they trip over
        call = ", ".join([repr(root)] + [f"{k}={v!r}" for k, v in arguments.items()] + ["download=True"] * can_download)
        raise UserError(
            f"data.source.name={name}: not found in '{root}' and not downloaded ({error or type(error).__name__}).\n"
            f'With a network: python -c "from torchvision import datasets; datasets.{name}({call})"\n'
            f"Then copy that folder here and set data.source.root (or the variable HEADSTART_DATA) to it."
        ) from error


def _unpack(name: str, dataset: Any, part: str) -> Split:
    """Images and labels of a torchvision set, by the few attributes that its classes keep them in."""
    if name == "PCAM":
        return _decoded(dataset, read_pcam_labels(dataset), part)
    if name.startswith("Caltech"):
        return file_split(_caltech(dataset))
    samples = find_samples(dataset)
    if samples is not None and name == "FER2013":
        return array_split(np.stack([np.asarray(i) for i, _ in samples]), np.array([y for _, y in samples]), part)
    if samples is not None:
        return file_split((str(path), int(label)) for path, label in samples)
    files = find_files(dataset)
    if files is not None:
        return file_split(_pairs(files, _labels(dataset)))
    return array_split(_channels_last(name, np.asarray(dataset.data)), _labels(dataset), part)


def _labels(dataset: Any) -> np.ndarray:
    labels = read_labels(dataset)
    return labels[:, 0] if labels.ndim == 2 else labels  # QMNIST's extended labels: the digit is the first


def _pairs(files: Sequence[Any], labels: np.ndarray) -> list[tuple[str, int]]:
    """Places365 keeps (path, label) where the others keep paths."""
    if len(files) != len(labels):
        raise UserError(f"{len(files)} image files but {len(labels)} labels: the set is damaged; fetch it again")
    return [(str(f[0] if isinstance(f, tuple) else f), int(y)) for f, y in zip(files, labels, strict=True)]


def _channels_last(name: str, array: np.ndarray) -> np.ndarray:
    """A view as uint8 [n, H, W] or [n, H, W, 3]: SVHN, STL10 are stored channels first, EMNIST transposed."""
    if name == "EMNIST":
        return array.transpose(0, 2, 1)
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 and array.shape[-1] != 3 else array


def _caltech(dataset: Any) -> list[tuple[str, int]]:
    """Caltech's sets keep no paths, they build them in `__getitem__`: here they are listed."""
    folder = next(Path(dataset.root).glob("*_ObjectCategories"))
    return [(str(f), y) for y, name in enumerate(dataset.categories) for f in (folder / name).glob("*.jpg")]


def _decoded(dataset: Any, labels: np.ndarray, part: str) -> Split:
    images: Images = DecodedImages(dataset)
    return Split(images, labels.astype(np.int64), [f"{part}[{i}]" for i in range(len(labels))])


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    names = getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    # ImageNet's and Imagenette's names are tuples of synonyms.
    return names and tuple(str(n[0] if isinstance(n, tuple) else n) for n in names)
