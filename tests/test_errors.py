"""The hint at a misspelt name, and errors that are told in words."""

from functools import partial

import pytest

from headstart.config import keys
from headstart.errors import RunFailed, as_user_error, did_you_mean, nearest_names

NETWORKS = ("resnet18", "resnet34", "densenet121", "vgg16")


def test_the_nearest_names_come_best_first_and_no_more_than_asked_for() -> None:
    assert nearest_names("resnet19", NETWORKS) == ["resnet18"]
    assert nearest_names("resnet3", NETWORKS, limit=3) == ["resnet34", "resnet18"]
    assert nearest_names("densnet", NETWORKS, limit=4, cutoff=0.5)[0] == "densenet121"


def test_no_name_is_offered_that_is_not_alike() -> None:
    assert nearest_names("xyz", NETWORKS) == []
    assert nearest_names("resnet3", NETWORKS, limit=3, cutoff=0.9) == ["resnet34"]


def test_names_that_are_equally_alike_come_in_the_order_of_the_alphabet() -> None:
    assert nearest_names("x", ("b", "a"), limit=2, likeness=lambda name, other: 1.0) == ["a", "b"]


def test_a_margin_leaves_out_what_is_much_less_alike_than_the_best() -> None:
    scores = {"a": 0.9, "b": 0.87, "c": 0.7}
    nearest = partial(nearest_names, "x", scores, limit=3, likeness=lambda name, other: scores[other])
    assert nearest() == ["a", "b", "c"]
    assert nearest(margin=0.05) == ["a", "b"]


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        ("; did you mean {}?", "; did you mean resnet18?"),
        (" Did you mean {!r}?", " Did you mean 'resnet18'?"),
        ("; did you mean ${{{}}}?", "; did you mean ${resnet18}?"),
    ],
)
def test_a_hint_is_worded_by_its_message(hint: str, said: str) -> None:
    assert did_you_mean("resnet19", NETWORKS, hint) == said


def test_several_names_are_joined_and_none_say_nothing() -> None:
    nearest = partial(nearest_names, limit=2)
    assert did_you_mean("resnet3", NETWORKS, nearest=nearest) == "; did you mean resnet34 or resnet18?"
    assert did_you_mean("resnet3", NETWORKS, between=", ", nearest=nearest) == "; did you mean resnet34, resnet18?"
    assert did_you_mean("xyz", NETWORKS) == ""
    assert did_you_mean("xyz", ()) == ""


def test_of_a_dotted_key_the_last_part_counts_most() -> None:
    names = ["data.n_train", "data.n_test", "data.source", "model.name", "data.name"]
    assert keys.nearest_keys("data.n_trian", names) == ["data.n_train"]
    assert keys.nearest_keys("modle.name", names) == ["model.name"]
    assert keys.nearest_keys("nonsense", names) == []


def test_a_library_without_address_space_is_a_failed_run() -> None:
    known = as_user_error(ImportError("libtorch_cpu.so: failed to map segment from shared object"))
    assert isinstance(known, RunFailed)
    assert "ulimit -v" in str(known)
