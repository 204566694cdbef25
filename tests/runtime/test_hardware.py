"""What `hardware` asks for, on this machine."""

from __future__ import annotations

from headstart import hardware
from headstart.config import HardwareConfig


def test_settling_auto_is_concrete() -> None:
    settled = hardware.settle(HardwareConfig())
    assert settled.accelerator in ("cpu", "gpu")
    assert settled.precision in ("32", "bf16")
