"""The best weights of a phase, chosen on validation: their file, the end of patience, and how both outlive a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from headstart.config.selection import rank_scores
from headstart.distributed import comm
from headstart.errors import RunFailed
from headstart.models import weights
from headstart.storage.files import write_whole

log = logging.getLogger(__name__)

KEY = "best"  # of the facts in the file


class BestWeights:
    """Keeps the weights of the best epoch so far in a file that says which epoch they are of; epoch 0 is the start.

    A better epoch replaces the file at once. So after a kill the file may be of a later epoch than the newest
    checkpoint, and on a GPU that epoch, trained again, has other weights and another score. Therefore a checkpoint
    contains the file of its moment, and a phase that goes on from it puts that file back: weights, epoch and score
    always belong together, whenever the kill came. Without a checkpoint the phase starts anew and writes the file anew.

    Args:
        model: the whole network, all of whose weights are saved.
        path: of the file.
        select: the rule (`headstart.config.selection`).
        patience: after how many epochs without a better one `is_overdue`; None: never.
        with_saved_weights: inside this context the network has the weights to save, if these are not the ones that
            learn.
    """

    def __init__(
        self,
        model: nn.Module,
        path: Path,
        *,
        select: str,
        patience: int | None = None,
        with_saved_weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model, self.path, self.select, self.patience = model, path, select, patience
        self.with_saved_weights = with_saved_weights
        self.facts: dict[str, Any] | None = None  # epoch, val_accuracy and val_loss of the weights in the file

    @property
    def epoch(self) -> int:
        """The best epoch; -1 before the first one."""
        return -1 if self.facts is None else int(self.facts["epoch"])

    def offer(self, epoch: int, checked: Mapping[str, float]) -> None:
        """Keep the network's weights if this epoch's validation scores are better than all before."""
        facts = {"epoch": epoch, "val_accuracy": checked["accuracy"], "val_loss": checked["loss"]}
        facts |= {self.select: checked[self.select]} if self.select in checked else {}
        if self.facts is not None and self._rank(facts) <= self._rank(self.facts):
            return
        self.facts = facts
        if comm.is_first():
            with self.with_saved_weights():
                weights.save(self.model, self.path, facts={KEY: facts})

    def _rank(self, facts: Mapping[str, Any]) -> tuple[float, float]:
        return rank_scores(self.select, facts["val_accuracy"], facts["val_loss"], facts.get(self.select))

    def is_overdue(self, epoch: int) -> bool:
        """Whether the last `patience` epochs up to this one were no better than the best."""
        return self.patience is not None and epoch - self.epoch >= self.patience

    def pack(self) -> dict[str, Any]:
        """Make the part of a checkpoint: the facts, and in the first process, which writes it, the file's bytes."""
        if self.facts is None or not comm.is_first():
            return {"facts": self.facts, "file": None}
        self._check_file()
        return {"facts": self.facts, "file": torch.frombuffer(bytearray(self.path.read_bytes()), dtype=torch.uint8)}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on from a checkpoint: put back the file that it contains."""
        if comm.is_first() and packed["file"] is not None:
            found = read_facts(self.path)
            if found is not None and found != packed["facts"]:
                log.info(
                    "  %s is of epoch %d, after the checkpoint; that of epoch %d is put back",
                    self.path,
                    found["epoch"],
                    packed["facts"]["epoch"],
                )
            with write_whole(self.path, packed["file"].numel()) as part:
                part.write_bytes(packed["file"].cpu().numpy().data)
        self.facts = packed["facts"]

    def load(self) -> None:
        """Put the best weights into the network."""
        self._check_file()
        weights.load(self.model, self.path)

    def _check_file(self) -> None:
        """Raise RunFailed if the file's weights are not those of the best epoch: something else has written it."""
        found = read_facts(self.path)
        if found is None or found != self.facts:
            raise RunFailed(
                f"{self.path} should be of {self.facts} and is of {found}: something else wrote it while this run was "
                "training. Start the same command again: it goes on from the newest checkpoint"
            )


def read_facts(path: Path) -> dict[str, Any] | None:
    """Read of which epoch the weights in a file are, with its scores; None if there is no file or it does not say."""
    return weights.read_facts(path).get(KEY)
