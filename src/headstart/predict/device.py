"""Where a trained network computes, and how."""

from dataclasses import replace

import torch

from headstart.config.schema import HardwareConfig
from headstart.errors import UserError


def choose_device(device: str) -> torch.device:
    """The device of this name; `auto` is a GPU if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise UserError(f"device={device}: networks run on cpu and cuda here; use one of them, or auto")
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"device={device}: this machine has no such device ({reason}); use cpu or auto") from error


def choose_hardware(config: HardwareConfig, device: torch.device) -> HardwareConfig:
    """The settings of a run for a device; on another kind of device than the run's it is computed in float32."""
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    precision = config.precision if config.accelerator == accelerator else "32"
    return replace(config, accelerator=accelerator, precision=precision, devices=1)
