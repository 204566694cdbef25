"""What a phase minimises, and how often it shows what: each option against the formula it stands for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from headstart.config import AugmentConfig
from headstart.data.loading import Batches, Pixels, loader
from headstart.objective import Objective, balanced
from headstart.penalty import L2SP

LABELS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2])


def test_balanced_weights_are_scikit_learns() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert balanced(LABELS, 3).tolist() == pytest.approx(expected.tolist())
    assert balanced(LABELS, 4)[3] == 0, "a class without images"


def test_class_weights_weigh_each_images_loss() -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    weights = balanced(LABELS, 3)
    objective = Objective(3, smoothing=0.0, weights=weights)
    _, targets = objective.targets(torch.zeros(8, 1), LABELS)
    each = functional.cross_entropy(logits, LABELS, reduction="none")
    assert float(objective(logits, targets)) == pytest.approx(float((weights[LABELS] * each).mean()), rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_smoothing_is_torchs_with_and_without_weights(weighted: bool) -> None:
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    objective = Objective(3, smoothing=0.1, weights=torch.ones(3) if weighted else None)
    _, targets = objective.targets(torch.zeros(8, 1), LABELS)
    expected = functional.cross_entropy(logits, LABELS, label_smoothing=0.1)
    assert float(objective(logits, targets)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize(("kind", "n"), [("mixup", 8), ("cutmix", 8), ("mixup", 7)])
def test_mixed_images_have_targets_in_the_same_proportion(kind: str, n: int) -> None:
    """Each image is one grey value, so that what is in a mixed one can be read off its mean."""
    values = torch.arange(1.0, n + 1)
    images = values[:, None, None, None].expand(n, 3, 16, 16).clone()
    labels = torch.arange(n)
    np.random.seed(3)  # noqa: NPY002 timm's Mixup draws from it
    mixed, targets = Objective(n, augment=AugmentConfig(**{kind: 1.0})).targets(images, labels)
    even = n // 2 * 2
    assert not torch.equal(mixed[:even], values[:even, None, None, None].expand(even, 3, 16, 16))
    assert torch.allclose(mixed.mean((1, 2, 3)), targets @ values, atol=1e-4)
    assert torch.allclose(targets.sum(1), torch.ones(n), atol=1e-6)
    if n > even:
        assert torch.equal(mixed[even:].mean((1, 2, 3)), values[even:]), "the odd one stays as it is"
        assert targets[even:].argmax(1).tolist() == [even]


def test_l2_sp_is_its_equation_and_pulls_towards_the_start() -> None:
    start = {"body": torch.tensor([1.0, -2.0])}
    learning = {"body": torch.tensor([2.0, 0.0], requires_grad=True), "head": torch.tensor([3.0], requires_grad=True)}
    penalty = L2SP(alpha=0.1, beta=0.01)(learning, start)
    assert float(penalty.detach()) == pytest.approx(0.05 * (1 + 4) + 0.005 * 9)
    penalty.backward()
    assert learning["body"].grad.tolist() == pytest.approx([0.1 * 1, 0.1 * 2])
    assert learning["head"].grad.tolist() == pytest.approx([0.01 * 3])


def test_balanced_sampling_shows_each_class_as_often_and_is_a_function_of_the_epoch() -> None:
    labels = torch.tensor([0] * 900 + [1] * 80 + [2] * 20)
    names = [str(row) for row in range(1000)]
    drawn = loader(
        Pixels(torch.zeros(1000, 1), labels, names, names), 100, shuffle=True, seed=0, phase="p", balanced=True
    )
    epochs = []
    for epoch in (0, 1, 0):
        drawn.sampler.set_epoch(epoch)
        epochs.append(torch.cat([batch[2] for batch in drawn]))
    counts = labels[epochs[0]].bincount(minlength=3).tolist()
    assert sum(counts) == 1000
    assert all(270 < count < 400 for count in counts), counts
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


def test_each_epoch_shows_one_view_of_each_image_and_in_turn_all_of_them() -> None:
    batches = Batches(10, 4, True, 0, "p", views=3)
    shown = []
    for epoch in range(3):
        batches.set_epoch(epoch)
        rows = torch.cat(list(batches))
        assert sorted((rows // 3).tolist()) == list(range(10))
        shown += rows.tolist()
    assert sorted(shown) == list(range(30))


def test_numpys_generator_goes_on_exactly_where_it_was_even_between_two_normal_deviates() -> None:
    from headstart.module import random_state, set_random_state

    np.random.seed(0)  # noqa: NPY002 timm's Mixup draws from it
    np.random.beta(2.0, 2.0)  # noqa: NPY002 above 1 it draws normal deviates, which come in pairs
    np.random.standard_normal()  # noqa: NPY002
    kept = random_state()
    expected = np.random.standard_normal(3)  # noqa: NPY002
    set_random_state(kept)
    assert np.random.standard_normal(3).tolist() == expected.tolist()  # noqa: NPY002
