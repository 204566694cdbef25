"""The graph of 8-bit integers: small, used like model.onnx, and what it loses is what a test of its own finds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from export.folders import list_snippets, run_without
from headstart.cli.main import main
from headstart.export import onnx_int8
from predict.runs import load, make_run


@pytest.mark.slow
def test_it_is_small_and_its_loss_is_the_one_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, network, folder = make_run("fitted").folder, load("fitted"), tmp_path / "out"
    assert main(["export", str(run), str(folder), "--onnx", "--int8"]) == 0
    said = re.search(r"accuracy (\S+) % against (\S+) % of the run's network on 40 test", capsys.readouterr().out)
    assert said is not None
    assert (folder / "model.int8.onnx").stat().st_size <= 0.3 * (folder / "network.onnx").stat().st_size
    session = onnxruntime.InferenceSession(folder / "model.int8.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == network.classes
    data = onnx_int8.read_run_data(network)
    part = data.parts["test"]
    pictures = [np.asarray(part.split.images[int(row)].convert("RGB")) for row in part.rows]
    found = np.stack([session.run(None, {"image": picture})[0] for picture in pictures])
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert said[1] == f"{100 * (found.argmax(1) == part.labels).mean():.1f}"
    own = [each.labels[0] for each in network.predict(pictures, top=1)]
    assert said[2] == f"{100 * np.mean([network.classes[at] for at in part.labels] == np.array(own)):.1f}"
    assert float(said[1]) >= float(said[2]) - 10
    card = (folder / "README.md").read_text("utf-8")
    assert f"accuracy {said[1]} % against {said[2]} %" in card
    Image.fromarray(pictures[0]).save(folder / "image.jpg")
    snippet = list_snippets(folder)[1].replace("model.onnx", "model.int8.onnx")
    assert run_without(snippet, folder, "torch", "timm").split()[0] in network.classes
    content = (folder / "model.int8.onnx").read_bytes()
    assert [word for word in (b"site-packages", b"/tmp/", str(Path.home()).encode() + b"/") if word in content] == []


def test_it_needs_the_other_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), str(tmp_path / "out"), "--int8"]) == 2
    assert "add --onnx" in capsys.readouterr().err


def test_weights_keep_to_seven_bits_where_products_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for found, expected in (({"avx2": True}, False), ({"avx512_vnni": True}, True), ({"avx_vnni": True}, True)):
        monkeypatch.setattr("torch.cpu.get_capabilities", lambda found=found: found, raising=False)
        assert onnx_int8.has_8_bit_products() is expected
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert onnx_int8.has_8_bit_products()
