"""What a phase minimises: cross-entropy with label smoothing, class weights and mixed images, and a penalty."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from headstart.config.schema import mixes

if TYPE_CHECKING:
    from headstart.config.schema import AugmentConfig


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights [classes] that let each class count as much: n / (classes x images of the class), 0 for an absent one.

    Their mean over the images is 1, where every class has images (scikit-learn's `class_weight="balanced"`).
    """
    counts = labels.bincount(minlength=classes)
    return torch.where(counts > 0, len(labels) / (classes * counts.clamp_min(1).float()), 0.0)


class TrainingLoss(nn.Module):
    """The training loss of a phase.

    Args:
        smoothing: label smoothing (Szegedy et al. 2016), the share of a target that is spread over all classes.
        weights: of the classes [classes], or None.
        augment: mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of it are done here, by timm, a whole batch with
            one ratio; where both are on, a batch gets either. Of an odd batch the last image stays as it is.
        penalty: a term that is added to the loss and to no meter, or None.
    """

    weights: Tensor | None

    def __init__(
        self,
        classes: int,
        smoothing: float = 0.0,
        weights: Tensor | None = None,
        augment: AugmentConfig | None = None,
        penalty: Callable[[], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.smoothing, self.penalty = classes, smoothing, penalty
        self.register_buffer("weights", weights, persistent=False)
        self.mixer = None
        if augment is not None and mixes(augment):
            from timm.data import Mixup

            self.mixer = Mixup(augment.mixup, augment.cutmix, label_smoothing=smoothing, num_classes=classes)

    def targets(self, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The inputs [b, ...], mixed if asked for, and their targets: labels [b], or probabilities [b, classes]."""
        if self.mixer is None and self.weights is None:
            return inputs, labels
        from timm.data.mixup import mixup_target

        soft = mixup_target(labels, self.classes, smoothing=self.smoothing)
        even = len(inputs) // 2 * 2
        if self.mixer is not None and even:
            _, soft[:even] = self.mixer(inputs[:even], labels[:even])  # mixes the inputs in place
        return inputs, soft

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean loss over a batch, without the penalty."""
        smoothing = 0.0 if targets.is_floating_point() else self.smoothing  # which probabilities have already
        return functional.cross_entropy(logits, targets, weight=self.weights, label_smoothing=smoothing)
