"""Which validation scores are better: the one rule of `select`, for the best epoch, for `patience` and for probes."""

import math

ACCURACY, LOSS = "val_accuracy", "val_loss"
# Those that more than accuracy and loss are measured for (`headstart.scores.measure`); probes are chosen by them too.
BY_CLASS = ("val_balanced_accuracy", "val_f1", "val_auroc")
SELECTIONS = (ACCURACY, LOSS, *BY_CLASS)
Rank = tuple[float, float]


def rank_scores(select: str, accuracy: float, loss: float, measured: float | None = None) -> Rank:
    """Make the key by which validation scores are compared: higher is better.

    `val_accuracy`: the higher accuracy, of equals the lower loss. `val_loss`: the lower loss, of equals the higher
    accuracy. One of `BY_CLASS`: the higher score, which is `measured`, of equals the lower loss. A loss that is not a
    number is the worst.
    """
    gain = -math.inf if math.isnan(loss) else -loss
    if select in BY_CLASS:
        assert measured is not None
        return measured, gain
    return (accuracy, gain) if select == ACCURACY else (gain, accuracy)
