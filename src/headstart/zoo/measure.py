"""The measurements of one network, which run in a process of their own (see `headstart.zoo.children`).

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
from headstart.errors import UserError, nearest_names
from headstart.models import cost
from headstart.models.outline import without_values
from headstart.models.published import LITE_PACKAGES, top1
from headstart.models.published_files import find_cached
from headstart.models.weights import locate
from headstart.runtime import hardware
from headstart.zoo.plan import WARM_UP, Plan


def describe_machine() -> Iterator[dict[str, Any]]:
    """Find the fields of `headstart.zoo.plan.Machine`."""
    facts = hardware.describe(HardwareConfig(accelerator="cpu", precision="32"))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    versions = f"torch {torch.__version__}, timm {timm.__version__}"
    yield {"cpu": facts["device"], "threads": facts["threads"], "gpu": gpu, "versions": versions}


def find_names(patterns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Find the networks of timm and headstart that match, in order; `unknown` is the error of a pattern without any."""
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


def measure_network(name: str, plan: Plan) -> Iterator[dict[str, Any]]:
    """Measure one network; yields the results in parts, so that a late failure does not lose the earlier parts."""
    model = _build_outline(name)
    yield find_published(name, model)
    yield {
        "input_px": input_size(model)[-1],
        "size_mb": cost.compute_size_mb(model),
        "parameters": cost.count_parameters(model),
        "depth": cost.count_layers(model),
    }
    yield {"gmacs": _count_gmacs(name, model)}
    for device in plan.devices:
        yield time_network(name, torch.device(device), plan)


def find_published(name: str, model: Any) -> dict[str, Any]:
    """Find which weights the name loads, their ImageNet accuracies in %, and whether they are on this machine."""
    cfg = model.pretrained_cfg
    published = any(cfg.get(key) for key in ("url", "hf_hub_id", "file"))
    found: dict[str, Any] = {"weights": (cfg.get("tag") or "untagged") if published else "none"}
    found["here"] = _find_here(name, cfg)
    accuracy = top1(name) if published else None
    if accuracy is not None:
        found |= {"top1": accuracy.top1, "top5": accuracy.top5, "source": accuracy.source}
        found["tested_px"] = accuracy.image_size or cfg["input_size"][-1]
    return found


def _find_here(name: str, cfg: dict[str, Any]) -> str:
    """Where the weights of a network are on this machine: in a cache, in a package, or nowhere."""
    if find_cached(cfg) is not None:
        return "cache"
    package = LITE_PACKAGES.get(name)
    try:
        return package if package and locate(package) else "no"
    except UserError:
        return "no"


def _build_outline(name: str) -> Any:
    """Build the network without memory for weights, if that is possible."""
    try:
        with without_values():
            return timm.create_model(name)
    except Exception:
        return timm.create_model(name)


def _count_gmacs(name: str, model: Any) -> float:
    """Count multiply-adds, without computing anything if the network's forward pass allows that."""
    channels, _, side = input_size(model)
    try:
        return cost.count_gmacs(model.requires_grad_(False), side, channels)
    except Exception:
        return cost.count_gmacs(timm.create_model(name).requires_grad_(False), side, channels)


def input_size(model: Any) -> tuple[int, int, int]:
    """Channels, height and width of the image that a network was made for."""
    return tuple(model.pretrained_cfg["input_size"])


def time_network(name: str, device: torch.device, plan: Plan) -> dict[str, Any]:
    """Measure the median milliseconds of a forward pass, and the peak memory in units of 2^20 bytes.

    Memory on the CPU is the peak of the process' resident memory while the network runs, minus that before the network
    was built; on a GPU it is the peak of what torch allocated. Both include weights, activations and temporary buffers.
    """
    _touch_libraries(device)
    before = _read_peak_mb(device)
    model = timm.create_model(name)
    shape = (plan.batch, *input_size(model))
    model = model.to(device).to(memory_format=torch.channels_last).eval()
    images = torch.rand(shape, device=device).contiguous(memory_format=torch.channels_last)
    config = HardwareConfig(precision=plan.precision)
    _reset_peak(device)
    with torch.inference_mode(), hardware.autocast(config, device):
        seconds = [_time_step(model, images, device) for _ in range(WARM_UP + plan.repeats)][WARM_UP:]
    after, ms = _read_peak_mb(device), 1000 * median(seconds)
    if device.type == "cuda":
        return {"ms_gpu": ms, "peak_gpu_mb": after}
    return {"ms_cpu": ms, "peak_mb": None if before is None or after is None else after - before}


def _time_step(model: Any, images: torch.Tensor, device: torch.device) -> float:
    began = time.perf_counter()
    model(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _touch_libraries(device: torch.device) -> None:
    """Load the libraries that every convolution needs, so that they do not count as this network's memory or time."""
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 1)
    )
    with torch.inference_mode():
        layers.to(device).to(memory_format=torch.channels_last).eval()(torch.rand(1, 3, 32, 32, device=device))
        torch.nn.Linear(64, 64).to(device)(torch.rand(4, 64, device=device))


def _reset_peak(device: torch.device) -> None:
    """Reset the peak after the network is built, because building may make temporary copies of weights."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # Linux only; on other systems the peak of building counts
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _read_peak_mb(device: torch.device) -> float | None:
    """Read the peak of memory up to now; None if the system does not report it."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / cost.MB
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / cost.MB if sys.platform == "darwin" else peak / 1024  # bytes on macOS, KiB on other systems
