"""The names that people give to the parts train, val and test: `Training`, `VALID`, `test_set`, `val2017`, …"""

import re

PART_NAMES = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "trainset": "train",
    "trainingset": "train",
    "trainval": "train",  # train and validation images together, as PASCAL VOC and the Oxford pets name them
    "val": "val",
    "valid": "val",
    "validation": "val",
    "valset": "val",
    "validationset": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "testset": "test",
    "testingset": "test",
}
# Words beside the part's own that do not change what the name means: `train_images`, `Test Data`, `img_train`.
FILLERS = {"data", "dataset", "set", "split", "images", "image", "imgs", "img", "pictures", "photos"}


def find_part(name: str) -> str | None:
    """The part that a name means, in any case, with numbers and words such as `images` beside it; None if it has none.

    `Train`, `test_set`, `val2017` and `TrainImages` are parts; `train station` and `seg_train` are not: they have
    another word, see `find_part_word`.
    """
    words = _split_words(name)
    return PART_NAMES.get(words[0]) if len(words) == 1 else None


def find_part_word(name: str) -> str | None:
    """The part whose word stands in a name beside others (`seg_train`); None if there is none, or more than one."""
    parts = {PART_NAMES[word] for word in _split_words(name) if word in PART_NAMES}
    return parts.pop() if len(parts) == 1 else None


def _split_words(name: str) -> list[str]:
    spaced = re.sub("(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.findall(r"[^\W\d_]+", spaced.casefold()) if word not in FILLERS]
