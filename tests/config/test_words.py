"""One thing has the singular, and a time is read aloud."""

import pytest

from headstart.config.words import count, spell_seconds


@pytest.mark.parametrize(
    ("number", "what", "words"),
    [
        (1, "epoch", "1 epoch"),
        (2, "epoch", "2 epochs"),
        (1, "class", "1 class"),
        (3, "process", "3 processes"),
        (45, "penalty", "45 penalties"),
        (1000, "image", "1,000 images"),
    ],
)
def test_one_has_the_singular(number: int, what: str, words: str) -> None:
    assert count(number, what) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (98, "98 s"), (100, "2 min"), (4800, "80 min"), (7500, "2 h 5 min"), (90000, "25 h")],
)
def test_times_are_read_aloud(seconds: float, words: str) -> None:
    assert spell_seconds(seconds) == words
