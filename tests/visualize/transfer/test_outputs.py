"""What is seen of a depth is what timm's own interface says that its stage puts out."""

import pytest
import timm
import torch

from headstart.visualize.transfer.outputs import watch_outputs


@pytest.mark.parametrize(
    ("name", "stages"),
    [  # depths by the indices of timm's feature maps; a map that lies inside a depth is left out
        ("resnet18", {4: 1, 3: 2, 2: 3, 1: 4}),
        ("tf_efficientnet_lite0", {7: 0, 6: 1, 5: 2, 3: 3}),
        ("convnext_atto", {4: 0, 3: 1, 2: 2}),
        ("densenet121", {}),
    ],
)
def test_outputs_are_those_of_the_stages(name: str, stages: dict[int, int]) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=10).eval()
    images = torch.rand(2, 3, 64, 64)
    found: dict[int, torch.Tensor] = {}
    with torch.no_grad():
        with watch_outputs(model, lambda depth, output: found.update({depth: output.clone()})):
            model(images)
            first = dict(found)
            model(images)  # a second pass is seen as well
        expected = model.forward_intermediates(images, intermediates_only=True)
        pooled = model.forward_head(model.forward_features(images), pre_logits=True)
    assert sorted(found) == list(range(1, max(found) + 1))
    assert all(torch.equal(found[depth], first[depth]) for depth in found)
    torch.testing.assert_close(found[1].flatten(1), pooled.flatten(1)) if 1 not in stages else None
    for depth, stage in stages.items():
        if depth > 1:
            torch.testing.assert_close(found[depth], expected[stage])
    before = len(found)
    model(images)
    assert len(found) == before
