"""`headstart visualize RUN transfer`: what it says is true, and what it cannot say it says in words."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

import fork_server
import headstart
from conftest import compose
from visualize.runs import train_small

STUDY, SEEDS = "carried", (0, 1, 2)
SMALL = ("model.name=test_efficientnet", "data.image_size=32", "optimizer.lr=0.003", "logger=csv", "hardware=cpu")
CLOTHES = ("strategy=scratch", "data=fashion_mnist", "data.train_per_class=100", "data.n_test=100", "epochs=8")
DIGITS = ("data=digits", "data.train_per_class=80", "data.val_fraction=0.5", "epochs=10")


def train(folder: Path, study: str, *overrides: str) -> Path:
    from headstart import train

    given = [*SMALL, f"study={study}", f"output_dir={folder}", *overrides]
    result = train.run(compose(*given), given)
    return folder / result["study"] / result["run"]


def recommend(run: Path) -> str | None:
    """The keys of the recommended strategy; None where it says that the images are too few to spare depths."""
    done = fork_server.run("visualize", str(run), "transfer")
    assert (done.returncode, done.stderr) == (0, "")
    found = re.findall(r"(strategy=partial strategy\.phases\.tail\.rates\.last\.groups=\d) should do", done.stdout)
    assert found or "are too few to say which depths can be spared" in done.stdout
    return found[0] if found else None


@pytest.mark.slow
def test_the_recommended_strategy_keeps_the_gain(tmp_path: Path) -> None:
    """Fine-tuning gains on digits; the sentence names the depths; runs that train these alone are as good.

    As good means that `compare`, which counts seeds and test images together, shows no loss. The network has learnt
    clothes before, of which its last depths know too much for digits.
    """
    digits = (*DIGITS, f"model.weights=run:{train(tmp_path, 'clothes', *CLOTHES)}")
    tuned = [train(tmp_path, STUDY, *digits, "strategy=finetune", f"seed={seed}") for seed in SEEDS]
    run, keys = next((run, keys) for run in tuned if (keys := recommend(run)))
    assert int(keys[-1]) < 6  # of 6 depths
    for seed in SEEDS:
        train(tmp_path, STUDY, *digits, *keys.split(), f"seed={seed}")
        train(tmp_path, STUDY, *digits, "strategy=feature_extraction", f"seed={seed}")
    pairs = headstart.compare(STUDY, reference="partial", output_dir=tmp_path, plots=False).pairs
    ahead = {pair["row"]: (pair["difference"], pair["half_width"]) for pair in pairs}
    assert ahead.keys() == {"finetune", "feature_extraction"}
    assert {pair["against"] for pair in pairs} == {"partial"}
    difference, half = ahead["finetune"]
    assert difference - half <= 0
    difference, half = ahead["feature_extraction"]
    assert difference + half < 0
    picture = Image.open(run / "figures" / "transfer.png")
    assert picture.width > 1500


@pytest.fixture(scope="module")
def head_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_small(tmp_path_factory.mktemp("runs"), "strategy=feature_extraction")


def test_a_frozen_backbone_is_answered_in_words(head_only: Path) -> None:
    done = fork_server.run("visualize", str(head_only), "transfer")
    assert (done.returncode, done.stderr) == (0, "")
    assert "training has changed nothing in the backbone: it was frozen, and only the head learnt" in done.stdout
    assert not (head_only / "figures" / "transfer.png").exists()


@pytest.mark.slow
def test_a_run_that_changed_its_last_depth(tmp_path: Path) -> None:
    run = train_small(tmp_path, "strategy=partial", "seed=1")
    done = fork_server.run("visualize", str(run), "transfer", "--part", "test", "--images", "30")
    assert (done.returncode, done.stderr) == (0, "")
    assert "30 test images: accuracy" in done.stdout
    lines = [line for line in done.stdout.splitlines() if re.match(r"[1-8]  ", line)]
    assert len(lines) == 8
    assert all("0.000       0.000  1.00      unchanged" in line for line in lines[:7])
    with (run / "figures" / "transfer.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["changed"] for row in rows] == ["false"] * 7 + ["true"]
    assert [float(row["alone_change"]) for row in rows[:7]] == [0] * 7


def test_runs_that_started_from_nothing_are_refused(tmp_path: Path) -> None:
    run = train_small(tmp_path, "model=lenet5", "strategy=scratch")
    done = fork_server.run("visualize", str(run), "transfer")
    assert done.returncode == 2
    assert "strategy=scratch starts from random weights, so there are no pretrained ones" in done.stderr
    done = fork_server.run("visualize", "efficientnet_lite0", "transfer", cwd=tmp_path)
    assert done.returncode == 2
    assert "is no run, so nothing has changed it" in done.stderr


def test_other_pretrained_weights_than_then_are_refused(head_only: Path, tmp_path: Path) -> None:
    """The base of a run is another run whose weights are replaced."""
    base = tmp_path / "base"
    shutil.copytree(head_only, base)
    run = train_small(tmp_path, "strategy=finetune", f"model.weights=run:{base}", "epochs=1")
    other = train_small(tmp_path, "strategy=finetune", "epochs=1")
    shutil.copy(other / "checkpoints" / "best.safetensors", base / "checkpoints" / "best.safetensors")
    done = fork_server.run("visualize", str(run), "transfer")
    assert done.returncode == 2
    assert "have changed since the run started from them" in done.stderr


def test_no_images_and_a_run_that_is_not_complete_are_refused(head_only: Path, tmp_path: Path) -> None:
    done = fork_server.run("visualize", str(head_only), "transfer", "--images", "0")
    assert done.returncode == 2
    assert "--images 0: must be 1 or more" in done.stderr
    broken = tmp_path / "broken"
    shutil.copytree(head_only, broken)
    (broken / "result.json").unlink()
    done = fork_server.run("visualize", str(broken), "transfer")
    assert done.returncode == 2
    assert "this run is not complete" in done.stderr
