"""Seeds that depend on names and numbers only, so that a resumed run draws the same numbers as an uninterrupted one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """Derive a generator's seed, below 2^56, from `parts`, such as (seed, phase, epoch): it is a digest of them."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big")


def get_random_state() -> dict[str, Tensor]:
    """Get the state of torch's and numpy's global generators in this process."""
    import numpy as np
    import torch

    _, keys, *others = np.random.get_state()  # noqa: NPY002 others: a position, and a normal deviate drawn in advance
    numbers = [*map(float, keys), *map(float, others)]  # float64 represents all of them exactly
    state = {"cpu": torch.get_rng_state(), "numpy": torch.tensor(numbers, dtype=torch.float64)}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Restore the state that `get_random_state` returned."""
    import numpy as np
    import torch

    torch.set_rng_state(state["cpu"].cpu())
    *keys, place, left, deviate = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(place), int(left), deviate))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())
