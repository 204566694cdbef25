"""Seeds that depend on names and numbers alone, so that a resumed run draws what the uninterrupted one would have."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """A generator's seed, below 2^56: a digest of `parts`, such as (seed, phase, epoch)."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def random_state() -> dict[str, Tensor]:
    """The state of torch's and numpy's global generators of this process."""
    import numpy as np
    import torch

    _, keys, *others = np.random.get_state()  # noqa: NPY002 a place, and a normal deviate that may be left over
    numbers = [*map(float, keys), *map(float, others)]  # float64 holds all of them exactly
    state = {"cpu": torch.get_rng_state(), "numpy": torch.tensor(numbers, dtype=torch.float64)}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Put back what `random_state` returned."""
    import numpy as np
    import torch

    torch.set_rng_state(state["cpu"].cpu())
    *keys, place, left, deviate = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(place), int(left), deviate))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
