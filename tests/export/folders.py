"""Exports of the small real runs of `predict.runs`, and fresh processes without headstart that load them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from sklearn.datasets import load_sample_images

from headstart.export.run import Options, export
from predict.runs import make_run

_scratch = TemporaryDirectory(prefix="headstart-export-")
# a process in which headstart, and whatever else is named, cannot be imported
WITHOUT = "import sys\nfor name in {names!r}: sys.modules[name] = None\n"


def export_run(kind: str, *more: str, onnx: bool = False, int8: bool = False, app: bool = False) -> Path:
    """The export of a kind of run; a process makes each once."""
    return _export(kind, more, onnx, int8, app)


@cache
def _export(kind: str, more: tuple[str, ...], onnx: bool, int8: bool, app: bool) -> Path:
    target = Path(_scratch.name) / re.sub(r"\W+", "-", f"{kind} {more} {onnx} {int8} {app}")
    export(Path(make_run(kind, *more).folder), target, Options(onnx=onnx, int8=int8, app=app))
    return target


def run_without(code: str, cwd: Path, *names: str, given: str = "") -> str:
    """Run code in a fresh process that cannot import headstart nor `names`; returns what it printed.

    Args:
        given: its standard input.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(names=("headstart", *names)) + code],
        input=given,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def draw_large() -> Image.Image:
    """A photograph that a run of 32 pixels decodes at half of its size where it is a JPEG file."""
    photograph = Image.fromarray(load_sample_images().images[0])
    assert min(photograph.size) >= 4 * 36
    return photograph


def list_snippets(folder: Path) -> list[str]:
    """The Python code of the model card, block by block."""
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text("utf-8"), re.DOTALL)
