"""The whole graph with a network of 8-bit integers: a quarter of the size, and an accuracy that is measured here.

Static quantisation by onnxruntime: weights in int8 with a scale for each output channel, activations in uint8 with the
ranges that training images give them. Without VNNI an x86 CPU adds pairs of products in 16 bits, which overflow; there
the weights keep to 7 bits (`reduce_range`).
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.errors import RunFailed
from headstart.export import onnx_files, onnx_pixels
from headstart.tracking import progress
from headstart.visualize.run_data import read_run_data

if TYPE_CHECKING:
    from headstart.data.dataset import Data
    from headstart.data.splits import Part
    from headstart.predict.network import Network

NAME = "model.int8.onnx"
IMAGES = 256  # training images at most, that give the ranges
BATCH = 32
CLOSE = 0.05  # a pixel on the border of two integers may fall to either side, so probabilities are not equal to the bit


@dataclass(frozen=True)
class Measured:
    """What the 8-bit graph costs: accuracies on the run's test images, both measured on this machine.

    Attributes:
        share: size of the file, as a share of network.onnx.
        accuracy, own: of the 8-bit graph, and of the run's network; from 0 to 1.
        images, calibrated: number of test images, and of training images that gave the ranges.
        reduced: whether the weights have 7 bits, because this CPU has no VNNI.
    """

    share: float
    accuracy: float
    own: float
    images: int
    calibrated: int
    reduced: bool

    def describe(self) -> str:
        """A sentence with the numbers."""
        cpu = "weights of 7 bits, as this CPU has no VNNI" if self.reduced else "on a CPU that adds 8-bit products"
        return (
            f"accuracy {100 * self.accuracy:.1f} % against {100 * self.own:.1f} % of the run's network on "
            f"{self.images:,} test images ({100 * (self.accuracy - self.own):+.1f} points; {cpu}), "
            f"{self.share:.2f} of the size of {onnx_files.BARE}"
        )


def write_int8(network: Network, folder: Path) -> Measured:
    """Quantise the folder's network.onnx, write the graph from pixels to probabilities, and measure it.

    Raises:
        UserError: the run's images are not there any more.
        RunFailed: the graph with the preparation of pixels computes something else than the one without.
    """
    import onnx

    data = read_run_data(network)
    train, test = data.parts["train"], data.parts["test"]
    rows = np.random.default_rng(0).permutation(len(train))[:IMAGES]
    reduced = not has_8_bit_products()
    with TemporaryDirectory(prefix="headstart-int8-") as scratch:
        bare = Path(scratch) / onnx_files.BARE
        with progress.task("8-bit graph"):
            _quantise(folder / onnx_files.BARE, bare, _read(network, data, train.at(np.sort(rows))), reduced=reduced)
        onnx.save(onnx_files.complete(network, onnx.load(bare)), folder / NAME)
        _check(network, bare, folder / NAME)
        accuracy, own = _measure(network, data, test, bare)
    share = (folder / NAME).stat().st_size / (folder / onnx_files.BARE).stat().st_size
    return Measured(share, accuracy, own, len(test), len(rows), reduced)


def has_8_bit_products() -> bool:
    """Whether this CPU adds products of 8-bit integers without overflow: ARM does, x86 with VNNI only."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(found.get("avx512_vnni") or found.get("avx_vnni"))


def _quantise(source: Path, target: Path, batches: Iterator[np.ndarray], *, reduced: bool) -> None:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        def get_next(self) -> Any:
            images = next(batches, None)
            return None if images is None else {onnx_pixels.IMAGES: images}

    prepared = target.with_suffix(".prepared.onnx")
    root = logging.getLogger()
    level = root.level
    try:
        root.setLevel(logging.ERROR)  # onnxruntime logs to it that a graph ought to be prepared, when it is
        # the exported graph has its shapes; the symbolic inference, which may fail, would find the same
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduced,
        )
    finally:
        root.setLevel(level)


def _read(network: Network, data: Data, part: Part) -> Iterator[np.ndarray]:
    """Yield the images of a part as the network sees them, float32 [b, 3, s, s]."""
    reader = data.make_reader(part)
    for rows in torch.arange(len(part)).split(BATCH):
        yield network.normalize(reader(rows)).contiguous().numpy()


def _check(network: Network, bare: Path, whole: Path) -> None:
    """Raise RunFailed unless the whole graph answers as the quantised network on the run's own pixels."""
    for picture in onnx_files.draw_pictures(network.image_size):
        images = network.normalize(network.decode([picture])).contiguous().numpy()
        logits = torch.from_numpy(onnx_files.compute(bare, {onnx_pixels.IMAGES: images}))
        own = (logits / (network.temperature or 1.0)).softmax(1)[0].numpy()
        worst = float(np.abs(onnx_files.compute(whole, {onnx_pixels.PIXELS: picture}) - own).max())
        if not worst <= CLOSE:
            raise RunFailed(f"{NAME}: its probabilities differ by {worst:.1g} from its own network's; it is not kept")


def _measure(network: Network, data: Data, test: Part, bare: Path) -> tuple[float, float]:
    """The accuracies of the quantised network and of the run's, on equal pixels."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bare), providers=["CPUExecutionProvider"])
    found, own = [], []
    with progress.task("testing the 8-bit graph", len(test)) as work:
        for images in _read(network, data, test):
            found.append(session.run(None, {onnx_pixels.IMAGES: images})[0].argmax(1))
            with torch.inference_mode():
                own.append(network.module(torch.from_numpy(images)).argmax(1).numpy())
            work.done += len(images)
    return tuple(float((np.concatenate(each) == test.labels).mean()) for each in (found, own))  # type: ignore[return-value]
