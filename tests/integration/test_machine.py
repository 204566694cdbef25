"""What the machine withholds: memory, a home, a terminal, letters. A run goes on without, or says what it lacks."""

from __future__ import annotations

import csv
import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.errors import RunFailed, UserError, as_user_error

SMALL = (
    "hardware=cpu hardware.threads=1 data.image_size=32 data.train_per_class=4 data.n_test=40 epochs=1 logger=csv "
    "model=timm model.name=test_resnet strategy=scratch"
)
NAMES = ("crème brûlée", "寿司", "plain")


def shell(line: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`line` in bash, `headstart` being this one; the environment holds what is given, and no more than it takes."""
    line = line.replace("headstart", f"{shlex.quote(sys.executable)} -m headstart", 1)
    base = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        cwd=cwd,
        env=base | {"OMP_NUM_THREADS": "1"} | environment,
        timeout=240,
        encoding="utf-8",
        errors="surrogateescape",
    )


def results(folder: Path) -> list[dict]:
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("outputs/*/*/result.json"))]


# memory


@pytest.mark.slow
def test_out_of_memory_fails_its_job_with_advice_and_the_sweep_goes_on(tmp_path: Path) -> None:
    options = f"{SMALL} data.train_per_class=80 data.batch_size=400 data.image_size=224,32"
    done = shell(f"ulimit -v 5000000; headstart train -m {options}", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "headstart: out of memory (" in done.stdout
    advice = ("Lower data.batch_size", "hardware.accumulate", "hardware.precision=bf16", "smaller data.image_size")
    assert not [words for words in advice if words not in done.stdout]
    assert "1 of 2 jobs failed" in done.stdout
    assert len(results(tmp_path)) == 1, "the second job, which fits, went on"
    states = [json.loads(path.read_text())["status"] for path in tmp_path.glob("outputs/runs/*/state.json")]
    assert sorted(states) == ["completed", "failed"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_every_allocators_error_is_told(error: Exception) -> None:
    known = as_user_error(error)
    assert isinstance(known, RunFailed)
    assert "data.batch_size" in str(known)


def test_torchs_and_numpys_own_errors_are_told() -> None:
    import torch

    assert isinstance(as_user_error(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")), RunFailed)
    with pytest.raises(MemoryError) as caught:
        np.ones((1 << 50,), dtype=np.float64)
    assert isinstance(as_user_error(caught.value), RunFailed)
    with pytest.raises(RuntimeError) as failed:
        torch.empty(1 << 50)
    assert isinstance(as_user_error(failed.value), RunFailed)


def test_other_errors_are_not_taken_for_it() -> None:
    for error in (RuntimeError("shapes do not fit"), KeyError("memory"), FileNotFoundError(2, "No such file")):
        assert as_user_error(error) is None
    wrong = UserError("x")
    assert as_user_error(wrong) is wrong


# home, terminal, letters


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of random pictures, two of them with names beyond ASCII."""
    root = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for name in NAMES:
        (root / name).mkdir()
        for index in range(10):
            Image.fromarray(draw.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(root / name / f"é{index}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("home", [{}, {"HOME": "/nowhere"}, {"HOME": "/proc"}], ids=["unset", "missing", "unwritable"])
def test_no_home_and_the_c_locale_lose_no_letter(home: dict[str, str], images: Path, tmp_path: Path) -> None:
    options = f"{SMALL} data=image_folder data.source.root={images} data.n_test=null logger=wandb logger.mode=offline"
    done = shell(f"headstart train {options}", tmp_path, LC_ALL="C", **home)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "W&B is unreachable" not in done.stdout
    (result,) = results(tmp_path)
    assert sorted(result["classes"]) == sorted(NAMES)
    folder = tmp_path / "outputs" / "runs" / result["run"]
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as lines:
        assert {Path(row["name"]).name[0] for row in csv.DictReader(lines)} == {"é"}
    assert (folder / "figures" / "confusion.png").stat().st_size > 1000
    (record,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert record.stat().st_size > 1000
    tables = [path.read_text("utf-8") for path in folder.glob("wandb/offline-run-*/files/media/table/**/*.json")]
    assert any("寿司" in json.dumps(json.loads(table), ensure_ascii=False) for table in tables)
    compared = shell("headstart compare runs", tmp_path, LC_ALL="C", **home)
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert (tmp_path / "outputs" / "runs" / "report" / "index.html").is_file()


@pytest.mark.slow
def test_a_terminal_without_our_letters_shows_escapes(images: Path, tmp_path: Path) -> None:
    """ASCII throughout, as Python has it when it may not help itself: file names too are bytes, and the terminal is."""
    options = f"{SMALL} data=image_folder data.source.root={images} data.n_test=null"
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = shell(f"headstart train {options}", tmp_path, **ascii_only)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "\\u2013" in done.stdout, "the dash of the strategy table"
    assert len(results(tmp_path)) == 1
    (log,) = tmp_path.glob("outputs/runs/*/train.log")
    assert "–" in log.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("ending", [">&-", ">&- 2>&- <&-", "> /dev/full", "| head -n 1; exit ${PIPESTATUS[0]}"])
def test_output_that_nobody_takes_ends_no_run(ending: str, tmp_path: Path) -> None:
    done = shell(f"headstart train {SMALL} {ending}", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert len(results(tmp_path)) == 1
    (log,) = tmp_path.glob("outputs/runs/*/train.log")
    assert "phase" in log.read_text("utf-8")


@pytest.mark.slow
def test_a_terminal_shows_the_lines_of_a_pipe_and_at_most_a_bar(tmp_path: Path) -> None:
    main, other = pty.openpty()
    line = [sys.executable, "-m", "headstart", "train", *SMALL.split()]
    with subprocess.Popen(line, stdin=other, stdout=other, stderr=other, cwd=tmp_path) as process:
        os.close(other)
        seen = b""
        while True:
            try:
                got = os.read(main, 65536)
            except OSError:  # the other side is closed
                break
            if not got:
                break
            seen += got
    os.close(main)
    assert process.returncode == 0
    assert b"test accuracy" in seen
    drawn = seen.split(b"\r\x1b[K")  # each bar is drawn over the one before it, and taken away before a line
    lines = b"".join(part for part in drawn if b"\n" in part)
    assert b"\x1b" not in lines
    assert b"so far" not in lines
    assert drawn[-1].endswith(b"\n"), "no bar is left"
