"""The command line as a user types it, in real processes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "timm",
    "pytorch_lightning",
    "wandb",
    "matplotlib",
    "torchvision",
    "torchmetrics",
    "sklearn",
    "scipy",
)


def headstart(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m headstart`."""
    import os

    return subprocess.run(
        [sys.executable, "-m", "headstart", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=os.environ | environment,
    )


def test_help_lists_the_verbs_that_exist() -> None:
    from headstart.cli.main import VERBS

    shown = headstart("--help")
    assert shown.returncode == 0
    assert all(f"  {verb}" in shown.stdout for verb in VERBS)
    for verb in VERBS:
        assert headstart(verb, "--help").returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["compare", "--help"],
        ["zoo", "--help"],
        ["data", "--help"],
        ["predict", "--help"],
        ["evaluate", "--help"],
        ["train", "--cfg", "job"],
        ["train", "--info", "searchpath"],
    ],
)
def test_answers_without_torch(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from headstart.cli.main import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\nassert not code, code"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == [], "a question leaves nothing behind"


def test_train_help_lists_groups_and_choices(tmp_path: Path) -> None:
    shown = headstart("train", "--help", cwd=tmp_path).stdout
    groups = dict(re.findall(r"^(\w+): (.+)$", shown.partition("Keys (key=value)")[0], flags=re.MULTILINE))
    assert {"feature_extraction", "finetune", "head_then_all", "scratch"} <= set(groups["strategy"].split(", "))
    assert groups["head"] == "gradient, knn, logistic, ridge"
    assert "hardware: auto, cpu" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], "did you mean headstart train?"),
        (["model=resnet18"], "did you mean headstart train model=resnet18?"),
        (["frobnicate"], "there are train, compare, status"),
        (["train", "optimizer.lr=-1", "epochs=0"], "2 problems in the config"),
        (["train", "modle=resnet18"], "modle"),
        (["train", "strategy=finetun"], "finetun"),
        (["train", "data=image_folder"], "data.source.root: must be given"),
        (["train", "model=timm", "model.name=resnet19"], "did you mean resnet18"),
        (["compare", "nothing"], "output"),
        (["data", "digit"], "did you mean digits?"),
        (["data", "no/where"], "there is no such file or folder"),
        (["zoo", "--sort", "dept"], "Did you mean depth?"),
    ],
)
def test_mistakes_are_answered_in_words_with_code_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = headstart(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_completion_offers_verbs_groups_and_choices() -> None:
    def complete(line: str) -> list[str]:
        return headstart("-sc", "query=bash", COMP_LINE=line, COMP_POINT=str(len(line))).stdout.split()

    assert complete("headstart tr") == ["train"]
    assert "strategy=" in complete("headstart train str")
    assert "data=" in complete("headstart data da")
    assert {"strategy=scratch", "strategy=finetune"} <= set(complete("headstart train strategy="))
    assert "hydra_bash_completion" in headstart("-sc", "install=bash").stdout
    assert "hydra_bash_completion" in headstart("train", "-sc", "install=bash").stdout


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """As in `headstart train --help | head -1`: here the pipe is closed before anything is written."""
    import os

    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "headstart", "train", "--help"]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_letters_beyond_ascii_are_understood_in_an_ascii_locale(tmp_path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    shown = headstart("train", 'study="größe"', "--cfg", "job", cwd=tmp_path, **ascii_only)
    assert shown.returncode == 0
    assert "study: größe" in shown.stdout
