"""No group stands in two parts, and the parts are stratified as far as groups allow."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from headstart.data.groups import find_groups
from headstart.data.source import Source, array_split, file_split
from headstart.data.splits import split_source
from headstart.errors import UserError


def grouped(groups: list[str], labels: list[int]) -> Source:
    """A source of images in memory that belong to groups."""
    content = np.arange(2 * len(labels), dtype=np.uint8).reshape(-1, 1, 2)
    split = replace(array_split(content, np.array(labels), "train"), groups=tuple(groups))
    return Source(tuple(f"c{i}" for i in range(max(labels) + 1)), split)


def frames(patients: int = 24, each: int = 8) -> Source:
    """The case `groups/frames.csv`: patients with frames, whose labels are random by patient."""
    labels = np.random.default_rng(0).integers(2, size=patients)
    pairs = [(f"p{p:02}", int(labels[p])) for p in range(patients) for _ in range(each)]
    return grouped([group for group, _ in pairs], [label for _, label in pairs])


def groups_of(part) -> set[str]:
    return {part.split.groups[row] for row in part.rows}


def shares(parts, classes: int) -> dict[str, list[float]]:
    total = np.bincount(parts["train"].split.labels, minlength=classes)
    return {name: (np.bincount(part.labels, minlength=classes) / total).tolist() for name, part in parts.items()}


def test_no_patient_is_in_two_parts() -> None:
    parts = split_source(frames(), group="patient")
    found = [groups_of(part) for part in parts.values()]
    assert sum(map(len, found)) == len(set().union(*found)) == 24
    assert sum(map(len, parts.values())) == 192
    assert shares(parts, 2)["test"] == pytest.approx([0.2, 0.2], abs=0.07)
    without = split_source(frames())
    assert groups_of(without["test"]) & groups_of(without["train"])  # what the key is for


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32), st.sampled_from([None, {"train_per_class": 10}, {"n_train": 40}, {"folds": 3}]), st.data()
)
def test_whatever_the_groups_no_group_is_in_two_parts(seed: int, options: dict | None, data) -> None:
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=20, max_size=40))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    pure = data.draw(st.booleans())
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    labels = [c for i, size in enumerate(sizes) for c in ([i % 2] * size if pure else rng.integers(2, size=size))]
    settings = dict(options or {}) | ({"fold": data.draw(st.integers(0, 2))} if options and "folds" in options else {})
    try:
        parts = split_source(grouped(groups, labels), group="any", seed=seed, **settings)
    except UserError:  # a class of too few groups or images
        reject()
    found = [groups_of(part) for part in parts.values()]
    assert sum(map(len, found)) == len(set().union(*found))
    assert min(np.bincount(parts["train"].labels, minlength=2)) >= 1
    if "train_per_class" in settings:
        used = np.bincount(np.concatenate([parts["train"].labels, parts["val"].labels]))
        assert used.tolist() == [10, 10]
    elif "n_train" in settings:
        assert len(parts["train"]) + len(parts["val"]) == 40
    else:
        assert sum(map(len, parts.values())) == len(labels)


def mixed(patients: int, seed: int) -> tuple[list[str], list[int]]:
    rng = np.random.default_rng(seed)
    groups, labels = [], []
    for patient in range(patients):
        size = int(rng.integers(2, 30))
        groups += [f"p{patient}"] * size
        labels += rng.choice(3, size=size, p=rng.dirichlet([0.5] * 3)).tolist()
    return groups, labels


def test_folds_of_groups_are_complete_and_nearly_as_even_as_scikit_learns() -> None:
    def unevenness(tests: list[np.ndarray], labels: np.ndarray) -> float:
        counts = np.array([np.bincount(labels[rows], minlength=3) for rows in tests])
        return float(np.abs(counts / counts.sum(0) - 0.2).mean())

    ours, theirs = [], []
    for seed in range(4):
        groups, listed = mixed(50, seed)
        source, labels = grouped(groups, listed), np.array(listed)
        tests = [split_source(source, group="p", folds=5, fold=k)["test"] for k in range(5)]
        assert sorted(np.concatenate([test.rows for test in tests]).tolist()) == list(range(len(labels)))
        assert sum(len(groups_of(test)) for test in tests) == 50
        ours.append(unevenness([test.rows for test in tests], labels))
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        theirs.append(unevenness([rows for _, rows in splitter.split(labels, labels, groups)], labels))
    assert np.mean(ours) < 0.02
    assert np.mean(ours) < np.mean(theirs) + 0.01


def test_an_added_image_moves_few_groups() -> None:
    groups, labels = mixed(60, 0)
    before = {name: groups_of(part) for name, part in split_source(grouped(groups, labels), group="p").items()}
    moved = []
    for patient in range(0, 60, 6):
        source = grouped([*groups, f"p{patient}"], [*labels, 0])
        after = {name: groups_of(part) for name, part in split_source(source, group="p").items()}
        moved.append(sum(len(before[name] - after[name]) for name in before))
    assert np.mean(moved) < 2  # of 60; StratifiedGroupKFold moves 17
    assert min(moved) == 0


def test_groups_of_paths() -> None:
    split = file_split([(f"data/ill/p{p}/{i}.png", 0) for p in range(3) for i in range(2)], "data")
    assert find_groups(split, r"regex:p(\d+)/") == ["0", "0", "1", "1", "2", "2"]
    assert find_groups(split, r"regex:(\w+)/p(\d)") == ["ill/0", "ill/0", "ill/1", "ill/1", "ill/2", "ill/2"]
    assert find_groups(split, r"regex:p.") == ["p0", "p0", "p1", "p1", "p2", "p2"]


def test_groups_that_cannot_be_are_refused() -> None:
    split = file_split([("data/ill/p1_1.png", 0), ("data/ill/scan.png", 0)], "data")
    with pytest.raises(UserError, match=r"regex:p\(\\d\): does not fit 1 of 2 paths .* such as ill/scan\.png"):
        find_groups(split, r"regex:p(\d)")
    with pytest.raises(UserError, match=r"data\.group=patient: names the column of a table.*regex:"):
        find_groups(split, "patient")
    with pytest.raises(UserError, match="these images are no files"):
        find_groups(frames().train, "regex:(p)")
    with pytest.raises(UserError, match=r"class 'c1' are of 2 groups; 3 are needed to cut the parts"):
        split_source(grouped(["a", "b", "c", "x", "y"] * 2, [0, 0, 0, 1, 1] * 2), group="any")
    with pytest.raises(UserError, match=r"are of 2 groups; 5 are needed for data\.folds=5"):
        split_source(
            grouped([*"abcdef", "x", "y"] * 4, [0] * 6 + [1] * 2 + ([0] * 6 + [1] * 2) * 3),
            group="any",
            folds=5,
            fold=0,
        )


def test_groups_that_the_data_s_own_parts_share_are_refused() -> None:
    source = replace(frames(), test=frames(patients=3).train)
    with pytest.raises(UserError, match=r"3 groups in both train and test of the data: p00, p01, p02; mend"):
        split_source(source, group="patient")


def test_the_groups_of_each_part_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    split_source(frames(), group="patient")
    assert "data.group=patient: 24 groups:" in caplog.text
    assert "none stands in two parts" in caplog.text
