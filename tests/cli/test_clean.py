"""`headstart clean`: lists, asks, deletes what can be made again, and leaves the rest."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from headstart.cli import clean
from headstart.errors import UserError
from headstart.storage import locks
from storage.test_leftovers import DIGEST, make_run, write


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("outputs/first/run"))
    make_run(Path("outputs/first/cut"), complete=False)
    make_run(Path("outputs/second/run"))
    write(Path(f"outputs/.cache/features/key/{DIGEST}.safetensors"), 5_000_000, days=40)
    write(Path(f"outputs/.cache/images/contents/{DIGEST}.rows"), days=1)


def files() -> set[str]:
    return {str(path) for path in Path("outputs").rglob("*") if path.is_file() and path.name != ".lock"}


def test_without_a_terminal_it_lists_only(capsys: pytest.CaptureFixture[str]) -> None:
    before = files()
    assert clean.main(["first"]) == 0
    said = capsys.readouterr().out
    for line in (
        "checkpoints of completed runs: 1.0 kB",
        "outputs/first/run/checkpoints/all",
        "half-written files: 40 bytes",
        "cached features: 5.0 MB",
        "40 days old  outputs/.cache/features/key",
        "total: 5.0 MB",
        "nothing is deleted: without a terminal to ask at, --yes deletes",
    ):
        assert line in said
    assert "second" not in said
    assert files() == before


@pytest.mark.parametrize("answer", ["", "n", "y"])
def test_at_a_terminal_it_asks(answer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, screen = files(), Terminal()
    monkeypatch.setattr("sys.stdin", Terminal(answer + "\n"))
    monkeypatch.setattr("sys.stdout", screen)
    assert clean.main([]) == 0
    assert "Delete all of this? [y/N]" in screen.getvalue()
    assert (files() == before) == (answer != "y")
    assert ("deleted 5.0 MB" in screen.getvalue()) == (answer == "y")


def test_yes_deletes_what_was_listed_and_nothing_else() -> None:
    before = files()
    assert clean.main(["first", "--yes"]) == 0
    run, cut = "outputs/first/run", "outputs/first/cut"
    assert before - files() == {
        f"{run}/checkpoints/all/best.safetensors",
        f"{run}/checkpoints/head/best.safetensors",
        f"{run}/checkpoints/all/step-00000012-0123456789abcdef.ckpt",
        *(f"{folder}/.predictions.csv.123" for folder in (run, cut)),
        *(f"{folder}/checkpoints/all/.step-00000013.77" for folder in (run, cut)),
        f"outputs/.cache/features/key/{DIGEST}.safetensors",
        f"outputs/.cache/images/contents/{DIGEST}.rows",
    }


def test_a_dry_run_and_an_age(capsys: pytest.CaptureFixture[str]) -> None:
    before = files()
    assert clean.main(["--yes", "--dry-run"]) == 0
    assert files() == before
    assert clean.main(["--yes", "--older-than", "30d"]) == 0
    assert before - files() == {f"outputs/.cache/features/key/{DIGEST}.safetensors"}
    capsys.readouterr()
    assert clean.main(["--yes", "--older-than", "4w"]) == 0
    assert capsys.readouterr().out == "nothing to delete\n"


def test_a_run_that_another_process_holds_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run, before = Path("outputs/first/run"), files()
    with locks.hold(run / ".lock"):
        assert clean.main(["first", "--yes"]) == 0
    said = capsys.readouterr().out
    assert "left alone: outputs/first/run is being run by pid" in said
    assert not [name for name in before - files() if name.startswith(f"{run}/")]
    assert [name for name in before - files() if name.startswith("outputs/first/cut/")]


def test_a_run_that_is_started_again_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = files()

    def answer(*_: object) -> bool:
        Path("outputs/first/run/result.json").unlink()  # as rerun=true does
        return True

    monkeypatch.setattr(clean, "_is_confirmed", answer)
    assert clean.main(["first"]) == 0
    gone = {name for name in before - files() if name.startswith("outputs/first/run/checkpoints")}
    assert gone == {"outputs/first/run/checkpoints/all/.step-00000013.77"}


def test_studies_that_are_links_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "elsewhere/run")
    Path("outputs/link").symlink_to(tmp_path / "elsewhere")
    Path("outputs/second/linked").symlink_to(tmp_path / "elsewhere/run")
    assert clean.main(["link", "second", "--yes"]) == 0
    assert "left alone: outputs/link is a symbolic link" in capsys.readouterr().out
    assert (tmp_path / "elsewhere/run/checkpoints/head/best.safetensors").exists()
    assert not Path("outputs/second/run/checkpoints/head").exists()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["third"], "holds no study 'third'"),
        (["--older-than", "soon"], "--older-than soon: must be a number and h, d or w"),
        (["--output-dir", "nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_bad_input_is_answered(words: list[str], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        clean.main(words)
