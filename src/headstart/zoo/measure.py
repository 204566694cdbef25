"""What is measured of one network, each in a process of its own (see `headstart.zoo.children`).

Weights are random: neither time nor memory depends on their values, and nothing is downloaded.
"""

import fnmatch
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch

from headstart.config.schema import HardwareConfig
from headstart.errors import nearest_names
from headstart.models import cost
from headstart.models.published import torchvision as published_by_torchvision
from headstart.runtime import hardware
from headstart.zoo.plan import WARM_UP, Plan


def machine() -> Iterator[dict[str, Any]]:
    """The fields of `headstart.zoo.plan.Machine`."""
    facts = hardware.describe(HardwareConfig(accelerator="cpu", precision="32"))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    versions = f"torch {torch.__version__}, timm {timm.__version__}"
    yield {"cpu": facts["device"], "threads": facts["threads"], "gpu": gpu, "versions": versions}


def names(patterns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The names of timm's and our own networks that match, in order; `unknown` says what matches nothing."""
    known = timm.list_models()
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            bare = pattern.strip("*?[]")
            near = [name for name in known if bare and bare in name][:3]
            near = near or nearest_names(bare, known, limit=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "see timm.list_models()"
            yield {"unknown": f"{pattern}: timm knows no such network; {hint}"}
            return
        found |= dict.fromkeys(matching)
    yield {"names": list(found)}


def measure(name: str, plan: Plan) -> Iterator[dict[str, Any]]:
    """Everything about one network, in parts, so that what fails late does not take along what was found before."""
    model = _outline(name)
    yield published(name, model)
    yield {
        "input_px": input_size(model)[-1],
        "size_mb": cost.compute_size_mb(model),
        "parameters": cost.count_parameters(model),
        "depth": cost.count_layers(model),
    }
    yield {"gmacs": _gmacs(name, model)}
    for device in plan.devices:
        yield timed(name, torch.device(device), plan)


def published(name: str, model: Any) -> dict[str, Any]:
    """ImageNet accuracies, in %, of torchvision's weights where they are weights of this very network; else nothing."""
    if model.pretrained_cfg.get("tag") == "untrained" or not timm.list_pretrained(f"{name}.tv_in1k"):
        return {}
    found = published_by_torchvision(name)
    return {} if found is None else {"top1": found.top1, "top5": found.top5, "source": found.source}


def _outline(name: str) -> Any:
    """The network without memory; one that cannot be built without has it."""
    try:
        with torch.device("meta"):
            return timm.create_model(name)
    except Exception:
        return timm.create_model(name)


def _gmacs(name: str, model: Any) -> float:
    """Without arithmetic, if the network's forward pass can do without."""
    channels, _, side = input_size(model)
    try:
        return cost.count_gmacs(model.requires_grad_(False), side, channels)
    except Exception:
        return cost.count_gmacs(timm.create_model(name).requires_grad_(False), side, channels)


def input_size(model: Any) -> tuple[int, int, int]:
    """Channels, height and width of the image that a network was made for."""
    return tuple(model.pretrained_cfg["input_size"])


def timed(name: str, device: torch.device, plan: Plan) -> dict[str, Any]:
    """Median milliseconds of a forward pass, and peak memory in units of 2^20 bytes.

    On the CPU: how far the process' resident memory, at its highest while the network works, lies above what it was
    before there was a network; on a GPU: the most that torch had allocated there. Both hold weights, activations and
    scratch space.
    """
    _touch_libraries(device)
    before = _peak_mb(device)
    model = timm.create_model(name)
    shape = (plan.batch, *input_size(model))
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    images = torch.rand(shape, device=device).contiguous(memory_format=torch.channels_last)
    config = HardwareConfig(precision=plan.precision)
    _forget_peak(device)
    with torch.inference_mode(), hardware.autocast(config, device):
        seconds = [_step(model, images, device) for _ in range(WARM_UP + plan.repeats)][WARM_UP:]
    after, ms = _peak_mb(device), 1000 * median(seconds)
    if device.type == "cuda":
        return {"ms_gpu": ms, "peak_gpu_mb": after}
    return {"ms_cpu": ms, "peak_mb": None if before is None or after is None else after - before}


def _step(model: Any, images: torch.Tensor, device: torch.device) -> float:
    began = time.perf_counter()
    model(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _touch_libraries(device: torch.device) -> None:
    """Load what any convolution loads, so that it is not counted as this network's memory or time."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 1)
    )
    with torch.inference_mode():
        layers.to(device).to(memory_format=torch.channels_last).eval()(torch.rand(1, 3, 32, 32, device=device))
        torch.nn.Linear(64, 64).to(device)(torch.rand(4, 64, device=device))


def _forget_peak(device: torch.device) -> None:
    """What building took does not count, such as a weight's second copy in another memory format."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # Linux only; elsewhere it counts
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb(device: torch.device) -> float | None:
    """The most memory up to now; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / cost.MB
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / cost.MB if sys.platform == "darwin" else peak / 1024  # bytes there, KiB elsewhere
