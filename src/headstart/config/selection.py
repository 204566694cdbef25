"""Which validation scores are better: the one rule of `select`, for the best epoch, for `patience` and for probes."""

import math

ACCURACY, LOSS = "val_accuracy", "val_loss"
SELECTIONS = (ACCURACY, LOSS)
Rank = tuple[float, float]


def rank_scores(select: str, accuracy: float, loss: float) -> Rank:
    """Make the key by which validation scores are compared: higher is better.

    `val_accuracy`: the higher accuracy, of equals the lower loss. `val_loss`: the lower loss, of equals the higher
    accuracy. A loss that is not a number is the worst.
    """
    gain = -math.inf if math.isnan(loss) else -loss
    return (accuracy, gain) if select == ACCURACY else (gain, accuracy)
