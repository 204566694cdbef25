"""ImageNet accuracies that timm publishes for the weights that its names load, and how each of them was trained."""

# Top-1 and top-5 in %, and the side of the images in pixels on which timm measured them, which is often larger than the
# one that the network was trained for. Source: results/results-imagenet.csv of github.com/huggingface/
# pytorch-image-models; of the two ra4 recipes its README. The first row of a network is of the weights that its name
# loads without a tag.
TIMM_ACCURACIES: dict[str, tuple[float, float, int]] = {
    "convnext_atto.d2_in1k": (77.008, 93.702, 288),
    "convnext_tiny.in12k_ft_in1k": (84.45, 97.34, 288),
    "densenet121.ra_in1k": (76.5, 93.368, 288),
    "efficientnet_b0.ra_in1k": (77.694, 93.532, 224),
    "efficientnet_b1.ra4_e3600_r240_in1k": (81.44, 95.7, 288),
    "efficientnet_b1.ft_in1k": (78.8, 94.342, 256),
    "efficientnet_b2.ra_in1k": (80.61, 95.314, 288),
    "efficientnet_b3.ra2_in1k": (82.242, 96.118, 320),
    "efficientnet_b4.ra2_in1k": (83.414, 96.598, 384),
    "efficientnet_b5.sw_in12k_ft_in1k": (85.892, 97.736, 448),
    "efficientnet_lite0.ra_in1k": (75.48, 92.522, 224),
    "inception_resnet_v2.tf_in1k": (80.462, 95.308, 299),
    "inception_v3.tf_in1k": (77.862, 93.644, 299),
    "legacy_xception.tf_in1k": (79.04, 94.382, 299),
    "mobilenetv1_100.ra4_e3600_r224_in1k": (76.094, 93.004, 256),
    "mobilenetv2_100.ra_in1k": (72.976, 91.01, 224),
    "mobilenetv3_large_100.ra_in1k": (75.766, 92.538, 224),
    "mobilenetv3_small_050.lamb_in1k": (57.91, 80.18, 224),
    "mobilenetv3_small_075.lamb_in1k": (65.234, 85.446, 224),
    "mobilenetv3_small_100.lamb_in1k": (67.656, 87.636, 224),
    "nasnetalarge.tf_in1k": (82.626, 96.042, 331),
    "regnety_008.pycls_in1k": (76.302, 93.06, 224),
    "resnet18.a1_in1k": (73.158, 91.026, 288),
    "resnet34.a1_in1k": (77.918, 93.766, 288),
    "resnet50.a1_in1k": (81.214, 95.102, 288),
    "resnet50.a2_in1k": (80.772, 94.988, 288),
    "resnet50.a3_in1k": (78.048, 93.78, 224),
    "resnet50.tv2_in1k": (80.85, 95.434, 224),
    "resnet101.a1h_in1k": (82.778, 96.31, 288),
    "resnet152.a1h_in1k": (83.45, 96.538, 288),
    "resnetv2_50.a1h_in1k": (81.398, 95.726, 288),
    "resnetv2_101.a1h_in1k": (83.002, 96.454, 288),
    "resnext50_32x4d.a1h_in1k": (82.014, 95.934, 288),
    "tf_efficientnet_b6.aa_in1k": (84.116, 96.88, 528),
    "tf_efficientnet_b7.aa_in1k": (84.414, 96.906, 600),
    "tf_efficientnet_lite0.in1k": (74.83, 92.172, 224),
    "tf_efficientnet_lite1.in1k": (76.644, 93.23, 240),
    "tf_efficientnet_lite2.in1k": (77.464, 93.75, 260),
}

# Networks whose name without a tag loads other weights than those above.
TAGGED_ONLY = ("tf_efficientnet_b6", "tf_efficientnet_b7")

# What the first part of a tag says of the training. Sources: timm's model cards; Wightman et al. 2021 for A1.
RECIPES = {
    "a1": "timm's recipe A1 (ResNet strikes back: 600 epochs, LAMB, mixup, cutmix)",
    "a1h": "timm's recipe A1 with stronger augmentation (ResNet strikes back)",
    "d2": "timm's ConvNeXt recipe",
    "lamb": "timm's recipe with LAMB",
    "ft": "fine-tuned by timm from its own weights",
    "in12k": "pretrained on ImageNet-12k, then fine-tuned",
    "sw": "pretrained on ImageNet-12k, then fine-tuned",
    "pycls": "Facebook's weights (pycls)",
    "ra": "timm's RandAugment recipe (RMSProp)",
    "ra2": "timm's RandAugment recipe (RMSProp)",
    "ra4": "timm's long recipe with RandAugment (3600 epochs)",
    "aa": "Google's weights, trained with AutoAugment",
    "tf": "converted from TensorFlow's weights",
    "tv": "torchvision's first weights",
}


def describe_recipe(tag: str) -> str:
    """How the weights with timm's tag were trained, or what the tag leaves open."""
    first = tag.partition("_")[0]
    return RECIPES.get(first, f"how they were trained is not known here; timm's page of {tag} says it") if tag else ""
