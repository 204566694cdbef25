"""What a phase minimises: each option against the formula it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from headstart.config.schema import AugmentConfig
from headstart.training.loss import TrainingLoss, class_weights

LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])


def test_balanced_weights_are_scikit_learns() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert class_weights(LABELS, 3).tolist() == pytest.approx(expected.tolist())
    assert class_weights(LABELS, 4)[3] == 0, "a class without images"


def test_class_weights_weigh_each_images_loss() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    weights = class_weights(LABELS, 3)
    objective = TrainingLoss(3, smoothing=0.0, weights=weights)
    _, targets = objective.make_targets(torch.zeros(8, 1), LABELS)
    each = functional.cross_entropy(logits, LABELS, reduction="none")
    assert float(objective(logits, targets)) == pytest.approx(float((weights[LABELS] * each).mean()), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_smoothing_is_torchs_with_and_without_weights(weighted: bool) -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    objective = TrainingLoss(3, smoothing=0.1, weights=torch.ones(3) if weighted else None)
    _, targets = objective.make_targets(torch.zeros(8, 1), LABELS)
    expected = functional.cross_entropy(logits, LABELS, label_smoothing=0.1)
    assert float(objective(logits, targets)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(("kind", "n"), [("mixup", 8), ("cutmix", 8), ("mixup", 7)])
def test_mixed_images_have_targets_in_the_same_proportion(kind: str, n: int) -> None:
    """Each image is one grey value, so that what is in a mixed one can be read off its mean."""
    values = torch.arange(1.0, n + 1)
    images = values[:, None, None, None].expand(n, 3, 16, 16).clone()
    labels = torch.arange(n)
    np.random.seed(3)  # noqa: NPY002 timm's Mixup draws from it
    mixed, targets = TrainingLoss(n, augment=AugmentConfig(**{kind: 1.0})).make_targets(images, labels)
    even = n // 2 * 2
    assert not torch.equal(mixed[:even], values[:even, None, None, None].expand(even, 3, 16, 16))
    assert torch.allclose(mixed.mean((1, 2, 3)), targets @ values, atol=1e-4)
    assert torch.allclose(targets.sum(1), torch.ones(n), atol=1e-6)
    if n > even:
        assert torch.equal(mixed[even:].mean((1, 2, 3)), values[even:]), "the odd one stays as it is"
        assert targets[even:].argmax(1).tolist() == [even]
