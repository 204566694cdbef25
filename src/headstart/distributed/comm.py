"""Communication between the processes of one run; in a run of one process these functions do nothing.

Every process (rank) works on its own share of the rows and has the whole result afterwards. Only rank 0 writes files
and sends results to W&B.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from headstart.errors import RunFailed

PATIENCE = timedelta(hours=2)  # for a rank that is alive and does not answer; a dead one is noticed at once


def world_size() -> int:
    """How many processes this run has."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_first() -> bool:
    """Whether this is the process that writes files."""
    return rank() == 0


def barrier() -> None:
    """Wait until every process has reached this call."""
    if world_size() > 1:
        dist.barrier(group=_control_group())


def broadcast(value: int) -> int:
    """Give every rank the value of rank 0."""
    if world_size() == 1:
        return value
    box = torch.tensor([value])
    dist.broadcast(box, src=0, group=_control_group())
    return int(box)


def all_gather(value: Any) -> list[Any]:
    """Give every rank the values of all ranks, in the order of ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value, group=_control_group())
    return values


def check_same(what: str, value: Any) -> None:
    """Compare a value with those of the other ranks, so that no rank works on something else than the others.

    Raises:
        RunFailed: in every rank, if the values differ; it names the ranks.
    """
    values = all_gather(value)
    strange = [number for number, other in enumerate(values) if other != values[0]]
    if strange:
        numbers = ", ".join(map(str, strange))
        raise RunFailed(
            f"{what} of process {numbers} differ from those of process 0, so they would train on different things: "
            "do all processes see the same files, and did nothing change them? Start again"
        )


def compute_in_shares(n: int, compute: Callable[[slice], Tensor]) -> Tensor:
    """Compute `compute(rows)` for all `n` rows; each process computes a contiguous share and gets all of the result.

    Args:
        compute: returns one row of output, on the CPU, for each row of the slice; rows do not depend on each other.
    """
    if world_size() == 1 or n < world_size():
        return compute(slice(0, n))
    bounds = [n * r // world_size() for r in range(world_size() + 1)]
    mine = compute(slice(bounds[rank()], bounds[rank() + 1]))
    longest = -(-n // world_size())
    padded = mine.new_zeros((longest, *mine.shape[1:]))
    padded[: len(mine)] = mine
    parts = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(parts, padded, group=_control_group())
    return torch.cat([part[: stop - start] for part, (start, stop) in zip(parts, pairwise(bounds), strict=True)])


_groups: dict[int, Any] = {}


def _control_group() -> Any:
    """The gloo group for tensors and objects on the CPU; NCCL is for gradients only."""
    if dist.get_backend() == "gloo":
        return None
    if 0 not in _groups:
        _groups[0] = dist.new_group(backend="gloo", timeout=PATIENCE)
    return _groups[0]
