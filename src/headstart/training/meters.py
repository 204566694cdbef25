"""Loss and accuracy of an epoch, over all processes."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy


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


def make_meters(classes: int) -> nn.ModuleDict:
    """Make the meters of loss and accuracy, without validation of arguments, which makes each step wait for the GPU."""
    accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
    return nn.ModuleDict({"loss": MeanLoss(), "accuracy": accuracy})
