"""Which validation scores are better."""

import pytest

from headstart.config.selection import ACCURACY, LOSS, rank_scores

NAN = float("nan")


@pytest.mark.parametrize(
    ("select", "better", "worse"),
    [
        (ACCURACY, (0.9, 2.0), (0.8, 0.1)),
        (ACCURACY, (0.9, 0.42), (0.9, 0.89)),
        (ACCURACY, (0.9, 0.42), (0.9, NAN)),
        (LOSS, (0.8, 0.1), (0.9, 2.0)),
        (LOSS, (0.9, 0.5), (0.8, 0.5)),
        (LOSS, (0.1, 9.0), (0.9, NAN)),
        ("val_f1", (0.1, 9.0, 0.7), (0.9, 0.1, 0.6)),
        ("val_auroc", (0.1, 0.5, 0.7), (0.9, 0.6, 0.7)),
    ],
)
def test_the_better_scores_have_the_higher_rank(
    select: str, better: tuple[float, ...], worse: tuple[float, ...]
) -> None:
    assert rank_scores(select, *better) > rank_scores(select, *worse)
