"""The column of a table that names the parts."""

import pytest

from headstart.data.split_columns import choose_split_column
from headstart.errors import UserError


def choose(**columns: str) -> int | None:
    cells = [set(text.split(",")) for text in columns.values()]
    return choose_split_column([name.replace("__", " ") for name in columns], cells, "t.csv", {0})


@pytest.mark.parametrize(
    "name", ["split", "Split", "subset", "FOLD", "partition", "data_split", "is_train", "usage", "x"]
)
def test_a_column_that_names_parts_is_used_and_that_is_said(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert choose(path="train,test", **{name: "train,test"}) == 1
    assert f"t.csv: the parts are those of the column '{name}'" in caplog.text


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("fold", "0,1,2,3,4"),
        ("Fold__ID", "1,2"),
        ("partition", "0,1"),
        ("split", "train,dev"),
        ("split", "train,"),
        ("subset", "A,B"),
        ("is_training_image", "0,1"),
        ("kind", "train,test,extra"),
    ],
)
def test_a_column_that_may_name_parts_is_asked_about(name: str, cells: str) -> None:
    with pytest.raises(
        UserError, match=r"t\.csv: the column '.*' looks like an official split.*data\.source\.split=null"
    ):
        choose(path="a,b", **{name: cells})


def test_two_columns_that_name_parts_are_asked_about() -> None:
    with pytest.raises(UserError, match=r"'split' and 'old' both .* data\.source\.split=split"):
        choose(path="a,b", split="train,val,test", old="train,test")


@pytest.mark.parametrize(
    ("name", "cells"),
    [("width", "1,2"), ("vehicle", "train,bus"), ("part", "left,right"), ("asset", "1,2"), ("", "0,1"), ("x", "test")],
)
def test_other_columns_are_left_alone(name: str, cells: str) -> None:
    assert choose(path="a,b", **{name: cells}) is None


def test_a_column_of_folds_beside_a_split_does_not_matter() -> None:
    assert choose(path="a,b", fold="0,1", split="train,test") == 2
