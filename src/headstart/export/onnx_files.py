"""A network as ONNX graphs, which run without torch: the bare one, and one from pixels to calibrated probabilities."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from headstart.errors import RunFailed, UserError
from headstart.export import onnx_pixels
from headstart.export.onnx_builder import Builder

if TYPE_CHECKING:
    from headstart.predict.network import Network

MODEL, BARE = "model.onnx", "network.onnx"
LOGITS, PROBABILITIES = "logits", "probabilities"
# of the pictures of the check, in input sizes; the last is a strip
SIZES = ((1.0, 1.0), (0.6, 1.7), (3.3, 2.1), (1.3, 1.3), (2.9, 0.9), (0.3, 6.0))
BATCHES = (1, 3)
CLOSE, CLOSE_LOGITS = 1e-4, 1e-4  # the largest differences from PyTorch: of a probability; of a logit, relative


@dataclass(frozen=True)
class Compared:
    """How far the graphs' numbers are from PyTorch's: the largest differences, over so many pictures."""

    images: int
    difference: float
    logits: float


def write_graphs(network: Network, folder: Path) -> Compared:
    """Write both graphs, and compare them with PyTorch.

    Raises:
        UserError: the packages are missing, or the network cannot become a graph.
        RunFailed: a graph computes something else than the network.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"--onnx needs {error.name}, which is not installed: pip install 'headstart[export]'"
        ) from error
    bare = _export(network, folder / BARE)
    onnx.save(complete(network, bare), folder / MODEL)
    return Compared(len(SIZES), _check_whole(network, folder / MODEL), _check_bare(network, folder / BARE))


def complete(network: Network, bare: Any) -> Any:
    """The graph from pixels to calibrated probabilities, around one from normalised images to logits."""
    import onnx

    size = network.transform.square.size
    pixels = onnx_pixels.build(network.transform.input, size, bare.opset_import, bare.ir_version)
    whole = onnx.compose.merge_models(pixels, bare, io_map=[(onnx_pixels.IMAGES, onnx_pixels.IMAGES)])
    answers = _build_answers(len(network.classes), network.temperature or 1.0, bare)
    whole = onnx.compose.merge_models(whole, answers, io_map=[(LOGITS, LOGITS)])
    onnx.helper.set_model_props(whole, _describe(network))
    onnx.checker.check_model(whole)
    return whole


def _export(network: Network, path: Path) -> Any:
    """Export the bare network with a batch of any size; returns the graph."""
    import onnx

    side = network.image_size
    example = torch.zeros(2, 3, side, side)  # of two: torch freezes a batch of one
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network.network.eval(),
                (example,),
                path,
                dynamo=True,
                external_data=False,
                input_names=[onnx_pixels.IMAGES],
                output_names=[LOGITS],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except (RuntimeError, torch.onnx.OnnxExporterError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"--onnx: {network.name} cannot become a graph ({reason}): export it without --onnx") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    graph = onnx.load(path)
    for node in graph.graph.node:  # where in which file of this machine each operator comes from
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.graph.value_info, *graph.graph.initializer):
        del value.metadata_props[:]
    del graph.metadata_props[:], graph.graph.metadata_props[:]
    onnx.helper.set_model_props(graph, _describe(network))
    onnx.save(graph, path)
    return graph


def _build_answers(classes: int, temperature: float, like: Any) -> Any:
    """The graph from logits [1, classes] to probabilities [classes]."""
    from onnx import TensorProto, helper

    build = Builder("answers")
    cool = build.add("Div", LOGITS, build.constant(temperature, np.float32))
    shares = build.add("Softmax", cool, axis=1)
    build.add("Squeeze", shares, build.constant([0], np.int64), output=PROBABILITIES)
    given = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [1, classes])
    made = helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [classes])
    return build.finish([given], [made], like.opset_import, like.ir_version)


def _describe(network: Network) -> dict[str, str]:
    """What a graph's metadata say: the classes, and by what the logits are divided."""
    temperature = "none" if network.temperature is None else repr(network.temperature)
    return {"labels": json.dumps(network.classes, ensure_ascii=False), "temperature": temperature}


def _run(path: Path, values: dict[str, np.ndarray]) -> np.ndarray:
    """The first output of a graph."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, values)[0])


def _check_whole(network: Network, path: Path) -> float:
    """The largest difference of a probability from the network's own, for pictures of several shapes."""
    pictures = [_draw(network.image_size, at, *shape) for at, shape in enumerate(SIZES)]
    with torch.inference_mode():
        logits = network.module(network.normalize(network.decode(pictures)))
        own = (logits / (network.temperature or 1.0)).softmax(1).numpy()
    found = np.stack([_run(path, {onnx_pixels.PIXELS: picture}) for picture in pictures])
    worst = float(np.abs(found - own).max())
    if not worst <= CLOSE:
        raise RunFailed(f"{MODEL}: its probabilities differ from PyTorch's by up to {worst:.1g}; it is not kept")
    return worst


def _check_bare(network: Network, path: Path) -> float:
    """The largest difference of a logit from the network's own, in batches of several sizes."""
    side, worst = network.image_size, 0.0
    for n in BATCHES:
        images = torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(n))
        with torch.inference_mode():
            own = network.module(images).numpy()
        off = float(np.abs(_run(path, {onnx_pixels.IMAGES: images.numpy()}) - own).max())
        if not off <= CLOSE_LOGITS * max(1.0, float(np.abs(own).max())):
            raise RunFailed(f"{BARE}: its logits differ from PyTorch's by up to {off:.1g}; it is not kept")
        worst = max(worst, off)
    return worst


def _draw(side: int, seed: int, height: float, width: float) -> np.ndarray:
    """A picture of soft blobs with some noise, uint8 [h, w, 3]: its pixels hang together as those of photographs."""
    generator = np.random.default_rng(seed)
    blobs = torch.from_numpy(generator.random((1, 3, 6, 6), dtype=np.float32))
    shape = (max(8, round(height * side)), max(8, round(width * side)))
    smooth = torch.nn.functional.interpolate(blobs, size=shape, mode="bicubic")[0].permute(1, 2, 0).numpy()
    noisy = 255 * smooth + generator.normal(0, 8, (*shape, 3))
    return np.asarray(noisy.clip(0, 255).astype(np.uint8))
