"""The demo and every experiment, shrunken, as commands."""

from __future__ import annotations

import csv
import html
import json
import shutil
import subprocess
from pathlib import Path

import pytest

import fork_server
from conftest import SMALL
from headstart.config import resolvers

STUDIES = sorted(path.stem for path in (resolvers.config_folder() / "experiment").glob("*.yaml") if path.stem != "demo")
TINY = (
    "size=small", "data.n_train=40", "data.train_per_class=null", "data.train_fraction=null", "data.n_test=20",
    "data.batch_size=16", "epochs=1", "seed=0", "logger=csv", "hardware=cpu",
)  # fmt: skip
LARGER = {"shots": ("data.n_train=null", "data.train_per_class=2,4")}  # what it sweeps cannot be one number


def headstart(*arguments: str, cwd: Path) -> str:
    """Run a command to its end; returns what it printed."""
    done = fork_server.run(*arguments, cwd=cwd, timeout=550)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs_through_and_draws_its_figures(name: str, tmp_path: Path) -> None:
    headstart("train", "-m", f"experiment={name}", *TINY, *LARGER.get(name, ()), cwd=tmp_path)
    headstart("compare", name, cwd=tmp_path)
    assert len(list((tmp_path / "outputs" / name).glob("*/result.json"))) >= 2
    report = tmp_path / "outputs" / name / "report"
    assert (report / f"{name}.png").is_file()
    assert "Not drawn" not in (report / "index.html").read_text("utf-8")
    assert not [path for path in tmp_path.iterdir() if path.name != "outputs"], "nothing is left outside outputs/"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the demo was run with two seeds, and compared."""
    place = tmp_path_factory.mktemp("demo")
    headstart("train", "-m", "experiment=demo", *SMALL, "epochs=1", "seed=0,1", cwd=place)
    headstart("compare", "demo", cwd=place)
    return place


@pytest.mark.slow
def test_the_demo_runs_through_and_is_compared(demo: Path) -> None:
    results = [json.loads(path.read_text()) for path in (demo / "outputs" / "demo").glob("*/result.json")]
    assert len(results) == 6
    report = demo / "outputs" / "demo" / "report"
    with (report / "summary.csv").open() as lines:
        rows = {row["strategy"]: row for row in csv.DictReader(lines)}
    page = (report / "index.html").read_text("utf-8")
    for strategy, row in rows.items():
        accuracies = [result["test"]["accuracy"] for result in results if result["strategy"] == strategy]
        assert len(accuracies) == 2
        assert float(row["accuracy_mean"]) == pytest.approx(sum(accuracies) / 2, abs=1e-12)
        assert f"{100 * sum(accuracies) / 2:.1f}" in html.unescape(page)
    assert len(list(report.glob("*.png"))) >= 4
    assert not [path for path in demo.iterdir() if path.name != "outputs"], "nothing is left outside outputs/"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_the_demos_page_opens_without_errors(demo: Path, tmp_path: Path) -> None:
    page = demo / "outputs" / "demo" / "report" / "index.html"
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'browser'}",
         "--enable-logging=stderr", "--virtual-time-budget=3000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert "feature_extraction" in done.stdout
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_one_bad_job_does_not_end_the_sweep(tmp_path: Path) -> None:
    network = ("model=timm", "model.name=test_resnet", "strategy=scratch")
    done = fork_server.run(
        "train", "-m", *SMALL, *network, "optimizer=sgd", "optimizer.lr=1e30,0.01", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 1
    assert "it diverged" in done.stdout
    assert "1 of 2 jobs failed" in done.stdout
    assert len(list((tmp_path / "outputs").glob("runs/*/result.json"))) == 1
