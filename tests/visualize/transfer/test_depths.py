"""The tensors of each depth, and how far they moved."""

from typing import Any

import pytest
import timm
import torch

from headstart.models.head import name_head_tensors
from headstart.models.outline import without_values
from headstart.visualize.transfer.depths import has_changed, list_depths, measure_distance

NETWORKS = ("resnet18", "tf_efficientnet_lite0", "densenet121", "vgg11_bn", "convnext_atto", "inception_v3")


@pytest.fixture(scope="module", params=NETWORKS)
def model(request: pytest.FixtureRequest) -> Any:
    with without_values():
        return timm.create_model(request.param, num_classes=10)


def test_each_tensor_of_the_backbone_has_one_depth(model: Any) -> None:
    depths = list_depths(model)
    assert [depth.number for depth in depths] == list(range(len(depths), 0, -1))
    listed = [name for depth in depths for name in depth.tensors]
    assert sorted(listed) == sorted(model.state_dict().keys() - name_head_tensors(model))


def test_statistics_stand_with_the_weights_of_their_layer(model: Any) -> None:
    for depth in list_depths(model):
        for name in depth.buffers:
            assert f"{name.rpartition('.')[0]}.weight" in depth.parameters


def test_names_of_layers() -> None:
    with without_values():
        depths = list_depths(timm.create_model("resnet18", num_classes=10))
    assert [depth.layers for depth in depths] == ["conv1, bn1", "layer1", "layer2", "layer3", "layer4"]


def test_distance_is_relative_to_the_size_of_all_tensors_together() -> None:
    start = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([12.0]), "count": torch.tensor(5)}
    end = {"a": torch.tensor([3.0, 4.0]), "b": torch.tensor([12.0 - 6.5]), "count": torch.tensor(500)}
    assert measure_distance(start, start, end) == pytest.approx(0.5)
    assert measure_distance(["count"], start, end) is None
    assert measure_distance([], start, end) is None


def test_a_depth_has_changed_if_a_single_number_of_it_has() -> None:
    model = timm.create_model("resnet18", num_classes=10)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.layer2[0].bn1.running_var[3] += 1e-3
    changed = [depth.layers for depth in list_depths(model) if has_changed(depth, start, model.state_dict())]
    assert changed == ["layer2"]
