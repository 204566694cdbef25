"""The help of a subject stands at once: it imports no torch."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra.core.hydra_config import HydraConfig
from PIL import Image

from headstart.cli import visualize
from headstart.errors import UserError
from headstart.tracking import console


@pytest.mark.parametrize("subject", ["features", "filters", "activations", "dream"])
def test_the_help_imports_no_torch(subject: str) -> None:
    code = (
        "import sys; from headstart.cli import visualize\n"
        f"try: visualize.main(['resnet18', '{subject}', '--help'])\n"
        "except SystemExit: print({'torch', 'timm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert f"headstart visualize MODEL_OR_RUN {subject}" in done.stdout


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images in a folder, two of them of the same name."""
    monkeypatch.setattr(console, "configure_logging", lambda quiet: None)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for name in ("cats/1.png", "dogs/1.png", "dogs/2.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
    return tmp_path / "photos"


def test_images_are_named_as_for_predict(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = SimpleNamespace(buffer=io.BytesIO(f"{photos / 'dogs'}\n".encode()))
    monkeypatch.setattr(sys, "stdin", lines)
    out = ["--out", str(tmp_path / "out")]
    assert visualize.main(["lenet5", "activations", str(photos / "cats"), "-", *out]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"activations-1.png", "activations-1-2.png", "activations-2.png"}
    capsys.readouterr()
    assert visualize.main(["lenet5", "why", str(photos / "**" / "*.png"), "--most", "2", *out]) == 0
    assert "Where it looks: the first 2 of 3 images" in capsys.readouterr().out
    with pytest.raises(UserError, match="no file has such a name"):
        visualize.main(["lenet5", "why", str(photos / "*.tiff"), *out])


def test_a_dream_is_of_one_image(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; a dream is of one image"):
        visualize.main(["lenet5", "dream", str(photos), "--out", str(tmp_path / "out")])
    with pytest.raises(UserError, match="--octaves 1000000000: must be at most 64"):
        visualize.main(["lenet5", "dream", "--noise", "64x64", "--octaves", "1000000000"])
    with pytest.raises(UserError, match="is a folder; a dream is of one image"):
        visualize.main(["lenet5", "dream", str(photos / "cats" / "1.png"), "--guide", str(photos)])


@pytest.mark.parametrize("seed", ["-1", "4294967296", "1.5", "x"])
def test_a_seed_that_no_generator_takes_is_refused(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        visualize.main(["lenet5", "filters", f"--seed={seed}"])
    assert raised.value.code == 2
    assert f"'{seed}' is not a whole number from 0 to 4,294,967,295" in capsys.readouterr().err


def test_own_code_is_imported_when_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_nets.py").write_text("LOADED = True")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # of a test before this one in the same process
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(UserError, match="no_such_network"):
        visualize.main(["no_such_network", "filters", "--imports", "my_nets"])
    assert sys.modules.pop("my_nets").LOADED


def test_a_file_is_no_folder_for_pictures(photos: Path) -> None:
    with pytest.raises(UserError, match=r"1\.png: is a file; name a folder"):
        visualize.main(["lenet5", "filters", "--out", str(photos / "cats" / "1.png")])
