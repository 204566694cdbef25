"""Cuts are disjoint, complete, stratified and stable."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.source import Source, Split, array_split, file_split
from headstart.data.splits import split_source
from headstart.errors import UserError


def split_of(counts: list[int], name: str = "train") -> Split:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return array_split(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1), labels, name)


def source_of(train: list[int], val: list[int] | None = None, test: list[int] | None = None) -> Source:
    classes = tuple(f"c{i}" for i in range(len(train)))
    return Source(classes, split_of(train), val and split_of(val, "val"), test and split_of(test, "test"))


def per_class(part, classes: int) -> list[int]:
    return np.bincount(part.labels, minlength=classes).tolist()


def rows(parts) -> dict[str, list[int]]:
    return {name: part.rows.tolist() for name, part in parts.items()}


many = st.lists(st.integers(3, 40), min_size=2, max_size=8)


@settings(max_examples=150, deadline=None)
@given(many, st.integers(0, 2**32), st.floats(0.05, 0.6), st.floats(0.05, 0.6), st.booleans(), st.booleans())
def test_disjoint_complete_stratified_stable(counts, seed, val_fraction, test_fraction, own_val, own_test) -> None:
    held = [5] * len(counts)
    source = source_of(counts, held if own_val else None, held if own_test else None)
    kwargs = {"val_fraction": val_fraction, "test_fraction": test_fraction, "seed": seed}
    parts = split_source(source, **kwargs)
    assert rows(parts) == rows(split_source(source, **kwargs))
    from_train = [part.rows for part in parts.values() if part.split is source.train]
    together = np.concatenate(from_train)
    assert len(together) == len(np.unique(together)) == len(source.train)
    for name, fraction, own in (("val", val_fraction, own_val), ("test", test_fraction, own_test)):
        if own:
            assert len(parts[name]) == sum(held)
            continue
        available = np.array(counts)
        if name == "val" and not own_test:
            available = available - per_class(parts["test"], len(counts))
        got = np.array(per_class(parts[name], len(counts)))
        assert (got >= 1).all()
        assert (np.abs(got - available * fraction) <= 1).all()
    assert min(per_class(parts["train"], len(counts))) >= 1


@settings(max_examples=150, deadline=None)
@given(many, st.integers(0, 99), st.data())
def test_n_train_is_exact_and_proportional(counts, seed, data) -> None:
    source = source_of(counts, test=counts)
    n = data.draw(st.integers(2 * len(counts), sum(counts)))
    n_test = data.draw(st.integers(1, sum(counts)))
    parts = split_source(source, n_train=n, n_test=n_test, seed=seed)
    assert len(parts["train"]) + len(parts["val"]) == n
    assert len(parts["test"]) == n_test
    budget = np.array(per_class(parts["train"], len(counts))) + per_class(parts["val"], len(counts))
    quota = np.array(counts) * n / sum(counts)
    if quota.min() >= 2:
        assert (np.abs(budget - quota) < 1 + 1e-9).all()
    assert (
        np.abs(np.array(per_class(parts["test"], len(counts))) - np.array(counts) * n_test / sum(counts)) < 1.001
    ).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(5, 40), min_size=2, max_size=6), st.integers(0, 2**32), st.booleans(), st.data())
def test_every_budget_is_disjoint_stratified_and_leaves_test_alone(counts, seed, own_test, data) -> None:
    classes = len(counts)
    source = source_of(counts, [4] * classes, [6] * classes if own_test else None)
    whole = split_source(source, seed=seed + 1)
    free = np.array(counts) if own_test else np.array(counts) - per_class(whole["test"], classes)
    if min(free) < 3:
        return
    budget = data.draw(
        st.one_of(
            st.builds(lambda k: {"train_per_class": k}, st.integers(2, int(min(free)))),
            st.builds(lambda f: {"train_fraction": f}, st.floats(0.1, 1)),
            st.builds(lambda n: {"n_train": n}, st.integers(2 * classes, int(sum(free)))),
        )
    )
    parts = split_source(source, seed=seed, **budget)
    assert rows(parts) == rows(split_source(source, seed=seed, **budget))  # the same again
    assert parts["test"].rows.tolist() == whole["test"].rows.tolist()  # whatever the seed and the budget
    assert parts["val"].split is source.train  # the makers' validation set is not part of a budget
    taken = [set(parts[name].rows.tolist()) for name in ("train", "val")]
    if not own_test:
        taken.append(set(parts["test"].rows.tolist()))
    assert sum(map(len, taken)) == len(set().union(*taken))  # no image in two parts
    labelled = np.array(per_class(parts["train"], classes)) + per_class(parts["val"], classes)
    if "train_per_class" in budget:
        assert (labelled == budget["train_per_class"]).all()
    elif "n_train" in budget:
        assert labelled.sum() == budget["n_train"]
    else:
        assert (np.abs(labelled - np.maximum(free * budget["train_fraction"], 2)) <= 1).all()
    held = np.array(per_class(parts["val"], classes))
    assert (np.abs(held - labelled * 0.2) < 1).all()
    assert held.min() >= 1
    assert min(per_class(parts["train"], classes)) >= 1


def test_budget_is_train_plus_val() -> None:
    parts = split_source(source_of([50] * 10, test=[20] * 10), train_per_class=10, seed=3)
    assert per_class(parts["train"], 10) == [8] * 10
    assert per_class(parts["val"], 10) == [2] * 10
    assert len(parts["test"]) == 200


def test_own_validation_is_used_whole_unless_the_budget_is_cut() -> None:
    source = source_of([50] * 4, val=[7] * 4, test=[9] * 4)
    parts = split_source(source, seed=3)
    assert (per_class(parts["train"], 4), per_class(parts["val"], 4)) == ([50] * 4, [7] * 4)
    parts = split_source(source, train_per_class=10, seed=3)
    assert (per_class(parts["train"], 4), per_class(parts["val"], 4)) == ([8] * 4, [2] * 4)
    assert parts["val"].split is source.train


def test_fraction() -> None:
    parts = split_source(source_of([100, 10], test=[5, 5]), train_fraction=0.5)
    assert (per_class(parts["train"], 2), per_class(parts["val"], 2)) == ([40, 4], [10, 1])


def test_test_set_is_the_same_for_every_seed_and_training_images_are_not() -> None:
    source = source_of([30] * 5)
    cuts = [split_source(source, train_per_class=10, n_test=12, seed=seed) for seed in (0, 1)]
    assert cuts[0]["test"].rows.tolist() == cuts[1]["test"].rows.tolist()
    assert cuts[0]["train"].rows.tolist() != cuts[1]["train"].rows.tolist()


def test_smaller_cuts_are_nested_in_larger_ones() -> None:
    source = source_of([60] * 5)
    small, large = (set(split_source(source, train_per_class=k, seed=4)["train"].rows) for k in (5, 25))
    assert small < large


def test_same_rows_on_every_platform() -> None:
    """Pinned: a change here changes every published number."""
    train = array_split(np.arange(12, dtype=np.uint8).reshape(-1, 1, 1), np.arange(12) % 2, "train")
    parts = split_source(Source(("a", "b"), train), train_per_class=4, val_fraction=0.25, seed=7)
    assert rows(parts) == {"train": [2, 3, 4, 9, 10, 11], "val": [0, 1], "test": [6, 7]}


def files_source(names: list[str], root: str) -> Source:
    """A source of files `cat/…` and `dog/…` that need not exist."""
    return Source(("cat", "dog"), file_split([(f"{root}/{name}", int(name[0] == "d")) for name in names], root))


def file_parts(names: list[str], root: str = "data", **settings) -> dict[str, str]:
    """The part of each file by its name; '' where no part uses it."""
    parts = split_source(files_source(names, root), **settings)
    found = {name[len(root) + 1 :]: part for part, one in parts.items() for name in one.names}
    return {name: found.get(name, "") for name in names}


FILES = [f"{class_}/{i:03}.jpg" for class_ in ("cat", "dog") for i in range(50)]


@pytest.mark.parametrize(
    ("settings", "most"),
    [({}, 2), ({"train_per_class": 10}, 2), ({"train_fraction": 0.5}, 3), ({"folds": 5, "fold": 2}, 3)],
)
def test_an_image_that_is_added_leaves_the_others_in_their_part(settings: dict, most: int) -> None:
    """Of its class as many may move as there are borders between parts; of the other class none."""
    before = file_parts(FILES, **settings)
    moved = []
    for new in ("cat/000a.jpg", "cat/999.jpg", "cat/-first.jpg", "cat/x/y.png"):
        after = file_parts([new, *FILES], **settings)
        changed = [name for name in FILES if after[name] != before[name]]
        assert len(changed) <= most
        assert all(name.startswith("cat/") for name in changed)
        moved.append(len(changed))
    assert min(moved) < most


def test_a_class_that_is_added_leaves_the_others_as_they_are() -> None:
    labels = [(f"data/{name}", int(name[0] == "d") + 1) for name in FILES]
    others = [(f"data/ape/{i}.jpg", 0) for i in range(20)]
    before = file_parts(FILES)
    parts = split_source(Source(("ape", "cat", "dog"), file_split(labels + others, "data")))
    after = {name.removeprefix("data/"): part for part, one in parts.items() for name in one.names}
    assert {name: after[name] for name in FILES} == before


def test_the_parts_are_the_same_wherever_the_folder_lies_and_in_whatever_order_files_are_found() -> None:
    assert file_parts(FILES, "data") == file_parts(FILES[::-1], "/else/where/birds")


def test_arrays_are_known_by_their_content() -> None:
    images = np.arange(90, dtype=np.uint8).reshape(-1, 1, 1)
    source = Source(("a", "b"), array_split(images, np.arange(90) % 2, "train"))
    turned = Source(("a", "b"), array_split(images[::-1], np.arange(90)[::-1] % 2, "train"))

    def content(one: Source) -> dict[str, list[int]]:
        return {k: sorted(one.train.images.array[v.rows].ravel().tolist()) for k, v in split_source(one).items()}

    assert content(source) == content(turned)


@pytest.mark.parametrize("counts", [[10, 10], [7] * 10, [23, 11, 5], [5, 5]])
def test_folds_are_disjoint_complete_and_even(counts: list[int]) -> None:
    source = source_of(counts)
    cuts = [split_source(source, folds=5, fold=fold, seed=fold) for fold in range(5)]
    tests = [cut["test"] for cut in cuts]
    assert sorted(np.concatenate([test.rows for test in tests]).tolist()) == list(range(sum(counts)))
    by_class = np.array([per_class(test, len(counts)) for test in tests])
    assert (np.ptp(by_class, axis=0) <= 1).all()
    assert np.ptp([len(test) for test in tests]) <= 2
    for cut in cuts:
        together = np.concatenate([part.rows for part in cut.values()])
        assert len(np.unique(together)) == len(together) == sum(counts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 5}, r"data\.folds=5: data\.fold says which .* -m data\.folds=5 data\.fold=0,1,2,3,4"),
        ({"fold": 1}, r"data\.fold=1: of how many\?"),
        ({"folds": 5, "fold": 5}, r"data\.fold=5: with data\.folds=5 it must be from 0 to 4"),
        ({"folds": 11, "fold": 0}, r"class 'c1' has 10 training images; 11 are needed for data\.folds=11"),
    ],
)
def test_impossible_folds_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_source(source_of([12, 10]), **settings)


def test_folds_of_data_with_a_test_set_are_refused() -> None:
    with pytest.raises(UserError, match="the data have a test set of their own"):
        split_source(source_of([12, 10], test=[3, 3]), folds=5, fold=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"train_per_class": 5, "n_train": 50}, "train_per_class and n_train both say how much"),
        ({"train_per_class": 41}, r"class 'c1' has 40 images"),
        ({"train_per_class": 1}, r"data\.train_per_class=1: must be at least 2"),
        ({"n_train": 3}, r"data\.n_train=3: must be 4 … 90"),
        ({"n_train": 91}, r"data\.n_train=91: must be 4 … 90"),
        ({"n_train": 0}, r"data\.n_train=0"),
        ({"n_test": 21}, r"data\.n_test=21: the test set has 20 images"),
        ({"train_fraction": 1.5}, r"data\.train_fraction=1\.5"),
        ({"val_fraction": 0.0}, r"data\.val_fraction=0\.0"),
        ({"test_fraction": 1}, r"data\.test_fraction=1"),
    ],
)
def test_impossible_cuts_are_refused(kwargs: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        split_source(source_of([50, 40], test=[10, 10]), **kwargs)


def test_class_with_too_few_images_is_named() -> None:
    with pytest.raises(UserError, match="class 'c1' has 2 training images; 3 are needed"):
        split_source(source_of([10, 2]))


def test_one_class_is_refused_whatever_the_source() -> None:
    with pytest.raises(UserError, match="only one class \\('a'\\)"):
        split_source(Source(("a",), array_split(np.zeros((9, 2, 2), np.uint8), np.zeros(9), "train")))


def test_a_class_without_training_images_is_named() -> None:
    held = array_split(np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 2]), "test")
    train = array_split(np.zeros((8, 2, 2), np.uint8), np.arange(8) % 2, "train")
    with pytest.raises(UserError, match="class 'c' has 0 training images"):
        split_source(Source(("a", "b", "c"), train, None, held))
