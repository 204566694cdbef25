"""Stages of networks of every family: what each depth holds, and how many parameters."""

from __future__ import annotations

import pytest
import timm

from headstart.models import architectures  # noqa: F401
from headstart.models.outline import without_values
from headstart.strategy import plan

# by depth, from the head (ten outputs) to the stem: layers, of more than three the first and the last, and parameters
TABLES = {
    "resnet18": (
        "fc: 5,130",
        "layer4: 8,393,728",
        "layer3: 2,099,712",
        "layer2: 525,568",
        "layer1: 147,968",
        "conv1 bn1: 9,536",
    ),
    "resnetv2_18": (
        "head.fc: 5,130",
        "stages.3 norm: 8,393,216",
        "stages.2: 2,098,944",
        "stages.1: 525,184",
        "stages.0: 147,968",
        "stem: 9,408",
    ),
    "convnext_atto": (
        "head.fc: 3,210",
        "stages.3 head.norm: 1,881,600",
        "stages.2: 1,336,000",
        "stages.1: 124,640",
        "stages.0: 30,240",
        "stem: 2,040",
    ),
    "densenet121": (
        "classifier: 10,250",
        "features.denseblock4 features.norm5: 2,160,128",
        "features.denseblock3 features.transition3: 3,364,096",
        "features.denseblock2 features.transition2: 1,051,776",
        "features.denseblock1 features.transition1: 368,320",
        "features.conv0 features.norm0: 9,536",
    ),
    "regnetx_002": (
        "head.fc: 3,690",
        "s4: 2,074,048",
        "s3: 226,480",
        "s2: 10,304",
        "s1: 4,032",
        "stem: 928",
    ),
    "mobilenetv2_035": (
        "classifier: 12,810",
        "blocks.6 conv_head bn2: 206,960",
        "blocks.5: 103,728",
        "blocks.4: 39,696",
        "blocks.3: 31,632",
        "blocks.2: 10,512",
        "blocks.1: 2,816",
        "blocks.0: 320",
        "conv_stem bn1: 464",
    ),
    "mobilenetv3_small_050": (
        "classifier: 10,250",
        "conv_head: 295,936",
        "blocks.5: 14,400",
        "blocks.4: 182,200",
        "blocks.3: 18,288",
        "blocks.2: 52,272",
        "blocks.1: 4,064",
        "blocks.0: 600",
        "conv_stem bn1: 464",
    ),
    "tf_efficientnet_lite0": (
        "classifier: 12,810",
        "blocks.6 conv_head bn2: 1,017,600",
        "blocks.5: 1,652,640",
        "blocks.4: 446,784",
        "blocks.3: 198,480",
        "blocks.2: 39,712",
        "blocks.1: 13,968",
        "blocks.0: 896",
        "conv_stem bn1: 928",
    ),
    "vgg11_bn": (
        "head.fc: 40,970",
        "pre_logits: 119,545,856",
        "features.22 … features.26: 4,721,664",
        "features.15 … features.19: 3,542,016",
        "features.8 … features.12: 886,272",
        "features.4 features.5: 74,112",
        "features.0 features.1: 1,920",
    ),
    "alexnet": (
        "fc8: 40,970",
        "fc6 fc7: 54,534,144",
        "conv3 conv4 conv5: 2,139,008",
        "conv2: 307,392",
        "conv1: 23,296",
    ),
    "inception_v3": (
        "fc: 20,490",
        "Mixed_7a Mixed_7b Mixed_7c: 12,819,712",
        "Mixed_6a … Mixed_6e: 7,974,656",
        "Mixed_5b Mixed_5c Mixed_5d: 818,528",
        "Conv2d_3b_1x1 Conv2d_4a_3x3: 143,904",
        "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3: 28,768",
    ),
    "inception_resnet_v2": (
        "classif: 15,370",
        "mixed_7a … conv2d_7b: 27,433,152",
        "mixed_6a repeat_1: 25,200,640",
        "mixed_5b repeat: 1,500,000",
        "conv2d_3b conv2d_4a: 143,904",
        "conv2d_1a conv2d_2a conv2d_2b: 28,768",
    ),
    "googlenet": (
        "fc: 10,250",
        "inception5a inception5b: 2,487,536",
        "inception4a … inception4e: 7,159,396",
        "inception3a inception3b: 552,432",
        "conv2: 114,944",
        "conv1: 9,472",
    ),
    "legacy_xception": (
        "fc: 20,490",
        "block12 … bn4: 6,788,384",
        "block3 … block11: 13,827,752",
        "block2: 136,064",
        "block1: 35,264",
        "conv1 … bn2: 19,488",
    ),
    "xception41": (
        "head.fc: 20,490",
        "blocks.11 blocks.12: 10,237,568",
        "blocks.2 … blocks.10: 14,404,112",
        "blocks.1: 205,696",
        "blocks.0: 53,696",
        "stem: 19,488",
    ),
    "nasnetalarge": (
        "last_linear: 40,330",
        "reduction_cell_1 … cell_17: 64,618,176",
        "reduction_cell_0 … cell_11: 16,390,752",
        "cell_0 … cell_5: 3,538,080",
        "conv0 cell_stem_0 cell_stem_1: 173,142",
    ),
    "nasnet_mobile": (
        "classifier: 10,570",
        "stages.2: 3,189,472",
        "stages.1: 843,568",
        "stages.0: 176,528",
        "conv_stem stem_cells: 23,410",
    ),
    "hgnetv2_b0": (
        "head.fc: 20,490",
        "head.last_conv: 2,097,154",
        "stages.3: 1,101,194",
        "stages.2: 639,636",
        "stages.1: 91,786",
        "stages.0: 11,306",
        "stem: 6,474",
    ),
    "hrnet_w18_small": (
        "classifier: 20,490",
        "incre_modules downsamp_modules final_layer: 9,660,544",
        "stage4: 982,208",
        "stage3 transition3: 307,040",
        "stage2 transition2: 70,240",
        "layer1 transition1: 79,584",
        "conv1 … bn2: 38,848",
    ),
    "dla46_c": (
        "fc: 2,570",
        "level5: 609,280",
        "level4: 310,016",
        "level3: 79,104",
        "level2: 36,608",
        "level1: 4,672",
        "level0: 2,336",
        "base_layer: 2,384",
    ),
    "swin_tiny_patch4_window7_224": (
        "head.fc: 7,690",
        "layers.3 norm: 15,368,112",
        "layers.2: 10,955,400",
        "layers.1: 966,252",
        "layers.0: 224,694",
        "patch_embed: 4,896",
    ),
    "hiera_tiny_224": (
        "head.fc: 7,690",
        "blocks.10 blocks.11 head.norm: 13,587,456",
        "blocks.3 … blocks.9: 12,273,792",
        "blocks.1 blocks.2: 852,864",
        "blocks.0: 111,840",
        "pos_embed patch_embed: 315,264",
    ),
    "resnet20_cifar": (
        "head.weight head.bias: 650",
        "stages.2: 203,520",
        "stages.1: 51,072",
        "stages.0: 14,016",
        "stem: 464",
    ),
    "densenet_bc_100_12": (
        "classifier: 3,430",
        "stages.2 norm: 322,764",
        "stages.1: 266,640",
        "stages.0: 175,680",
        "stem: 648",
    ),
    "shake_shake_26_2x32d": (
        "head.weight head.bias: 1,290",
        "stages.2: 2,224,384",
        "stages.1: 557,184",
        "stages.0: 139,840",
        "stem: 464",
    ),
    "stacked_kernels": (
        "head.weight head.bias: 650",
        "stages.1: 110,976",
        "stages.0: 110,976",
        "stem: 320",
    ),
    "lenet5": (
        "fc: 850",
        "f6: 10,164",
        "c5: 48,120",
        "c3 s4: 1,548",
        "c1 s2: 468",
    ),
}
BRANCHES = ("features", "stages", "blocks", "layers", "head")  # of these the second part of a name counts too


def tabulate(name: str) -> list[tuple[str, int, bool]]:
    """The layers of each depth, its parameters, and whether it has a weight matrix."""
    with without_values():
        model = timm.create_model(name, num_classes=10)
    shapes = {key: parameter.ndim for key, parameter in model.named_parameters()}
    depths: dict[int, list[plan.Parameter]] = {}
    for parameter in plan.list_parameters(model):
        depths.setdefault(parameter.depth, []).append(parameter)
    rows = []
    for _, held in sorted(depths.items()):
        parts = [each.name.split(".") for each in held]
        layers = list(dict.fromkeys(".".join(part[: 2 if part[0] in BRANCHES else 1]) for part in parts))
        shown = layers if len(layers) < 4 else [layers[0], "…", layers[-1]]
        rows.append((" ".join(shown), sum(each.count for each in held), any(shapes[each.name] > 1 for each in held)))
    return rows


@pytest.mark.parametrize("name", TABLES)
def test_each_depth_is_a_stage(name: str) -> None:
    rows = tabulate(name)
    assert tuple(f"{layers}: {count:,}" for layers, count, _ in rows) == TABLES[name]
    assert all(has_matrix for _, _, has_matrix in rows), "none is a norm alone"


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "beit_base_patch16_224"])
def test_a_block_of_a_transformer_is_a_stage(name: str) -> None:
    rows = tabulate(name)
    assert [layers.split()[0] for layers, _, _ in rows[1:-1]] == [f"blocks.{block}" for block in reversed(range(12))]
    assert rows[1][0].split()[1] in ("norm", "fc_norm"), "the last norm belongs to the last block"
    assert rows[-1][0].split()[0] == "cls_token"
