"""The names of the classes of networks that were trained on ImageNet or one of its larger sets."""

from collections import Counter


def name_classes(outputs: int, *, trained: bool) -> list[str]:
    """A name for each output: WordNet's words where the number of outputs is that of a set of ImageNet classes.

    Two classes with the same words (crane, the bird and the machine) get the number of their synset behind them.

    Args:
        trained: whether the weights are trained ones; the outputs of random ones mean nothing.
    """
    from timm.data import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": outputs}) if trained else None
    if subset is None:
        return [f"class {index}" for index in range(outputs)]
    info = ImageNetInfo(subset)
    words = info.label_descriptions()
    count = Counter(words)
    return [
        f"{word} ({code})" if count[word] > 1 else word for word, code in zip(words, info.label_names(), strict=True)
    ]
