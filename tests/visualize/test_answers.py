"""Which of a run's test images are looked at."""

from pathlib import Path

import numpy as np
import pytest

from headstart.errors import UserError
from headstart.visualize.why.answers import Answers, find_changed, read_answers

HEADER = "index,name,label,label_name,predicted,predicted_name,confidence,top5\n"


def make(labels: list[int], predicted: list[int], confidence: list[float]) -> Answers:
    names = [f"test[{at}]" for at in range(len(labels))]
    return Answers(names, np.array(labels), np.array(predicted), np.array(confidence))


def test_mistakes_are_the_most_confident_ones() -> None:
    answers = make([0, 1, 2, 0, 1], [1, 1, 0, 2, 0], [0.4, 0.9, 0.8, 0.99, 0.6])
    assert answers.find_mistakes(3).tolist() == [3, 2, 4]
    assert answers.find_mistakes(99).tolist() == [3, 2, 4, 0]


def test_right_answers_are_of_all_classes() -> None:
    answers = make([0, 0, 0, 1, 2, 2], [0, 0, 0, 1, 2, 2], [0.5, 0.9, 0.8, 0.4, 0.6, 0.7])
    assert answers.find_right(4).tolist() == [1, 3, 5, 2]


def test_without_confidences_the_order_stays() -> None:
    answers = make([0, 1, 2], [1, 0, 2], [np.nan] * 3)
    assert answers.find_mistakes(9).tolist() == [0, 1]


def test_images_on_which_runs_differ_come_first() -> None:
    first = make([0, 0, 0, 0], [0, 1, 1, 0], [0.9, 0.7, 0.6, 0.8])
    second = make([0, 0, 0, 0], [0, 0, 1, 1], [0.9, 0.9, 0.9, 0.95])
    assert find_changed(first, second, 9).tolist() == [3, 1, 2, 0]
    assert find_changed(first, second, 1).tolist() == [3]


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(f"{HEADER}0,'=a.png,1,b,0,a,0.75,\n1,b.png,0,a,0,a,,\n")
    answers = read_answers(tmp_path)
    assert answers.names == ["=a.png", "b.png"]
    assert answers.right.tolist() == [False, True]
    assert answers.confidence[0] == 0.75
    assert np.isnan(answers.confidence[1])


@pytest.mark.parametrize("text", [None, "index,name\n0,a\n", f"{HEADER}0,a.png,x,b,0,a,0.75,\n"])
def test_a_damaged_file_is_named(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "predictions.csv").write_text(text)
    with pytest.raises(UserError, match=r"predictions.csv is damaged"):
        read_answers(tmp_path)
