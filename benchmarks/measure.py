"""A command measured as a whole process, sides measured in turn, and a figure held against its target.

Nothing here imports torch: Linux hands a parent's memory to its children as the floor of their peak.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HEADSTART = (str(Path(sys.executable).with_name("headstart")),)  # the console script, as users start it
MIB = 2**20
UNSTEADY: list[str] = []  # sides whose repeats disagree, in words: the summary names them
TAIL = 3000  # characters of a failed command's output that are shown


@dataclass(frozen=True)
class Process:
    """Wall seconds of a process, from start to end, and the peak memory of the largest process in its tree.

    `cpu` are the seconds that it and its children computed: a busy machine hardly changes them.
    """

    seconds: float
    cpu: float
    peak: int  # bytes resident
    output: str  # stdout and stderr together


@dataclass(frozen=True)
class Figure:
    """One number with its bound: `at_most` or `at_least`, in the same unit; neither: shown for scale only."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return None if self.at_least is None else self.value >= self.at_least

    def line(self) -> str:
        """The figure as one line: value, target, ratio to the target, verdict."""
        shown = f"{self.what:<58}{_number(self.value, self.unit):>10}"
        bound = self.at_least if self.at_most is None else self.at_most
        if bound is None:
            return f"{shown}    for scale{self._tail()}"
        sign = ">=" if self.at_most is None else "<="
        ratio = f"{self.value / bound:.2f} x the target" if bound else ""
        verdict = "reached" if self.reached else "not reached"
        target = f"target {sign} {_number(bound, self.unit)}"
        return f"{shown}    {target:<20}{ratio:<20}{verdict}{self._tail()}"

    def _tail(self) -> str:
        return f"  ({self.note})" if self.note else ""


LINE = re.compile(
    r"\s*(?P<what>\S.*?)\s+(?P<value>-?[\d.]+) ?(?P<unit>\S*)\s+target (?P<sign>[<>]=) (?P<bound>-?[\d.]+)"
    r".*\breached(?:  \((?P<note>.*)\))?$"
)


def figures_in(output: str) -> tuple[list[Figure], list[str]]:
    """The figures with a target that a script printed as `Figure.line`, and its other lines."""
    figures, rest = [], []
    for line in output.splitlines():
        found = LINE.match(line)
        if found is None:
            rest.append(line)
            continue
        what, unit, note = found["what"], found["unit"], found["note"] or ""
        bound = {"at_most" if found["sign"] == "<=" else "at_least": float(found["bound"])}
        figures.append(Figure(what, float(found["value"]), unit, note=note, **bound))
    return figures, rest


def _number(value: float, unit: str) -> str:
    return f"{value:.2f} {unit}" if unit else f"{value:g}"


def threads() -> int:
    """Cores that this process may use: what every side gets as its number of threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str]:
    """The same surroundings for every side: thread count, no tracker, no hub, no colours."""
    same = {"WANDB_MODE": "disabled", "HF_HUB_OFFLINE": "1", "NO_COLOR": "1", "CUDA_VISIBLE_DEVICES": ""}
    return dict(os.environ) | same | {"OMP_NUM_THREADS": str(threads())}


def run(command: Sequence[str], cwd: Path | None = None) -> Process:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; the message ends with what it printed.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment(), cwd=cwd)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)  # Popen did not see the end: wait4 took it
        output.seek(0)
        text = output.read()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {child.returncode}\n{text[-TAIL:]}")
    scale = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there, in KiB elsewhere
    return Process(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale, text)


def interleaved(sides: Mapping[str, Callable[[int], Process]], repeats: int) -> dict[str, list[Process]]:
    """Every side once, then every side again: a machine that warms up or gets busy hits all sides alike."""
    taken: dict[str, list[Process]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, side in sides.items():
            process = side(repeat)
            taken[name].append(process)
            told = f"{process.seconds:.2f} s, {process.cpu:.2f} s of CPU, {process.peak / MIB:.0f} MiB"
            say(f"  {name}: {told}  ({repeat + 1} of {repeats})")
    for name, processes in taken.items():
        fast, slow = min(p.seconds for p in processes), max(p.seconds for p in processes)
        if slow > 1.25 * fast + 0.5:
            UNSTEADY.append(f"not to be trusted: {name} took {fast:.1f} to {slow:.1f} s; was the machine busy?")
            say(f"  {UNSTEADY[-1]}")
    return taken


def seconds(processes: Sequence[Process]) -> float:
    """Median wall seconds."""
    return median(process.seconds for process in processes)


def peak(processes: Sequence[Process]) -> float:
    """Median peak memory in bytes."""
    return median(process.peak for process in processes)


def say(line: str) -> None:
    """Print at once, also into a pipe."""
    print(line, flush=True)
