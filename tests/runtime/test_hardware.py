"""What `hardware` asks for, on this machine."""

from __future__ import annotations

from headstart.config.schema import HardwareConfig
from headstart.runtime import hardware


def test_settling_auto_is_concrete() -> None:
    settled = hardware.resolve_hardware(HardwareConfig())
    assert settled.accelerator in ("cpu", "gpu")
    assert settled.precision in ("32", "bf16")
