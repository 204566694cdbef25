"""Export a run: refuse what no other library could load, write the folder, and check it against the run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from headstart.config.schema import ModelConfig
from headstart.errors import RunFailed, UserError
from headstart.export import app, card, lineage, timm_config
from headstart.export.folder import check_target, write_folder
from headstart.models import factory
from headstart.models.head import find_head
from headstart.models.input import read_timm_config
from headstart.predict.run import load_run, read_config
from headstart.probe.knn import Neighbours
from headstart.storage.files import write_text

if TYPE_CHECKING:
    from headstart.export.onnx_int8 import Measured
    from headstart.predict.network import Network

EXAMPLES = 2  # images of noise on which the folder's network is compared with the run's


@dataclass(frozen=True)
class Options:
    """What is asked of an export.

    Attributes:
        onnx: ONNX graphs as well.
        int8: also a graph of 8-bit integers, which needs the others.
        calibrated: the temperature is put into the last layer, so that every library gives calibrated probabilities.
        app: a page by gradio as well, which runs as a Space.
    """

    onnx: bool = False
    int8: bool = False
    calibrated: bool = False
    app: bool = False


@dataclass(frozen=True)
class Exported:
    """The files of an export, and how its 8-bit graph, if there is one, compares with the run."""

    files: list[Path]
    int8: Measured | None = None


def export(run: Path, target: Path, options: Options) -> Exported:
    """Write the network of a completed run as a folder in timm's format.

    Raises:
        UserError: the run has no network that timm could load, or the folder holds something else.
        RunFailed: what was written computes something else than the run; nothing is left of it.
    """
    check_target(target, run)
    network = load_run(run, torch.device("cpu"))
    refuse_own_head(network)
    network.network.to(memory_format=torch.contiguous_format)
    if options.calibrated:
        network = put_temperature_into_head(network)
    config = read_config(run)
    ancestors = lineage.trace(run)
    licence = lineage.derive_licence(ancestors)
    described = timm_config.make_config(network, config.model.args, licence=licence, run=run.resolve().name)
    with write_folder(target, run) as part:
        _save(network.network, part / "model.safetensors")
        write_text(part / "config.json", json.dumps(described, indent=2, ensure_ascii=False) + "\n")
        check_folder(part, network)
        graphs = int8 = None
        if options.onnx:
            from headstart.export.onnx_files import write_graphs

            graphs = write_graphs(network, part)
        if options.int8:
            from headstart.export.onnx_int8 import write_int8

            int8 = write_int8(network, part)
        if options.app:
            app.write_app(network, part, title=f"{network.name} on {config.data.name}")
        front = app.FRONT_MATTER if options.app else {}
        written = card.write(run, network, ancestors, graphs, int8=int8, in_head=options.calibrated, front=front)
        write_text(part / "README.md", written)
    return Exported([target / path.name for path in sorted(target.iterdir())], int8)


def refuse_own_head(network: Network) -> None:
    """Raise UserError for a run whose head is no layer of its network, so that no timm network could hold it."""
    if network.own_head is None:
        return
    head = network.own_head[1] if isinstance(network.own_head, nn.Sequential) else network.own_head
    if isinstance(head, Neighbours):
        what = (
            "answers by its nearest training images, whose features it keeps: that is no layer of a network, and would "
            "hand on what was learnt of each image"
        )
    else:
        what = "has a head on other features than the network's own head reads (several stages or poolings)"
    raise UserError(
        f"{network.folder}: {what}. Train it again with a head that the network can take as its own, and export that: "
        "head=logistic or head=ridge without layers and poolings, head=gradient, or strategy=finetune"
    )


def put_temperature_into_head(network: Network) -> Network:
    """Divide the weights of the last layer by the temperature, in place; that of the returned network is 1.

    Raises:
        UserError: it has no temperature, or no last layer whose outputs are the logits.
    """
    temperature, head = network.get_temperature(), find_head(network.network)
    before = _compute_noise(network.network, network.image_size)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.div_(temperature)
    after = _compute_noise(network.network, network.image_size)
    if not torch.allclose(after, before / temperature, rtol=1e-4, atol=1e-5):
        raise UserError(
            f"--calibrated: the head of {network.name} is no single linear layer, so its weights cannot hold the "
            "temperature: export without --calibrated, then config.json has it"
        )
    return replace(network, temperature=1.0)


def _compute_noise(model: nn.Module, side: int) -> torch.Tensor:
    """The logits of some images of noise, the same at every call."""
    images = torch.randn(EXAMPLES, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits: torch.Tensor = model.eval()(images)
        return logits


def _save(model: nn.Module, path: Path) -> None:
    """Write all tensors of a network as safetensors, and nothing but their format in the metadata."""
    from safetensors.torch import save_file

    # each in memory of its own, as safetensors wants it; transformers reads no file that does not name its format
    state = {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, path, metadata={"format": "pt"})


def check_folder(folder: Path, network: Network) -> None:
    """Raise RunFailed unless timm, from the folder alone, computes the run's logits to the bit from equal images."""
    import timm

    source = f"local-dir:{folder}"
    try:
        found = timm.create_model(source, pretrained=True).eval()
    except Exception as error:  # whatever its constructor or the loading raises
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise RunFailed(f"{network.name}: timm cannot load what was exported ({reason}); it is not kept") from error
    own = _compute_noise(network.network, network.image_size)
    if not torch.equal(_compute_noise(found, network.image_size), own):
        raise RunFailed(f"{network.name}: what timm loads from the exported folder computes other logits than the run")
    stated, _ = factory.read_external_config(ModelConfig(network.name, source))
    expected = read_timm_config(stated, source)
    if expected != network.transform.input:
        raise RunFailed(f"the exported folder states other preprocessing than the run: {expected}")
