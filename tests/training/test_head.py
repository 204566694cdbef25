"""What a probe tried is said with its name: of what, how many, which was chosen, by which score."""

import pytest
from torch import nn

from headstart import probe
from headstart.probe.base import ProbeFit
from headstart.training.head import describe_choice


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (probe.Ridge(grid=[0.1, 1.0]), "Ridge: 2 penalties tried, 0.178 chosen on validation accuracy"),
        (probe.Ridge(grid=[0.1]), "Ridge: penalty 0.178"),
        (probe.Logistic(grid=[0.1, 1.0]), "Logistic: 2 values of C tried, 0.178 chosen on validation loss"),
        (
            probe.NearestNeighbours(k=[1, 3]),
            "NearestNeighbours: 2 numbers of neighbours tried, 0.178 chosen on validation accuracy",
        ),
        (
            probe.LinearHeads(lrs=[0.1], weight_decays=[0.0, 0.1]),
            "LinearHeads: 2 pairs of learning rate and weight decay tried, 0.178 with weight decay 0.1 chosen on "
            "validation loss",
        ),
        (object(), "object: 2 values tried, 0.178 chosen on validation accuracy"),
    ],
)
def test_it_is_said_what_was_tried(kind: object, words: str) -> None:
    rows = [{"value": 0.178, "weight_decay": 0.1, "features": "all"}] * len(getattr(kind, "values", "ab"))
    assert describe_choice(kind, ProbeFit(nn.Identity(), rows[0], rows, getattr(kind, "probabilities", False))) == words


def test_sets_of_features_are_counted_too() -> None:
    rows = [{"value": 1.0, "features": name} for name in ("one", "one", "two", "two")]
    parts = {"one": slice(0, 1), "two": slice(1, 2)}
    said = describe_choice(probe.Ridge(grid=[0.1, 1.0]), ProbeFit(nn.Identity(), rows[2], rows, False), parts)
    assert said == "Ridge: 2 penalties tried on each of 2 sets of features, 1 on two chosen on validation accuracy"
