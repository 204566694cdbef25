"""Code of one's own: `imports`, plugins, and what the documents promise."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from conftest import check_components, compose
from headstart.config import instantiate, own_code
from headstart.config.code_digest import digest_modules
from headstart.errors import UserError

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in which the command is given; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(own_code, "_imported", {})
    own_code._list_plugins.cache_clear()
    yield tmp_path
    own_code._list_plugins.cache_clear()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_documents_way_works_from_an_empty_folder(tmp_path: Path) -> None:
    """With the files and the command as they stand there; Python itself does not look into this folder (-P)."""
    text = "".join((DOCS / page).read_text("utf-8") for page in ("own-data.md", "own-network.md"))
    files = re.findall(r"```\w+\n# ((?:mylab|my_conf)/\S+)\n(.*?)```", text, re.DOTALL)
    assert [name for name, _ in files] == ["mylab/birds.py", "my_conf/data/birds.yaml", "mylab/nets.py"]
    for name, content in files:
        write(tmp_path / name, content)
    labels = np.arange(40) % 2
    images = np.broadcast_to((60 + 120 * labels).astype(np.uint8)[:, None, None, None], (40, 32, 32, 3))
    np.savez(tmp_path / "birds.npz", images=images, labels=labels)
    (command,) = re.findall(r"^headstart (train .*imports.*mylab.nets.*)$", text, re.MULTILINE)
    short = ["epochs=1", "data.image_size=32", "logger=csv", "hardware=cpu", "hardware.threads=1"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headstart", *shlex.split(command), *short],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test accuracy" in done.stdout
    assert '"code":' in next(tmp_path.glob("outputs/runs/my_resnet-scratch-birds-*/result.json")).read_text()


def test_without_the_key_the_refusal_names_it() -> None:
    config = compose("model=timm", "model.name=unheard_net", "model.weights=none", "strategy=scratch")
    config.data.source = {"_target_": "unheard.birds.birds"}
    with pytest.raises(UserError) as refused:
        check_components(config)
    assert "data.source._target_=unheard.birds.birds" in str(refused.value)
    assert "imports=[unheard.birds]" in str(refused.value)
    assert "model.name=unheard_net" in str(refused.value)
    assert "imports=[mylab.nets]" in str(refused.value)
    assert "unheard" not in sys.modules


def test_a_package_under_imports_may_stand_in_a_target(here: Path) -> None:
    write(
        here / "lab_one/parts.py",
        "import os\nfrom headstart.measures import Measure\nclass Mine(Measure): pass\nclass Other: pass\n",
    )
    own_code.load(["lab_one.parts"])
    assert type(instantiate.build("measure", {"_target_": "lab_one.parts.Mine"})).__name__ == "Mine"
    for target, reason in (
        ("lab_one.parts.Other", "is not a class derived from headstart.measures"),
        ("lab_one.parts.os.getcwd", "is defined in"),
        ("lab_one.parts.Missing", "Missing"),
    ):
        with pytest.raises(UserError, match=reason):
            instantiate.build("measure", {"_target_": target})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"imports: lab_two\.nets: there is no module lab_two\b.*folder in which the command is given"),
        ("import not_there_at_all\n", r"No module named 'not_there_at_all' \(.*nets\.py, line 1\)"),
        ("x = 1\nx.y\n", r"AttributeError: .* \(.*nets\.py, line 2\)"),
        ("def (\n", r"SyntaxError: .* \(.*nets\.py, line 1\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(here: Path, content: str | None, reason: str) -> None:
    if content is not None:
        write(here / "lab_two/nets.py", content)
    with pytest.raises(UserError, match=reason):
        check_components(compose("imports=[lab_two.nets]"))


@pytest.mark.parametrize("name", ["os", "torch.hub", "headstart.storage", "a-b", "a..b", ""])
def test_other_peoples_packages_are_no_code_of_ones_own(name: str) -> None:
    with pytest.raises(UserError, match="imports: "):
        compose(f"imports=['{name}']")


def test_a_plugin_needs_no_key(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / "lab_three/parts.py", "class Shrink: pass\n")
    write(here / "lab_three-1.dist-info/METADATA", "Name: lab_three\nVersion: 1\n")
    write(here / "lab_three-1.dist-info/entry_points.txt", "[headstart.plugins]\nthree = lab_three.parts\n")
    monkeypatch.syspath_prepend(str(here))
    own_code.load()
    assert own_code.packages() == ("lab_three",)
    config = {"optimizer": {"_target_": "torch.optim.SGD"}}
    assert own_code.find_used([], config, "timm.models.resnet") == []
    used = {"phases": {"a": {"penalty": {"_target_": "lab_three.parts.Shrink"}}}}
    assert own_code.find_used([], used, "timm.models.resnet") == ["lab_three.parts"]
    assert own_code.find_used([], config, "lab_three.nets") == ["lab_three.parts"]


def test_changed_code_has_another_digest_and_a_comment_has_not(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    write(here / "lab_four/__init__.py", "")
    write(here / "lab_four/nets.py", "import numpy\nfrom . import layers\nfrom .deep import block as other\n")
    write(here / "lab_four/layers.py", "WIDTH = 1\n")
    write(here / "lab_four/deep/__init__.py", "")
    write(here / "lab_four/deep/block.py", "DEPTH = 1\n")
    write(here / "lab_four/plots.py", "COLOUR = 1\n")
    first = digest_modules(["lab_four.nets"])
    for file, text, changes in (
        ("layers.py", "WIDTH = 1  # wide\n\n", False),
        ("plots.py", "COLOUR = 2\n", False),
        ("layers.py", "WIDTH = 2\n", True),
        ("deep/block.py", "DEPTH = 2\n", True),
    ):
        before = digest_modules(["lab_four.nets"])
        write(here / "lab_four" / file, text)
        assert (digest_modules(["lab_four.nets"]) != before) == changes, file
    assert digest_modules(["lab_four.nets"]) != first
    assert digest_modules([]) is None
