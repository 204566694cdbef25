"""`headstart train --help KEY` explains keys and groups, at once and without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.cli import main
from headstart.cli.help import find_words


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.main(["train", "--help", *words]) == 0
    return capsys.readouterr().out


def test_a_key_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    said = explain(capsys, "data.image_size")
    assert "The side of the network's input in pixels" in said
    assert "values    a whole number or null, from 8 to 4096" in said
    assert "default   64" in said
    assert "data=fashion_mnist (96)" in said
    assert "example   headstart train data.image_size=96" in said


def test_overrides_show_what_they_change(capsys: pytest.CaptureFixture[str]) -> None:
    said = explain(capsys, "optimizer.lr", "optimizer=sgd")
    assert "default   0.001\n  here      0.01\n" in said


def test_a_group_lists_its_choices_with_their_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    said = explain(capsys, "optimizer")
    assert "  * adamw  Decoupled weight decay (Loshchilov & Hutter 2019); biases and norms are not decayed\n" in said
    assert "    sgd    SGD with Nesterov momentum" in said


@pytest.mark.parametrize("key", ["head.probe.grid", "strategy.phases.head.views", "data.source._target_", "seed"])
def test_keys_of_phases_and_of_targets_are_explained(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, meaning, *_ = explain(capsys, key).splitlines()
    assert name == key
    assert len(meaning) > 20


@pytest.mark.parametrize(("wrong", "right"), [("lr", "optimizer.lr"), ("data.imagesize", "data.image_size")])
def test_a_wrong_key_gets_the_nearest_names(wrong: str, right: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["train", "--help", wrong]) == 2
    assert f"--help {wrong}: there is no such key; did you mean {right}?" in capsys.readouterr().err


def test_words_are_keys_only_after_help() -> None:
    assert find_words(["--help", "seed", "epochs=2"]) == ["seed"]
    assert find_words(["--help", "epochs=2"]) == []
    assert find_words(["-m", "seed=1,2"]) == []


def test_the_page_of_all_keys_has_their_meanings_and_nothing_imports_torch() -> None:
    code = (
        "import sys; from headstart.cli.main import main; main(['train', '--help']); main(['train', '--help', 'seed']);"
        " assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    keys = done.stdout.partition("as composed\n")[2].partition("\nExamples")[0].splitlines()
    bare = [line for line in keys if ":" in line and "  # " not in line]
    assert [line.strip() for line in bare] == ["head: 1", "backbone: null"]  # the parts of a phase's rates
