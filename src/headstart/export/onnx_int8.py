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
from PIL import Image

from headstart.data.decode import decode
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
    accuracy, own = _measure(network, data, test, folder / NAME)
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


def _measure(network: Network, data: Data, test: Part, whole: Path) -> tuple[float, float]:
    """The accuracies of the graph, which gets images as the run decodes them, and of the run's network."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(whole), providers=["CPUExecutionProvider"])
    found = np.zeros(len(test), dtype=np.int64)
    with progress.task("testing the 8-bit graph", len(test)) as work:
        for at, row in enumerate(test.rows.tolist()):
            (shares,) = session.run(
                None, {onnx_pixels.PIXELS: _as_colour(test.split.images[row], network.transform.enough)}
            )
            found[at], work.done = shares.argmax(), at + 1
    own = torch.cat([logits.values for logits in network.compute_logits(data.make_reader(test))]).argmax(1).numpy()
    return float((found == test.labels).mean()), float((own == test.labels).mean())


def _as_colour(image: Image.Image | np.ndarray, enough: int) -> np.ndarray:
    """An image of a data set as the graph takes it: uint8 [H, W, 3], upright; see `headstart.data.decode.decode`."""
    pixels = decode(image, enough) if isinstance(image, Image.Image) else image
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2))
