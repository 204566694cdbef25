"""A study's folder that somebody sent: nothing in it runs, and all of it is shown as text."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart.cli.compare import main
from headstart.config import own_code
from study_files import write_demo

EVIL = "\x1b[2J\x1b]0;owned\x07"
FORMULA = "=HYPERLINK(A1)"


def rename(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def received(outputs: Path) -> Path:
    """A study whose every text says more than it should."""
    write_demo(outputs)
    for folder in sorted((outputs / "demo").iterdir()):
        result = json.loads((folder / "result.json").read_text())
        classes = [f"{FORMULA}{EVIL}<script>{place}" for place in range(len(result["classes"]))]
        names = {"model": f"{FORMULA}{EVIL}{result['model']}", "strategy": f"@{EVIL}{result['strategy']}"}
        rename(folder / "result.json", {**names, "classes": classes, "data": f"{EVIL}<script>", "wandb_id": EVIL})
        table = (folder / "predictions.csv").read_text().splitlines()
        heads = table[0].split(",")
        rows = [line.split(",") for line in table[1:]]
        for row in rows:
            row[heads.index("name")] = f"{FORMULA}{EVIL}{row[heads.index('index')]}"
        (folder / "predictions.csv").write_text("\n".join(",".join(row) for row in [heads, *rows]) + "\n")
        folder.rename(folder.with_name(f"{folder.name}{EVIL.replace('/', '')}"))
    (outputs / "demo" / f"x{EVIL}").mkdir()
    (outputs / "demo" / f"x{EVIL}" / "state.json").write_text(json.dumps({"status": EVIL}))
    (outputs / "demo").rename(outputs / f"demo{EVIL}")
    return outputs


def test_terminal_page_and_tables_hold_text_only(received: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--output-dir", str(received)]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err
    assert "\x07" not in shown.out + shown.err
    assert r"\x1b[2J" in shown.out
    (report,) = received.glob("*/report")
    page = (report / "index.html").read_text()
    assert not [char for char in ("\x1b", "\x07", "<script>0", "<script>1") if char in page]
    tables = list(report.glob("*.csv"))
    assert len(tables) > 5
    for path in tables:
        for cell in (cell for line in csv.reader(path.open(newline="")) for cell in line):
            assert "\x1b" not in cell, path.name
            assert not cell.startswith(("=", "@")), path.name


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("torch.utils.collect_env.run", marks=pytest.mark.slow),
        pytest.param("headstart.storage.files.write_text", marks=pytest.mark.slow),
        "lab_evil.figures.Mine",
        "os.system",
    ],
)
def test_a_figure_that_is_none_is_not_run(
    target: str, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even imported, although the module lies in the folder of the command and the config names it."""
    write_demo(outputs)
    harm = tmp_path / "made"
    (tmp_path / "lab_evil").mkdir()
    (tmp_path / "lab_evil" / "figures.py").write_text(f"open({str(harm)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": target, "command": f"touch {harm}", "path": str(harm), "text": "x"}
    for path in (outputs / "demo").glob("*/config.yaml"):
        path.write_text(path.read_text() + json.dumps({"figures": {"x": node}, "imports": ["lab_evil.figures"]})[1:-1]
                        .replace(', "imports"', '\n"imports"') + "\n")  # fmt: skip
    assert main(["demo", "--output-dir", str(outputs)]) == 0
    assert "is built here" in (outputs / "demo/report/index.html").read_text()
    assert not harm.exists()
    assert "lab_evil" not in sys.modules


def test_a_figure_of_ones_own_is_drawn_on_request(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_demo(outputs)
    monkeypatch.setattr(own_code, "_imported", {})
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lab_figures.py").write_text(
        "from headstart.report.questions import Figure\n\n\nclass Mine(Figure):\n"
        "    def fill(self, comparison, path):\n        raise LookupError('seen by my figure')\n"
    )
    for path in (outputs / "demo").glob("*/config.yaml"):
        path.write_text(path.read_text() + "figures: {x: {_target_: lab_figures.Mine, title: Mine}}\n")
    assert main(["demo", "--output-dir", str(outputs), "--imports", "lab_figures"]) == 0
    assert "seen by my figure" in (outputs / "demo/report/index.html").read_text()
