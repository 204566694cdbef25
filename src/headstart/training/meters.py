"""Loss and accuracy of an epoch, over all processes."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy


class MeanLoss(Metric):
    """The mean over images; torchmetrics' own mean leaves out what is not a number, and hides it."""

    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, images: int) -> None:
        """Count a batch of `images` images with this mean loss."""
        self.total += loss * images
        self.images += images

    def compute(self) -> Tensor:
        return self.total / self.images


def make_meters(classes: int) -> nn.ModuleDict:
    """Loss and accuracy; arguments are not validated, which would make each step wait for a GPU."""
    accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
    return nn.ModuleDict({"loss": MeanLoss(), "accuracy": accuracy})
