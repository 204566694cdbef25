"""Label cells that are no class."""

import pytest

from headstart.data.labels import check_labels, find_several
from headstart.errors import UserError


def cells(*labels: str) -> list[tuple[str, str]]:
    return [(f"t.csv, line {row}", label) for row, label in enumerate(labels, 2)]


@pytest.mark.parametrize(
    "labels",
    [
        ["cat", "dog", "cat dog"],
        ["cat", "dog|bird"],
        ["cat", "dog;bird"],
        ["cat", "['dog', 'bird']"],
        ["0", "1", "[0, 1]"],
        ["scab", "rust", "rust, scab"],
        ["scab", "rust", "rust/scab"],
        ["a b", "a c", "a b c", "b c", "a c d", "b d", "c d", "a b d", "a b c d", "b c d"],  # tags, none of them alone
    ],
)
def test_a_cell_with_several_labels_is_refused(labels: list[str]) -> None:
    with pytest.raises(UserError, match=r"t\.csv, line \d+: the label '.+' in column 'kind' .* one label per image"):
        check_labels(cells(*labels), "kind", "t.csv")


@pytest.mark.parametrize(
    "labels",
    [
        ["golden retriever", "labrador retriever", "poodle"],
        ["car", "race car", "bus", "school bus"],
        ["T-shirt/top", "Trouser", "Ankle boot"],
        ["tench, Tinca tinca", "goldfish, Carassius auratus"],
        ["red small", "red large", "blue small", "blue large", "green small", "green large", "red", "blue"],
        ["salt & pepper", "1,5", "C++", "a-b_c"],
    ],
)
def test_names_of_several_words_are_classes(labels: list[str]) -> None:
    assert list(find_several(labels)) == []
    check_labels(cells(*labels), "kind", "t.csv")


@pytest.mark.parametrize("missing", ["nan", "NaN", "<NA>", "NaT", "#N/A"])
def test_a_missing_value_is_no_class(missing: str) -> None:
    with pytest.raises(UserError, match=rf"line 3: the label '{missing}' in column 'kind' .* missing value"):
        check_labels(cells("cat", missing, "cat"), "kind", "t.csv")


def test_a_class_called_none_is_kept_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    check_labels(cells("none", "crack", "none"), "kind", "t.csv")
    assert caplog.messages == ["t.csv: 'none' is a class, not a missing value"]
