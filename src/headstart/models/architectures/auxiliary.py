"""An auxiliary classifier: in training its loss gives gradients to the middle of a network; later it is not used.

It is a layer that returns its input. In training mode, if gradients are computed, it stores its logits until
`auxiliary_loss` is called; so it works in a whole network and in the second half of a split one. If all its parameters
are frozen, `headstart.models.modes.train_mode` puts it in eval mode, and it adds nothing to the loss.
"""

from collections.abc import Callable

import torch
from timm.layers import register_notrace_module
from torch import Tensor, nn
from torch.nn import functional

from headstart.models.architectures.inception import Unit

WEIGHT = 0.3  # of an auxiliary loss in the total (Szegedy et al. 2015, section 5)


@register_notrace_module
class Auxiliary(nn.Module):
    """Section 5 of Going Deeper with Convolutions: pooling to 4x4, 1x1 convolution, two linear layers, dropout of 70 %.

    The paper pools 5x5 with stride 3, which gives 4x4 at 224 pixels; here maps of any size are averaged to 4x4.

    Args:
        inputs: channels of its input.
        reduced: channels after the 1x1 convolution; 128 in the paper.
        hidden: width of the first linear layer; 1024 in the paper.
        norm: batch norm instead of the convolution's bias.
    """

    logits: Tensor | None

    def __init__(
        self, inputs: int, num_classes: int, reduced: int = 128, hidden: int = 1024, norm: bool = False
    ) -> None:
        super().__init__()
        self.num_classes, self.logits = num_classes, None
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = Unit(inputs, reduced, 1, norm=norm)
        self.fc1 = nn.Linear(reduced * 16, hidden)
        self.drop = nn.Dropout(0.7)
        self.fc2 = nn.Linear(hidden, num_classes) if num_classes else nn.Identity()

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self.fc2 = nn.Linear(self.fc1.out_features, num_classes) if num_classes else nn.Identity()

    def classify(self, x: Tensor) -> Tensor:
        """Turn maps [n, inputs, h, w] into logits [n, num_classes]."""
        hidden = functional.relu(self.fc1(self.conv(self.pool(x)).flatten(1)))
        return self.fc2(self.drop(hidden))

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.num_classes and torch.is_grad_enabled():
            self.logits = self.classify(x)
        return x

    def auxiliary_loss(self, loss: Callable[[Tensor, Tensor], Tensor], targets: Tensor) -> Tensor:
        """The term for the training loss: 0.3 times `loss` of the logits of the last forward pass; 0 without logits."""
        logits, self.logits = self.logits, None
        if logits is None:
            return torch.zeros((), device=targets.device)
        return WEIGHT * loss(logits.float(), targets)
