"""The wheel carries conf/ and the report's template, works outside the checkout, and needs only what it names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


@pytest.mark.slow
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


def needed(wheel: Path) -> dict[str, Distribution]:
    """What a wheel requires, without its extras, and what that requires: as this environment has it."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    todo = [(Requirement(line), frozenset({""})) for line in asked]
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    while todo:
        requirement, extras = todo.pop()
        wanted = requirement.marker is None or any(requirement.marker.evaluate({"extra": each}) for each in extras)
        key = (canonicalize_name(requirement.name), frozenset({"", *requirement.extras}))
        if wanted and key not in found:
            found[key] = distribution(requirement.name)
            todo += [(Requirement(line), key[1]) for line in found[key].requires or ()]
    return {name: package for (name, _), package in found.items()}


def link(package: Distribution, place: Path) -> None:
    """Put an installed package into another environment, file by file."""
    for file in package.files or ():
        if ".." not in file.parts:  # commands, which lie beside Python
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).symlink_to(file.locate())


@pytest.mark.slow
def test_it_runs_in_an_environment_that_has_only_what_it_requires(wheel: Path, tmp_path: Path) -> None:
    """`make install` has had pip find these versions; here none of the tools for tests and checks is there."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    place = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "env")}))
    packages = needed(wheel)
    assert {"torch", "timm", "wandb"} <= set(packages)
    assert not {"pytest", "ruff", "hypothesis"} & set(packages)
    for package in packages.values():
        link(package, place)
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    done = subprocess.run([*pip, "install", "--quiet", "--no-deps", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    checked = subprocess.run([*pip, "check"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    run(python, "-m", "headstart", "train", *QUICK, "strategy=finetune", cwd=tmp_path)
    run(tmp_path / "env" / "bin" / "headstart", "compare", "debug", cwd=tmp_path)
