"""`headstart compare` in the terminal and into a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.errors import UserError
from report.studies import compared, table
from study_files import write_demo, write_run


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """An empty output folder."""
    return tmp_path / "outputs"


def test_terminal_leads_with_table_decision_and_tests(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_demo(outputs)
    compared(outputs, "demo")
    told = " ".join(capsys.readouterr().out.split("╯")[1].split())
    assert told.startswith("Left out") or told.startswith("Take ")
    assert "Tested: each row against feature_extraction" in told
    assert "Holm's correction over them: " in told
    assert "of 2 differences shown" in told
    assert "Differences are not tested" not in told


def test_sort(outputs: Path) -> None:
    write_demo(outputs)
    compared(outputs, "demo", "--sort", "seconds")
    seconds = [float(row["seconds_mean"]) for row in table(outputs)]
    assert seconds == sorted(seconds)
    compared(outputs, "demo", "--sort", "strategy")
    assert [row["strategy"] for row in table(outputs)] == ["feature_extraction", "finetune", "scratch"]
    with pytest.raises(UserError, match=r"Did you mean accuracy\?"):
        compared(outputs, "demo", "--sort", "acuracy")


def piped(outputs: Path, study: str = "demo") -> str:
    """What the verb writes into a pipe that claims to be 40 columns wide."""
    command = [sys.executable, "-c", "import sys; from headstart.cli.compare import main; main(sys.argv[1:])"]
    environment = {key: value for key, value in os.environ.items() if key != "FORCE_COLOR"}
    done = subprocess.run(
        [*command, study, "--output-dir", str(outputs), "--no-plots"],
        capture_output=True,
        env=environment | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "40"},
        check=True,
    )
    return done.stdout.decode()


def test_piped_table_is_whole_and_has_no_colour_codes(outputs: Path) -> None:
    write_demo(outputs)
    text = piped(outputs)
    assert "\x1b" not in text
    assert "…" not in text
    assert "│ feature_extraction │" in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("report:")) <= 100


def test_piped_table_grows_before_it_folds_a_name(outputs: Path) -> None:
    name = "a_strategy_whose_name_alone_takes_up_most_of_the_line_" * 2
    write_run(outputs, strategy=name)
    text = piped(outputs)
    assert f"│ {name} │" in text
    assert "Left out for want of width: balanced %, NLL, ECE %, GMACs" in text


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom headstart.cli.compare import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'matplotlib', 'scipy', 'numpy', 'rich', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("[]")
    assert "STUDY" in done.stdout
