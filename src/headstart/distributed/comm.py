"""What the processes of one run tell each other; in a run of one process each of these is free.

Every process (rank) works on its own share of the rows and holds the whole result afterwards. Rank 0 alone writes
files and talks to W&B.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

PATIENCE = timedelta(hours=2)  # for a rank that lives and does not answer; one that died is noticed at once


def world_size() -> int:
    """How many processes this run has."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process has come here."""
    if world_size() > 1:
        dist.barrier(group=_control())


def broadcast(value: int) -> int:
    """Rank 0's value, on every rank."""
    if world_size() == 1:
        return value
    box = torch.tensor([value])
    dist.broadcast(box, src=0, group=_control())
    return int(box)


def all_gather(value: Any) -> list[Any]:
    """Every rank's value, in the order of ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_control())
    return values


def compute_in_shares(n: int, compute: Callable[[slice], Tensor]) -> Tensor:
    """`compute(rows)` for all of `n` rows, on the CPU, in order; each process computes a contiguous share of them.

    Args:
        compute: gives one row of output for each row of the slice; rows do not depend on each other.
    """
    if world_size() == 1 or n < world_size():
        return compute(slice(0, n))
    bounds = [n * r // world_size() for r in range(world_size() + 1)]
    mine = compute(slice(bounds[rank()], bounds[rank() + 1]))
    longest = -(-n // world_size())
    padded = mine.new_zeros((longest, *mine.shape[1:]))
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded, group=_control())
    return torch.cat([part[: stop - start] for part, (start, stop) in zip(parts, pairwise(bounds), strict=True)])


_groups: dict[int, Any] = {}


def _control() -> Any:
    """A group over gloo for what lies on the CPU; NCCL carries gradients only."""
    if dist.get_backend() == "gloo":
        return None
    if 0 not in _groups:
        _groups[0] = dist.new_group(backend="gloo", timeout=PATIENCE)
    return _groups[0]
