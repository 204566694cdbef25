"""Which runs count, and why the others do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.errors import UserError
from report.studies import compared, table
from study_files import write_run


def test_only_completed_runs_count(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(outputs, seed=0)
    write_run(outputs, seed=1)
    failed = write_run(outputs, seed=2, skill=0.1)
    result = json.loads((failed / "result.json").read_text())
    (failed / "result.json").write_text(json.dumps(result | {"status": "failed"}))
    cut_off = write_run(outputs, seed=3, skill=0.1)
    (cut_off / "result.json").unlink()
    (cut_off / "state.json").write_text(json.dumps({"phase": "main"}))
    running = write_run(outputs, seed=4, skill=0.1)
    (running / "result.json").unlink()
    (running / "state.json").write_text(json.dumps({"status": "running"}))
    broken = write_run(outputs, seed=5)
    (broken / "result.json").unlink()
    state = {"status": "failed", "error": "UserError: <b>a.png</b> cannot be read\nmore"}
    (broken / "state.json").write_text(json.dumps(state))
    compared(outputs, "demo")
    (row,) = table(outputs)
    assert row["seeds"] == "0 1"
    assert "not counted: 1 cut off or still running, 2 failed, 1 running" in capsys.readouterr().out
    page = (outputs / "demo/report/index.html").read_text("utf-8")
    assert f"{broken.name} (failed: UserError: &lt;b&gt;a.png&lt;/b&gt; cannot be read)" in page


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"status": "completed", "test": {"accu', "Unterminated string"),
        ("[1, 2]", "not a JSON object"),
        (
            '{"status": "completed", "model": "m", "strategy": "s", "data": "d", "seed": 1}',
            "no test.accuracy",
        ),
        ('{"status": "completed", "model": "m", "data": "d", "seed": 1}', "no strategy"),
    ],
)
def test_broken_result_is_named(outputs: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str) -> None:
    write_run(outputs, seed=0)
    broken = write_run(outputs, seed=1)
    (broken / "result.json").write_text(content)
    compared(outputs, "demo")
    (row,) = table(outputs)
    assert row["seeds"] == "0"
    printed = " ".join(capsys.readouterr().out.split())
    assert "not counted: 1 unreadable" in printed
    assert broken.name in printed
    assert reason in printed


def test_study_without_completed_run_is_an_error(outputs: Path) -> None:
    folder = write_run(outputs)
    (folder / "result.json").unlink()
    with pytest.raises(UserError, match="no completed run"):
        compared(outputs, "demo")
