"""Loss and accuracy of an epoch, over all processes."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.utilities import dim_zero_cat

from headstart import scores


class MeanLoss(Metric):
    """The mean loss over images. torchmetrics' own mean ignores values that are not a number, and so hides them."""

    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        """Add a batch of `images` images with this mean loss."""
        self.total += loss * images
        self.images += images

    def compute(self) -> Tensor:
        return self.total / self.images


class OutputScore(Metric):
    """A score that needs the outputs of all validation images together (`headstart.scores.measure`)."""

    outputs: list[Tensor]
    labels: list[Tensor]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_state("outputs", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch of logits [n, C] and labels [n]."""
        self.outputs.append(outputs.float())
        self.labels.append(labels)

    def compute(self) -> float:
        return scores.measure(self.name, dim_zero_cat(self.outputs), dim_zero_cat(self.labels))


def make_meters(classes: int) -> nn.ModuleDict:
    """Make the meters of loss and accuracy, without validation of arguments, which makes each step wait for the GPU."""
    accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
    return nn.ModuleDict({"loss": MeanLoss(), "accuracy": accuracy})
