"""`import headstart`, as in a notebook: what it costs, what it registers, what it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import headstart
from headstart.errors import UserError

SMALL = [
    "model=timm", "model.name=test_resnet", "strategy=scratch", "data.image_size=32", "data.train_per_class=4",
    "data.n_test=40", "epochs=1", "logger=csv", "hardware=cpu", "hardware.threads=1",
]  # fmt: skip


def python(code: str) -> str:
    """What `code` prints in a fresh process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ASKED = "headstart, importlib.util; importlib.util.find_spec('timm'); import timm"  # as some libraries do


@pytest.mark.parametrize(
    "modules", [ASKED, *(pytest.param(each, marks=pytest.mark.slow) for each in ("headstart, timm", "timm, headstart"))]
)
def test_our_networks_are_timms_in_either_order(modules: str) -> None:
    made = f"import {modules}; print(timm.create_model('googlenet', num_classes=7).num_classes)"
    assert python(made) == "7"


def test_the_import_is_light() -> None:
    """`importlib.metadata` and `importlib.abc` take more than half of the time of an import that has them."""
    heavy = ("torch", "timm", "hydra", "omegaconf", "numpy", "importlib.metadata", "importlib.abc")
    assert python(f"import sys, headstart; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_the_version_is_there_and_nothing_else_is_made_up() -> None:
    assert python("import headstart; print(headstart.__version__)") == headstart.__version__ != "0+unknown"
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        headstart.nope  # noqa: B018


def test_a_run_returns_its_result_and_is_skipped_the_second_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = [*SMALL, f"output_dir={tmp_path}"]
    result = headstart.run(overrides)
    assert dict(result) == json.loads((result.folder / "result.json").read_text("utf-8"))
    assert result.folder.parent == tmp_path / "runs"
    caplog.set_level("INFO", "headstart")
    again = headstart.run(overrides)
    assert (again.folder, dict(again)) == (result.folder, dict(result))


def test_a_config_is_composed_and_checked() -> None:
    assert headstart.compose(["strategy=finetune", "epochs=5"]).epochs == 5
    with pytest.raises(UserError, match="did you mean partial"):
        headstart.compose(["strategy=partail"])
    with pytest.raises(UserError, match="this is a sweep"):
        headstart.compose(["-m", "seed=0,1"])
