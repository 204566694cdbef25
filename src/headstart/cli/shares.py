"""An option that is a share: a number between 0 and 1."""

import argparse
import math


def parse_share(text: str) -> float:
    """Read an option that is a number between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1, such as 0.9")
    return value
