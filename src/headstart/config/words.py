"""Numbers in words, as messages show them: how many of what, and how long."""

PLURALS = {
    "class": "classes",
    "process": "processes",
    "batch": "batches",
    "penalty": "penalties",
    "value of C": "values of C",
    "number of neighbours": "numbers of neighbours",
    "pair of learning rate and weight decay": "pairs of learning rate and weight decay",
}


def count(number: int, what: str) -> str:
    """`number` and the noun in its right form: `1 epoch`, `2 epochs`, `1,000 images`."""
    return f"{number:,} {name_many(number, what)}"


def name_many(number: int, what: str) -> str:
    """The noun alone in its right form: `epoch` for 1, else `epochs`."""
    return what if number == 1 else PLURALS.get(what, f"{what}s")


def spell_seconds(seconds: float) -> str:
    """A time as one reads it aloud: `40 s`, `3 min`, `1 h 20 min`."""
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if rest and hours < 10 else f"{round(minutes / 60)} h"
