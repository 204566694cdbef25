"""The benchmarks' own arithmetic: verdicts, whole processes, the images that all sides read."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmarks import fashion, gpu
from benchmarks.measure import Figure, Process, figures_in, interleaved, run

from headstart.config.machine import count_gpus_at_most


@pytest.mark.parametrize(
    ("value", "bound", "reached"),
    [
        (0.4, {"at_most": 0.4}, True),
        (0.41, {"at_most": 0.4}, False),
        (5.0, {"at_least": 5}, True),
        (4.99, {"at_least": 5}, False),
        (0.0, {"at_least": 0}, True),
        (-0.1, {"at_least": 0}, False),
        (1.0, {}, None),
    ],
)
def test_verdict(value: float, bound: dict[str, float], reached: bool | None) -> None:
    figure = Figure("what is measured", value, "s", **bound)
    assert figure.reached is reached
    ending = {True: " reached", False: " not reached", None: "for scale"}[reached]
    assert figure.line().endswith(ending)


def test_printed_figures_are_read_back() -> None:
    figures = [Figure("a b: c / d", 6.25, "x", at_least=5.0, note="of 3"), Figure("left over", 0.0, "", at_most=0.0)]
    found, rest = figures_in("\n".join(["a line of its own", *(figure.line() for figure in figures)]))
    assert found == figures
    assert rest == ["a line of its own"]


def test_whole_process_is_measured() -> None:
    """From a process of its own: a child's peak starts at its parent's, and pytest's may be large."""
    child = "import time; time.sleep(0.3); kept = b'1' * (200 * 2**20); print('said')"
    parent = (
        f"import sys; from benchmarks.measure import MIB, run; process = run((sys.executable, '-c', {child!r}))\n"
        "assert 0.3 <= process.seconds < 30, process\n"
        "assert 200 <= process.peak / MIB < 400, process\n"
        "assert process.output == 'said\\n', process"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr


def test_a_failed_command_shows_what_it_printed() -> None:
    with pytest.raises(RuntimeError, match=r"exit code 3\nwhy"):
        run((sys.executable, "-c", "print('why'); raise SystemExit(3)"))


def test_sides_take_turns() -> None:
    turns: list[str] = []

    def side(name: str) -> Callable[[int], Process]:
        def once(repeat: int) -> Process:
            turns.append(f"{name}{repeat}")
            return run((sys.executable, "-c", ""))

        return once

    interleaved({"a": side("a"), "b": side("b")}, 2)
    assert turns == ["a0", "b0", "a1", "b1"]


@pytest.mark.skipif(not fashion.installed(), reason=fashion.INSTALL)
def test_images_on_disk(tmp_path: Path) -> None:
    root = fashion.write(tmp_path / "images", n_train=80, n_test=50, seed=0)
    counts = {part: len(list((root / part).glob("*/*.png"))) for part in ("train", "test")}
    assert counts == {"train": 80, "test": 50}
    assert sorted(folder.name for folder in (root / "train").iterdir()) == [str(label) for label in range(10)]


@pytest.mark.skipif(count_gpus_at_most() != 0, reason="this machine may have a GPU")
def test_without_a_gpu_its_benchmark_says_so() -> None:
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, cwd=root)
    assert (done.returncode, done.stderr) == (2, "benchmarks: this machine has no GPU\n")


@pytest.mark.gpu
def test_one_training_speed_on_a_gpu() -> None:
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "benchmarks.steps", "ours", *gpu.RUN, "model.name=resnet18", *gpu.OURS["tuned"]]
    small = ["data.image_size=64", "data.batch_size=32", "epochs=3"]
    done = subprocess.run([*command, *small], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["images_per_second"] > 100
    assert {f"{precision} channels_last" for precision in ("32", "bf16", "16")} <= set(
        found["hardware"]["tuned"]["images_per_second"]
    )


@pytest.mark.slow
def test_predicting_many_files_takes_no_more_memory(tmp_path: Path) -> None:
    """From a process of its own, as above: 10,000 files take at most 100 MiB more than 100."""
    code = (
        "from pathlib import Path; from benchmarks.predict import measure_memory\n"
        f"figure = measure_memory(Path({str(tmp_path)!r}), 1)\nassert figure.reached, figure.line()"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
