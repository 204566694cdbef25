"""The README's five commands, from a folder of photographs to an exported network that a page answers with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

import fork_server
import headstart
from predict.runs import digits

README = Path(__file__).resolve().parents[2] / "README.md"
QUICK = ("epochs=1", "data.image_size=32", "hardware=cpu")  # added to `train`: smaller, not otherwise


def list_commands() -> list[list[str]]:
    """The commands that follow the README's sentence, without `headstart`."""
    text = README.read_text("utf-8").partition("in five commands:")[2]
    (block,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)[:1]
    return [line.split()[1:] for line in block.splitlines()]


@pytest.mark.slow
def test_from_photographs_to_a_served_network(tmp_path: Path) -> None:
    shutil.copytree(digits(), tmp_path / "photos")
    commands = list_commands()
    assert [words[0] for words in commands] == ["data", "train", "compare", "export", "serve"]
    for words in commands[:-1]:
        if words[0] == "export":
            (run,) = (path.parent.name for path in (tmp_path / "outputs/first").glob("*/result.json"))
            words = [word.replace("RUN", run) for word in words]
        done = fork_server.run(*words, *(QUICK if words[0] == "train" else ()), cwd=tmp_path)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    serve = [sys.executable, "-m", "headstart", *commands[-1], "--port", "0", "--device", "cpu"]
    picture = sorted((tmp_path / "photos").rglob("*.png"))[40]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[0]
            with urlopen(Request(f"{address}/answer", picture.read_bytes())) as response:
                told = json.loads(response.read())
        finally:
            process.terminate()
    (own,) = headstart.load(tmp_path / "outputs/first" / run, "cpu").predict(picture, calibrated=True)
    assert told["labels"] == list(own.labels)
    assert told["probabilities"] == pytest.approx(own.probabilities, abs=1e-4)
