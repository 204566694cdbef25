"""ONNX graphs of an export: the same pixels, the same answers, without torch; refused where they differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from PIL import Image

from export.folders import draw_large, export_run, list_snippets, run_without
from headstart.errors import RunFailed, UserError
from headstart.export import onnx_files, onnx_pixels
from headstart.export.run import Options, export
from headstart.models.input import Input
from headstart.predict.transform import Transform
from predict.runs import digits, load, make_run

SHAPES = ((1.0, 1.0), (0.6, 1.7), (3.3, 2.1), (1.3, 1.3), (2.9, 0.9), (5.03, 4.1), (0.3, 0.2), (0.3, 6.1), (7.0, 0.35))


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
@pytest.mark.parametrize(("interpolation", "side", "crop_pct"), [("bicubic", 32, 0.875), ("bilinear", 33, 0.9)])
def test_the_graph_prepares_images_as_a_run_does(resize: str, interpolation: str, side: int, crop_pct: float) -> None:
    transform = Transform(Input(side, crop_pct, interpolation, (0.5, 0.4, 0.3), (0.5, 0.2, 0.25), resize))
    graph = onnx_pixels.build(transform.input, transform.square.size, [helper.make_opsetid("", 20)], 10)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for at, shape in enumerate(SHAPES):
        image = onnx_files._draw(side, at, *shape)
        own = transform.normalize(transform.decode([image])).numpy()
        (found,) = session.run(None, {"image": image})
        assert found.shape == own.shape
        levels = np.abs(found - own) * 255 * np.reshape(transform.input.std, (1, 3, 1, 1))
        assert levels.max() < 0.01, shape
        grey = image[..., 0]  # a run resizes it with Pillow
        own = transform.normalize(transform.decode([grey])).numpy()
        (found,) = session.run(None, {"image": np.repeat(grey[..., None], 3, 2)})
        assert (np.abs(found - own) * 255 * np.reshape(transform.input.std, (1, 3, 1, 1))).max() < 1.01, shape


def test_a_filter_that_onnx_lacks_is_refused_in_words() -> None:
    with pytest.raises(UserError, match="resized by lanczos, but a graph can do bicubic and bilinear only"):
        onnx_pixels.build(Input(32, 1.0, "lanczos", (0.5,) * 3, (0.5,) * 3), 32, [], 10)


@pytest.mark.slow
def test_the_cards_code_runs_without_torch_and_answers_as_the_run(tmp_path: Path) -> None:
    folder, network = export_run("fitted", onnx=True), load("fitted")
    _, snippet = list_snippets(folder)
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    pictures = [Image.open(path).convert("RGB") for path in sorted(digits().rglob("*.png"))[::40]]
    for at, picture in enumerate([*pictures, draw_large()]):
        picture.rotate(at, expand=True).save(tmp_path / "image.jpg")
        label, sure = run_without(snippet, tmp_path, "torch", "timm", "torchvision").split()
        (found,) = network.predict(tmp_path / "image.jpg", top=1, calibrated=True)
        assert label == found.labels[0]
        assert float(sure) == pytest.approx(found.probabilities[0], abs=1e-4)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == network.classes
    for name in ("model.onnx", "network.onnx"):
        content = (folder / name).read_bytes()
        assert [
            word for word in (b"site-packages", b"/tmp/", str(Path.home()).encode() + b"/") if word in content
        ] == []


@pytest.mark.slow
def test_a_graph_that_computes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = onnx_pixels._resize
    monkeypatch.setattr(
        onnx_pixels, "_resize", lambda build, image, sides, new, _: right(build, image, sides, new, "bilinear")
    )
    with pytest.raises(RunFailed, match=r"model\.onnx: its probabilities differ"):
        export(Path(make_run("fitted").folder), tmp_path / "out", Options(onnx=True))
    assert list(tmp_path.iterdir()) == []
