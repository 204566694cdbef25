"""Memory that is freed: kept for the next tensor, and given back when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

KEPT = """
import resource
from pathlib import Path
import torch
from headstart.runtime import memory
from headstart.config.schema import HardwareConfig

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.zeros(64 * 2**20 // 4).add_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

before = faults()
with memory.keep_freed_memory(HardwareConfig(accelerator="cpu", precision="32")):
    faults()
    inside, held = faults(), resident()
    held_on = [torch.ones(32 * 2**20 // 4) for _ in range(8)]
assert inside < before / 10, (inside, before)
assert resident() - 256 * 2**20 < held - 50 * 2**20, "the system has it back"
last = held_on.pop()  # so that what is freed does not lie at the end
del held_on
full = resident()
memory.release_memory()
assert resident() < full - 200 * 2**20, "and what was in use then as well, once that is asked for"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts Linux's page faults")
def test_freed_memory_is_kept_for_the_next_tensor() -> None:
    """In a process of its own: what the allocator does depends on all that went before."""
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
