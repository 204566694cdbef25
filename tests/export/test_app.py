"""The page that an export carries: what it shows is what the run answers, without headstart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from export.folders import draw_large, export_run, run_without
from predict.runs import digits, load

SHOW = """
import json, sys
import app
print(json.dumps([app.classify(path) for path in json.loads(sys.stdin.read())]))
"""


def test_its_probabilities_are_those_of_the_run_calibrated(tmp_path: Path) -> None:
    folder, network = export_run("fitted", app=True), load("fitted")
    pictures = [str(sorted(digits().rglob("*.png"))[50]), str(tmp_path / "large.jpg")]
    draw_large().save(pictures[1], quality=100)
    shown = json.loads(run_without(SHOW, folder, "gradio", given=json.dumps(pictures)))
    assert network.temperature != pytest.approx(1, abs=0.02)
    for each, found in zip(shown, network.predict(pictures, len(network.classes), calibrated=True), strict=True):
        assert each == pytest.approx(dict(zip(found.labels, found.probabilities, strict=True)), abs=1e-3)


def test_a_space_finds_it_and_what_it_needs() -> None:
    folder = export_run("fine-tuned", app=True)
    front = yaml.safe_load((folder / "README.md").read_text("utf-8").split("---")[1])
    assert (front["sdk"], front["app_file"]) == ("gradio", "app.py")
    needed = {line.partition(">")[0] for line in (folder / "requirements.txt").read_text("utf-8").splitlines()}
    assert needed == {"gradio", "timm", "torch"}
    text = (folder / "app.py").read_text("utf-8")
    assert "headstart" not in text
    assert str(Path.home()) not in text
    plain = yaml.safe_load((export_run("fine-tuned") / "README.md").read_text("utf-8").split("---")[1])
    assert "sdk" not in plain
