"""`headstart compare --wandb` against a W&B server: one view and one report, however often; no key with a dot."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fork_server
from conftest import compose
from headstart.config.flat import flatten, name_key
from headstart.report.study.groups import compare
from headstart.report.study.read import read
from headstart.report.wandb.dashboard import choose_group
from study_files import write_demo, write_run
from wandb_server import Server

GOLDEN = Path(__file__).parent / "wandb_views.json"
RANDOM = ("id", "__id__", "ref", "name", "panelSearchHistory", "viewID", "runSetId", "key")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.die()


def publish(
    cwd: Path, server: Server, *options: str, studies: tuple[str, ...] = ("demo",)
) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "k" * 40, "HOME": str(cwd)}
    return fork_server.run("compare", *studies, "--wandb", *options, cwd=cwd, env=kept | own)


def write_study(cwd: Path, study: str = "demo") -> None:
    for folder in write_demo(cwd / "outputs", study):
        text = (folder / "config.yaml").read_text()
        (folder / "config.yaml").write_text(text.replace("wandb: false", "wandb: true\n  project: p"))


def scrub(node: Any) -> Any:
    """The view without the names that are drawn at random."""
    if isinstance(node, dict):
        drawn = [key for key in node if key in RANDOM and re.fullmatch(r"[0-9a-z]{8,16}|VmlldzoX\\d", str(node[key]))]
        return {key: scrub(value) for key, value in node.items() if key not in drawn}
    if isinstance(node, list):
        return [scrub(value) for value in node]
    return node


def list_texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in node.values():
            yield from list_texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from list_texts(value)
    elif isinstance(node, str):
        yield node


@pytest.mark.slow
def test_twice_gives_one_view_and_one_report_as_in_the_golden_file(tmp_path: Path, server: Server) -> None:
    write_study(tmp_path)
    first = publish(tmp_path, server, "--no-plots")
    assert first.returncode == 0, first.stdout + first.stderr
    second = publish(tmp_path, server, "--no-plots")
    assert second.returncode == 0, second.stderr
    assert sorted(view["type"] for view in server.views.values()) == ["project-view", "runs"]
    assert len(re.findall(r"^W&B: http", second.stdout, re.MULTILINE)) == 2
    assert set(json.loads((tmp_path / "outputs/demo/wandb.json").read_text())) >= {"view", "report", "project"}
    made = {view["type"]: scrub(view["spec"]) for view in server.views.values()}
    if os.environ.get("HEADSTART_GOLDEN"):
        GOLDEN.write_text(json.dumps(made, indent=1, sort_keys=True) + "\n")
    assert made == json.loads(GOLDEN.read_text())


def test_no_panel_uses_a_key_with_a_dot_or_null() -> None:
    """What W&B itself adds to a key of the config is `.value`."""
    views = json.loads(GOLDEN.read_text())
    keys = [text for text in list_texts(views) if re.match(r"(config|summary):|(train|val|test|best|seconds)/", text)]
    assert {"val/accuracy", "config:strategy", "summary:test/accuracy"} <= {key.removesuffix(".value") for key in keys}
    assert [key for key in keys if "." in key.removesuffix(".value")] == []


def test_columns_are_named_as_the_runs_are(tmp_path: Path) -> None:
    known = flatten(compose())
    paths = ("optimizer.lr", "optimizer._target_", "scheduler.sched", "data.train_per_class", "strategy.phases.all.lr")
    assert [name_key(path) for path in paths] == ["lr", "optimizer", "scheduler", "n_per_class", "strategy_phases"]
    assert not [name_key(path) for path in (*paths, "model.args.drop_rate") if name_key(path) not in known]


def test_curves_are_of_what_differs(tmp_path: Path) -> None:
    """Of one strategy on several networks, one curve of all runs would tell nothing."""
    for model in ("efficientnet_lite0", "resnet18"):
        write_run(tmp_path, model=model)
        write_run(tmp_path, "rates", changes={"optimizer.lr": len(model) / 100})
    found = [choose_group(compare(read(tmp_path / study))) for study in ("demo", "rates")]
    write_run(tmp_path, strategy="scratch")
    assert [*found, choose_group(compare(read(tmp_path / "demo")))] == ["model", "lr", "strategy"]


@pytest.mark.slow
def test_charts_are_logged_and_shown(tmp_path: Path, server: Server) -> None:
    write_study(tmp_path)
    done = publish(tmp_path, server)
    assert done.returncode == 0, done.stderr
    ((name, run),) = server.runs.items()
    assert re.fullmatch("demo-charts-[0-9a-f]{6}", name), "studies of one name in two output folders never share it"
    (point,) = run.history
    charts = [name for name in point if name.startswith("charts/")]
    assert charts
    (report,) = [view for view in server.views.values() if view["type"] == "runs"]
    assert {*charts, run.config["charts"]} <= set(list_texts(report["spec"]))
    assert publish(tmp_path, server).returncode == 0
    assert list(server.runs) == [name]


@pytest.mark.slow
def test_studies_side_by_side_show_the_runs_of_each(tmp_path: Path, server: Server) -> None:
    studies = ("demo", "other+1")
    for study in studies:
        write_study(tmp_path, study)
    done = publish(tmp_path, server, "--no-plots", studies=studies)
    assert done.returncode == 0, done.stderr
    assert len(server.views) == 2
    for view in server.views.values():
        spec = view["spec"] if isinstance(view["spec"], str) else json.dumps(view["spec"])
        found = re.findall(r'"name": ?"study"[^]]*?"value": ?(\[[^]]*\])', spec)
        assert found, spec
        assert {tuple(json.loads(text)) for text in found} == {studies}


def test_a_study_without_wandb_says_so(tmp_path: Path, server: Server) -> None:
    write_demo(tmp_path / "outputs")
    done = publish(tmp_path, server, "--no-plots")
    assert done.returncode == 2
    assert "--wandb: no run of the study was logged to W&B" in done.stderr
