"""Weighted k-nearest neighbours: nothing is trained, and one search serves every k."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config.selection import ACCURACY
from headstart.errors import UserError
from headstart.probe.base import Probe, Targets

METRICS = ("cosine", "euclidean")
ELEMENTS = 2**24  # limit for an array: similarities of a batch of queries, or features of a piece of the bank


class Neighbours(nn.Module):
    """A head that consists of the training rows: log-probabilities from the votes of a query's nearest rows.

    With N the k nearest rows of a query and s_i their similarities, the votes for class c are

        v_c = sum_{i in N, y_i = c} weight_i exp(s_i / temperature)

    (Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination"; Caron et al. 2021,
    DINO). The probability of c among K classes is `(k v_c / sum_c v_c + 1/K) / (k + 1)`: the votes are scaled to sum
    to k, and one more vote is shared by all classes. So no probability is 0, and the order of the classes is that of v.

    Args:
        bank: training features [n, d].
        labels: classes of these rows, int64 [n].
        weights: how much each row's vote counts, float [n]. The choice of the nearest does not depend on it.
        metric: `cosine`, or `euclidean`: minus half the squared distance, of features divided by the root mean
            square length of the bank's rows. For rows of length 1 half the squared distance is 1 - cosine, so that one
            temperature suits both.
    """

    bank: Tensor
    labels: Tensor
    weights: Tensor

    def __init__(
        self,
        bank: Tensor,
        labels: Tensor,
        weights: Tensor,
        *,
        classes: int,
        k: int,
        metric: str = "cosine",
        temperature: float = 0.07,
    ) -> None:
        super().__init__()
        self.classes, self.k, self.metric, self.temperature = classes, k, metric, temperature
        for name, tensor in (("bank", bank), ("labels", labels), ("weights", weights)):
            self.register_buffer(name, tensor)
        # root mean square length of the bank's rows, for the euclidean metric
        self.scale = float(sum(part.float().square().sum() for part in bank.split(8192)) / len(bank)) ** 0.5

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the constructor, without the tensors."""
        return {"classes": self.classes, "k": self.k, "metric": self.metric, "temperature": self.temperature}

    def forward(self, x: Tensor) -> Tensor:
        """Log-probabilities [n, classes] of features [n, d], or [n, d, 1, 1] where heads are convolutions."""
        return self.log_probabilities(x.flatten(1), [self.k])[0]

    def log_probabilities(self, x: Tensor, ks: Sequence[int]) -> Tensor:
        """Log-probabilities [len(ks), n, classes] of features [n, d], for every k from one search for the largest."""
        # autocast would round the similarities, and so change which rows are nearest
        with torch.autocast(x.device.type, enabled=False):
            size = max(1, ELEMENTS // max(len(self.bank), max(ks), self.classes * len(ks)))
            return torch.cat([self._vote(rows, ks) for rows in x.split(size)], 1)

    def _vote(self, x: Tensor, ks: Sequence[int]) -> Tensor:
        """Log-probabilities [len(ks), b, classes] of a batch of queries [b, d]."""
        similar, rows = self._search(self._normalise(x), max(ks))
        # The best similarity is taken out, so that exp cannot overflow. It cancels when votes are scaled to sum to k.
        share = ((similar - similar[:, :1]) / self.temperature).exp() * self.weights[rows]
        labels, found = self.labels[rows], []
        # neighbours are sorted, so those of a smaller k are the first columns of the same search
        for k in ks:
            counts = x.new_zeros(len(x), self.classes, dtype=torch.float32)
            counts.scatter_add_(1, labels[:, :k], share[:, :k])
            counts = k * counts / counts.sum(1, keepdim=True).clamp_min(1e-30)
            found.append(((counts + 1 / self.classes) / (k + 1)).log())
        return torch.stack(found)

    def _normalise(self, x: Tensor) -> Tensor:
        """Features in float32 in the form that the metric compares: rows of length 1, or divided by one number."""
        x = x.float()
        return functional.normalize(x) if self.metric == "cosine" else x / max(self.scale, 1e-12)

    def _search(self, x: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k most similar rows of each query [b, d], most similar first: similarities and row numbers, both [b, k].

        The bank is read a piece at a time, and the best k so far are kept: a float32 copy of all of it is never made.
        """
        best = x.new_empty(len(x), 0)
        chosen = torch.empty(len(x), 0, dtype=torch.long, device=x.device)
        for start, part in self._list_pieces():
            # q'x - ||x||^2 / 2 = -||q - x||^2 / 2 + ||q||^2 / 2. The last term is the same for all rows: it changes no
            # order, and cancels when the best similarity is taken out. With rows of length 1 this is the cosine - 1/2.
            similar = x @ part.T - 0.5 * part.square().sum(1)
            top, rows = similar.topk(min(k, len(part)), dim=1)
            best, chosen = torch.cat([best, top], 1), torch.cat([chosen, rows + start], 1)
            best, at = best.topk(min(k, best.shape[1]), dim=1)
            chosen = chosen.gather(1, at)
        return best, chosen

    def _list_pieces(self) -> Iterator[tuple[int, Tensor]]:
        """Pieces of the bank, normalised for the metric, each with the number of its first row."""
        size = max(1, ELEMENTS // self.bank.shape[1])
        for start in range(0, len(self.bank), size):
            yield start, self._normalise(self.bank[start : start + size])


@dataclass(frozen=True)
class NeighbourFits:
    """Nearest neighbours on the same training rows, with several k."""

    neighbours: Neighbours
    ks: list[int]
    facts: Sequence[dict[str, Any]]

    def logits(self, x: Tensor) -> Tensor:
        """Log-probabilities [values, n, classes] of features [n, d]."""
        return self.neighbours.log_probabilities(x, self.ks)

    def head(self, index: int) -> nn.Module:
        """The training rows with one k, as a module of its own."""
        near = self.neighbours
        return Neighbours(near.bank, near.labels, near.weights, **near.options | {"k": self.ks[index]})


class NearestNeighbours(Probe):
    """k-nearest neighbours weighted by similarity; k is chosen by validation accuracy, as is usual for this method.

    Args:
        k: numbers of neighbours to try; a number above that of the training rows means all of them.
        metric: `cosine` or `euclidean`.
        temperature: how fast a vote falls with the similarity; a small temperature is fast.
        refit, layers, poolings: as in `headstart.probe.base.Probe`.
    """

    select = ACCURACY
    noun = "number of neighbours"  # what is tried: `headstart.training.head`
    is_linear = False

    def __init__(
        self,
        k: Sequence[int] = (1, 3, 5, 10, 20, 50, 100, 200),
        metric: str = "cosine",
        temperature: float = 0.07,
        refit: bool = False,
        layers: Sequence[int] = (-1,),
        poolings: Sequence[str] = ("avg",),
    ) -> None:
        if not k or not all(isinstance(each, int) and each > 0 for each in k):
            raise UserError(f"probe.k={list(k)}: needs one or more whole numbers above 0")
        if metric not in METRICS:
            raise UserError(f"probe.metric={metric}: must be one of {', '.join(METRICS)}")
        if not 0 < temperature < float("inf"):
            raise UserError(f"probe.temperature={temperature}: must be a number above 0")
        super().__init__(sorted(set(k), reverse=True), refit, layers, poolings)
        self.metric, self.temperature = metric, temperature

    def solve(self, parts: Sequence[Tensor], targets: Targets, values: Sequence[Any], seed: int) -> list[NeighbourFits]:
        """Keep the rows of each set of features, for a search with every k."""
        labels = targets.labels
        rows = torch.ones(len(labels), device=labels.device) if targets.weights is None else targets.weights.float()
        # a row of weight 0 has no vote, so it must not be one of the k neighbours
        kept = rows > 0
        ks = [min(k, int(kept.sum())) for k in values]
        facts = [{"value": k} for k in ks]
        options: dict[str, Any] = {"metric": self.metric, "temperature": self.temperature, "classes": targets.classes}
        banks = [part.contiguous() if bool(kept.all()) else part[kept] for part in parts]
        heads = [Neighbours(bank, labels[kept], rows[kept], k=max(ks), **options) for bank in banks]
        return [NeighbourFits(head, ks, facts) for head in heads]
