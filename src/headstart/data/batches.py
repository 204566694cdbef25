"""The rows of each batch: their order in each epoch, and each process's share of them."""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from torch.utils.data import Sampler

from headstart.distributed import comm
from headstart.errors import UserError


class Batches(Sampler[torch.Tensor]):
    """Row indices int64 [b] of each batch; the order depends only on (seed, phase, epoch).

    With several processes, each takes every `world`-th row of each joint batch of `world * batch_size`: every row
    occurs once, all processes have the same number of batches, and their sizes differ by at most one. Raises UserError
    if there are too few rows for the processes.

    Args:
        views: successive rows that are views of one image: an epoch uses one of them, the next epoch the next one.
        shares: float64 [n], how often each image is drawn in proportion to the others; an epoch then draws n images
            with repetition.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        shuffle: bool,
        seed: int,
        phase: str,
        views: int = 1,
        shares: np.ndarray | None = None,
    ) -> None:
        self.n, self.shuffle, self.seed, self.epoch, self.views, self.shares = n, shuffle, seed, 0, views, shares
        self.skip = 0  # batches that the next iteration leaves out: done before the run was interrupted
        self.rank, self.world = comm.rank(), comm.world_size()
        self.phase = int.from_bytes(hashlib.blake2b(phase.encode(), digest_size=8).digest(), "little")
        self.joint = joint = batch_size * self.world
        least = self.world * (2 if shuffle and batch_size > 1 else 1)  # batch norm cannot train on one image
        if n < self.world:
            raise UserError(f"hardware.devices={self.world}: more processes than images of a part ({n})")
        self.bounds = [*range(0, n, joint), n]
        if n > joint and 0 < n % joint < least:
            del self.bounds[-2]  # too few rows for a batch: add them to the batch before

    @property
    def has_whole_batch(self) -> bool:
        """Whether a batch has exactly the number of rows that was asked for."""
        return any(stop - start == self.joint for start, stop in pairwise(self.bounds))

    def count_step_images(self, accumulate: int) -> list[int]:
        """The images of each optimizer step of an epoch, over all processes, if a step takes `accumulate` batches.

        The last step takes the batches that are left.
        """
        firsts = range(0, len(self), accumulate)
        return [self.bounds[min(first + accumulate, len(self))] - self.bounds[first] for first in firsts]

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        order = torch.arange(self.n)
        if self.shuffle:
            keys = np.random.PCG64([self.seed, self.phase, self.epoch]).random_raw(self.n)
            order = torch.from_numpy(np.argsort(keys, kind="stable"))
            if self.shares is not None:
                bounds = np.cumsum(self.shares)
                order = torch.from_numpy(np.searchsorted(bounds, keys / 2.0**64 * bounds[-1], side="right"))
                order = order.clamp_max(self.n - 1)
            order = order * self.views + (order + self.epoch) % self.views
        batches = list(pairwise(self.bounds))[self.skip :]
        self.skip = 0
        for start, stop in batches:
            yield order[start:stop][self.rank :: self.world]
