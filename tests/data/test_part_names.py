"""Which names of folders mean a part of the data."""

import pytest

from headstart.data.part_names import find_part, find_part_word


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", "train Train TRAIN training Training trainset train_set training-set train_images TrainImages"),
        ("train", "train2017 img_train trainval trn"),
        ("val", "val VALID Validation validation_set val2017 ValData"),
        ("test", "test Testing TEST test1 test_set Test-Images tst"),
        (None, "cat trains test_tube seg_train train-station attest validity 1 _ 猫 dataset train_val dev"),
    ],
)
def test_a_part_has_many_names(part: str | None, names: str) -> None:
    assert {name: find_part(name) for name in names.split()} == dict.fromkeys(names.split(), part)
    assert find_part("Test Set") == "test"


@pytest.mark.parametrize(
    ("name", "part"),
    [("seg_train", "train"), ("my test photos", "test"), ("train_val", None), ("cat", None), ("Train", "train")],
)
def test_a_part_may_be_one_of_several_words(name: str, part: str | None) -> None:
    assert find_part_word(name) == part
