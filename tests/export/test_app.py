"""The page that an export carries: what it shows is what the run answers, without headstart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from export.folders import export_run, run_without
from predict.runs import digits, load

SHOW = """
import json, sys
from PIL import Image
import app
print(json.dumps(app.classify(Image.open(sys.stdin.readline().strip()))))
"""


def test_its_probabilities_are_those_of_the_run_calibrated() -> None:
    folder, network = export_run("fitted", app=True), load("fitted")
    picture = sorted(digits().rglob("*.png"))[50]
    shown = json.loads(run_without(SHOW, folder, "gradio", given=f"{picture}\n"))
    (found,) = network.predict(picture, top=len(network.classes), calibrated=True)
    assert network.temperature != pytest.approx(1, abs=0.02)
    assert shown == pytest.approx(dict(zip(found.labels, found.probabilities, strict=True)), abs=1e-4)


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
