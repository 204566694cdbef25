"""The Keras Applications table: 21 networks with their published figures, and which network here stands for each.

Source: keras.io/api/applications. Top-1 and top-5 are ImageNet validation accuracies of Keras' own weights; Keras timed
on an AMD EPYC with 92 cores and a Tesla A100, batch 32, mean of 30 batches in 10 repetitions. Its parameter counts
include the running statistics of batch norms, torch's do not, which makes up to 2 % of difference. Its depth counts
layers with parameters, batch norms included; a depthwise-separable convolution is one.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row: Keras' name and figures, and the config (``model=…``) and timm name of the same network here."""

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


V1 = "stride in the 3x3 of a bottleneck (v1.5), in Keras in its first 1x1; no biases in convolutions"
V2 = "no biases in convolutions"
SCALES = "batch norms with scales, in Keras without"

ROWS: tuple[Published, ...] = (
    Published("Xception", "xception", "legacy_xception", 88, 79.0, 94.5, 22.9, 81, 109.4, 8.1),
    Published("VGG16", "vgg16", "vgg16", 528, 71.3, 90.1, 138.4, 16, 69.5, 4.2),
    Published("VGG19", "vgg19", "vgg19", 549, 71.3, 90.0, 143.7, 19, 84.8, 4.4),
    Published("ResNet50", "resnet50", "resnet50", 98, 74.9, 92.1, 25.6, 107, 58.2, 4.6, V1),
    Published("ResNet50V2", "resnetv2_50", "resnetv2_50", 98, 76.0, 93.0, 25.6, 103, 45.6, 4.4, V2),
    Published("ResNet101", "resnet101", "resnet101", 171, 76.4, 92.8, 44.7, 209, 89.6, 5.2, V1),
    Published("ResNet101V2", "resnetv2_101", "resnetv2_101", 171, 77.2, 93.8, 44.7, 205, 72.7, 5.4, V2),
    Published("ResNet152", "resnet152", "resnet152", 232, 76.6, 93.1, 60.4, 311, 127.4, 6.5, V1),
    Published(
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
        f"{V2}; timm has no weights for it",
    ),
    Published("InceptionV3", "inception_v3", "inception_v3", 92, 77.9, 93.7, 23.9, 189, 42.2, 6.9, SCALES),
    Published(
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
        SCALES,
    ),
    Published("MobileNet", "mobilenet_v1", "mobilenetv1_100", 16, 70.4, 89.5, 4.3, 55, 22.6, 3.4, "timm's own recipe"),
    Published("MobileNetV2", "mobilenet_v2", "mobilenetv2_100", 14, 71.3, 90.1, 3.5, 105, 25.9, 3.8),
    Published("DenseNet121", "densenet121", "densenet121", 33, 75.0, 92.3, 8.1, 242, 77.1, 5.4),
    Published("DenseNet169", "densenet169", "densenet169", 57, 76.2, 93.2, 14.3, 338, 96.4, 6.3),
    Published("DenseNet201", "densenet201", "densenet201", 80, 77.3, 93.6, 20.2, 402, 127.2, 6.7),
    Published("NASNetMobile", "nasnet_mobile", "nasnet_mobile", 23, 74.4, 91.9, 5.3, 389, 27.0, 6.7),
    Published("NASNetLarge", "nasnet_large", "nasnetalarge", 343, 82.5, 96.0, 88.9, 533, 344.5, 20.0),
    Published("EfficientNetB0", "efficientnet_b0", "efficientnet_b0", 29, 77.1, 93.3, 5.3, 132, 46.0, 4.9),
    Published(
        "EfficientNetB1", "efficientnet_b1", "efficientnet_b1", 31, 79.1, 94.4, 7.9, 186, 60.2, 5.6, "timm's own recipe"
    ),
    Published(
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
        "sees 256 px, in Keras 260",
    ),
)
