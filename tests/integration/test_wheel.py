"""The wheel carries conf/ and the report's template, and works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["debug=quick", "logger=csv", "hardware=cpu"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a user's pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def run(python: Path | str, *arguments: str, cwd: Path, path: Path | None = None) -> str:
    """Run headstart outside the checkout, from `path` first if given."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(path)} if path else {}
    done = subprocess.run([python, *arguments], capture_output=True, text=True, cwd=cwd, env=environment, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert f"headstart/conf/{path.relative_to(ROOT / 'conf').as_posix()}" in names
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert path.relative_to(ROOT / "src").as_posix() in names
    assert not [name for name in names if name.startswith(("tests", "outputs", "benchmarks"))]


def test_it_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    assert subprocess.run(pip, capture_output=True).returncode == 0
    where = run(
        sys.executable,
        "-c",
        "from headstart.config.resolvers import config_folder; print(config_folder())",
        cwd=tmp_path,
        path=site,
    )
    assert where.strip() == str(site / "headstart" / "conf")
    run(sys.executable, "-m", "headstart", "train", *QUICK, cwd=tmp_path, path=site)
    run(sys.executable, "-m", "headstart", "compare", "debug", cwd=tmp_path, path=site)
    assert (tmp_path / "outputs" / "debug" / "report" / "index.html").is_file()


@pytest.mark.slow
def test_it_installs_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run(python, "-m", "headstart", "train", *QUICK, "strategy=finetune", cwd=tmp_path)
    run(tmp_path / "env" / "bin" / "headstart", "compare", "debug", cwd=tmp_path)
