"""A buffer for the features of a part of the data."""

import logging
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headstart.runtime.memory import free_memory
from headstart.storage.files import make_write_error

log = logging.getLogger(__name__)


class FeatureBuffer:
    """Holds the features of a part of the data in memory or in a memory-mapped file.

    Of a mapped file, the system keeps the used parts in memory as long as there is enough. The file has no name in its
    folder, so it disappears with the process, even if the process is killed.

    Args:
        rows: number of rows.
        storage: `memory`, `mapped`, or `auto`: in memory if that takes at most half of what is free.
    """

    def __init__(self, rows: int, storage: str) -> None:
        self.rows, self.storage = rows, storage
        self.buffer: Tensor | None = None

    def put(self, at: Tensor, features: Tensor) -> None:
        """Store features [n, ...] in the rows `at` [n]. The first call decides the shape and the type of a row."""
        if self.buffer is None:
            self.buffer = self._allocate(features)
        self.buffer[at] = features

    @property
    def tensor(self) -> Tensor:
        """All features [rows, ...]."""
        assert self.buffer is not None, "no images"
        return self.buffer

    def _allocate(self, like: Tensor) -> Tensor:
        """Make an empty buffer for rows with the shape and type of those of `like`."""
        shape = (self.rows, *like.shape[1:])
        need = self.rows * like[0].numel() * like.element_size()
        if self.storage == "memory" or (self.storage == "auto" and need <= free_memory() / 2):
            return torch.empty(shape, dtype=like.dtype)
        log.info("%.2f GB of features are kept in a mapped file in %s", need / 1e9, tempfile.gettempdir())
        try:
            with tempfile.TemporaryFile() as file:
                # Allocate the space now, which raises an error if there is too little. Otherwise the file would be
                # sparse, and if the disk is full at a later write, the process would be killed (SIGBUS).
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, need)
                flat = torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=(need,)))
        except OSError as error:
            raise make_write_error(Path(tempfile.gettempdir()), need, error) from error
        return flat.view(like.dtype).view(shape)
