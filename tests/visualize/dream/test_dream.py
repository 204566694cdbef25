"""`headstart visualize … dream`: the layer's norm rises, sizes are kept, and a killed one goes on at its octave."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import fork_server
import headstart
from headstart.visualize.dream import octaves
from headstart.visualize.dream.objectives import make_activity
from headstart.visualize.dream.octaves import Settings, Target, dream, list_sizes
from headstart.visualize.dream.reach import Reach, measure_reach
from headstart.visualize.dream.state import read_state
from headstart.visualize.forward import without_weight_gradients

QUICK = ("--layers", "blocks.1", "--octaves", "2", "--steps", "3")


@pytest.fixture
def photograph(tmp_path: Path) -> Path:
    path = tmp_path / "china.jpg"
    Image.fromarray(load_sample_image("china.jpg")).resize((160, 107)).save(path, exif=turned())
    return path


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    return exif


def run(*arguments: str, code: int = 0) -> str:
    done = fork_server.run("visualize", "efficientnet_lite0", "dream", *arguments, "--device", "cpu")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_photograph_keeps_its_size_and_the_norm_rises(tmp_path: Path, photograph: Path) -> None:
    words = run(str(photograph), *QUICK, "--animate", "--out", str(tmp_path / "out"))
    picture = Image.open(tmp_path / "out" / "dream-china-blocks.1.png")
    assert picture.size == (107, 160)
    before = Image.open(photograph).transpose(Image.Transpose.ROTATE_270)
    change = np.abs(np.asarray(picture, int) - np.asarray(before, int)).mean()
    assert 2 < change < 30
    norms = re.findall(r"octave \d of 2, .* the norm rose from ([\d.]+) to ([\d.]+)", words)
    assert len(norms) == 2
    assert all(float(last) > 1.05 * float(first) for first, last in norms)
    with Image.open(tmp_path / "out" / "dream-china-blocks.1.webp") as way:
        assert way.n_frames == 6
        assert way.size == (107, 160)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["dream-china-blocks.1.png", "dream-china-blocks.1.webp"]


def test_a_guide_and_noise_give_other_pictures(tmp_path: Path, photograph: Path) -> None:
    run("--noise", "96x64", *QUICK, "--out", str(tmp_path))
    run("--noise", "96x64", *QUICK, "--guide", str(photograph), "--out", str(tmp_path))
    names = ("dream-noise-blocks.1.png", "dream-noise-blocks.1-as-china.png")
    plain, guided = (np.asarray(Image.open(tmp_path / name), int) for name in names)
    assert plain.shape == (64, 96, 3)
    assert np.abs(plain - guided).mean() > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give an image, or --noise"),
        (("--noise", "big"), "--noise big: must be WIDTHxHEIGHT"),
        (("none.jpg",), "none.jpg: cannot be read as an image"),
        (("--noise", "64x64", "--layers", "block.1"), "did you mean blocks.1?"),
        (("--noise", "64x64", "--steps", "0"), "--steps 0: must be at least 1"),
    ],
)
def test_wrong_input_gets_words_and_code_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    assert words in run(*arguments, "--out", str(tmp_path), code=2)
    assert not list(tmp_path.iterdir())


def test_nothing_is_said_of_one_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network = headstart.load("lenet5", "cpu")
    target = Target(network, make_activity(network, ["c1"], None), Reach(1, 4, local=True))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8))
    lines = []
    for steps in (1, 2):
        with caplog.at_level(logging.INFO), without_weight_gradients(network):
            dream(target, image, Settings(octaves=1, steps=steps), tmp_path / "state.safetensors")
        lines.append(caplog.messages[-1])
    assert [line.partition(" px")[2][:15] for line in lines] == ["", ": the norm rose"]


def test_a_killed_one_goes_on_at_its_octave_and_ends_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = headstart.load("efficientnet_lite0", "cpu")
    image = Image.fromarray(load_sample_image("china.jpg")).resize((128, 96))
    settings = Settings(octaves=3, scale=1.2, steps=2, animate=True)
    layers = ["blocks.0"]
    target = Target(network, make_activity(network, layers, None), measure_reach(network, layers))
    state = tmp_path / "state.safetensors"
    octave_of_step: list[tuple[int, int]] = []
    compute = octaves.compute_gradient

    def spy(network, image, *arguments, **options):
        octave_of_step.append(tuple(image.shape[1:]))
        if len(octave_of_step) == killed_at:
            raise KeyboardInterrupt
        return compute(network, image, *arguments, **options)

    monkeypatch.setattr(octaves, "compute_gradient", spy)
    with without_weight_gradients(network):
        killed_at = 0
        whole, way = dream(target, image, settings, tmp_path / "other.safetensors")
        sizes, octave_of_step = octave_of_step.copy(), []
        killed_at = 4  # in the second octave
        with pytest.raises(KeyboardInterrupt):
            dream(target, image, settings, state)
        octave_of_step, killed_at = [], 0
        again, gone_on = dream(target, image, settings, state)
    assert octave_of_step == sizes[2:]
    np.testing.assert_array_equal(again, whole)
    assert gone_on.norms == way.norms
    assert len(gone_on.frames) == 6


def test_a_damaged_state_is_none(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    state.write_bytes(b"damaged")
    assert read_state(state).done == 0


def test_sizes_grow_by_the_scale_up_to_the_images_own() -> None:
    assert list_sizes((400, 300), Settings(octaves=3, scale=2)) == [(100, 75), (200, 150), (400, 300)]
    assert list_sizes((60, 100), Settings(octaves=3, scale=2)) == [(60, 100)]  # smaller ones show nothing


@pytest.mark.slow
def test_twelve_megapixels_fit_into_little_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headstart", "visualize", "efficientnet_lite0", "dream", "--noise", "4000x3000"]
    command += ["--octaves", "2", "--octave-scale", "4", "--steps", "1", "--layers", "blocks.2", "--device", "cpu"]
    command += ["--out", str(tmp_path)]
    code = (
        "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:]); "
        "print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    returned, kilobytes = done.stdout.split()[-2:]
    assert returned == "0", done.stderr
    assert int(kilobytes) <= 1.6 * 2**20
    assert Image.open(tmp_path / "dream-noise-blocks.2.png").size == (4000, 3000)
