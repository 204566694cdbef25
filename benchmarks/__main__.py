"""Every promise about time and memory, measured in one run and printed as ratios.

Command:   python -m benchmarks [NAME ...] [--repeats 3] [--save]
Expected:  about an hour on 2 otherwise idle cores; every line ends in 'reached'. Exit code 1 where one does not.
"""

import argparse
import datetime
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from benchmarks import (
    extraction,
    fashion,
    jobs,
    look,
    memory,
    page,
    partial,
    pipeline,
    predict,
    prune,
    ray_workers,
    shards,
    startup,
    stress,
    sweep,
    training,
    visualize,
)
from benchmarks.measure import UNSTEADY, Figure, figures_in, run, say, threads

RESULTS = Path(__file__).resolve().parent / "results"
LIBRARIES = (
    "headstart", "torch", "torchvision", "timm", "pytorch-lightning", "hydra-core", "numpy", "scikit-learn",
    "pillow", "simplejpeg", "kornia", "transformers", "accelerate",
)  # fmt: skip
MEASURES = {
    "startup": startup.measure,
    "look": look.measure,
    "page": page.measure,
    "sweep": sweep.measure,
    "jobs": jobs.measure,
    "extraction": extraction.measure,
    "memory": memory.measure,
    "pipeline": pipeline.measure,
    "stress": stress.measure,
    "training": training.measure,
    "partial": partial.measure,
    "predict": predict.measure,
    "prune": prune.measure,
    "ray": ray_workers.measure,
    "shards": shards.measure,
    "visualize": visualize.measure,
}
PROBE = "benchmarks.probe"  # a script of its own: it imports torch, which the parent of measured processes must not


def probe(repeats: int) -> list[Figure]:
    """Run `benchmarks/probe.py`, once; what it prints as `Figure.line` counts, the rest is shown as it is."""
    output = run((sys.executable, "-m", PROBE), cwd=RESULTS.parents[1]).output
    figures, rest = figures_in(output)
    for line in rest:
        say(f"  {line}")
    return figures


if find_spec(PROBE):
    MEASURES["probe"] = probe


def main() -> int:
    """Run what was asked for; returns 0 if every target was reached, 1 if not, 2 if something is missing."""
    arguments = _arguments()
    problem = _missing(arguments.names)
    if problem:
        print(f"benchmarks: {problem}", file=sys.stderr)
        return 2
    facts = _facts()
    for line in facts:
        say(line)
    if os.getloadavg()[0] > 1:
        say(f"note: the machine is busy (load {os.getloadavg()[0]:.1f}); what follows is not to be trusted")
    figures: dict[str, list[Figure]] = {}
    for name in arguments.names:
        say(f"\n{name}")
        figures[name] = MEASURES[name](arguments.repeats)
        for figure in figures[name]:
            say(f"  {figure.line()}")
        if arguments.save:
            say(f"written: {_save(facts, figures, _summary(figures))}")
    say(f"\n{_summary(figures)}")
    return int(any(figure.reached is False for part in figures.values() for figure in part))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(MEASURES)}; all of them by default")
    parser.add_argument("--repeats", type=int, default=3, help="of each side, in turn; medians are shown")
    parser.add_argument("--save", action="store_true", help="also write benchmarks/results/<date>-cpu.md")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(MEASURES))
    if unknown or arguments.repeats < 1:
        parser.error(f"no benchmark {', '.join(unknown)}" if unknown else "--repeats must be at least 1")
    arguments.names = arguments.names or list(MEASURES)
    return arguments


def _missing(names: list[str]) -> str | None:
    """What has to be installed first, in a sentence."""
    if {"extraction", "memory"} & set(names) and not fashion.installed():
        return fashion.INSTALL
    packages = [name for name in ("transformers", "accelerate") if find_spec(name) is None]
    if "extraction" in names and packages:
        return f"{' and '.join(packages)} not installed: pip install -c constraints.txt -e '.[bench]'"
    if "ray" in names and not ray_workers.is_installed():
        return ray_workers.INSTALL
    if "memory" in names and sys.platform != "linux":
        return "memory is read from /proc: run it on Linux, or name the others"
    return None


def _facts() -> list[str]:
    """Date, machine and libraries; nothing that names the machine itself."""
    from headstart.runtime.hardware import processor_name

    installed = []
    for name in LIBRARIES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            installed.append(f"{name} missing")
    return [
        f"date: {datetime.date.today().isoformat()}",
        f"machine: {processor_name()}, {threads()} cores, load before {os.getloadavg()[0]:.1f}",
        f"libraries: Python {platform.python_version()}, {', '.join(installed)}",
    ]


def _summary(figures: dict[str, list[Figure]]) -> str:
    """How many targets were reached, and the lines of those that were not."""
    held = [figure for part in figures.values() for figure in part if figure.reached is not None]
    short = [figure.line() for figure in held if not figure.reached]
    return "\n".join([f"summary: {len(held) - len(short)} of {len(held)} targets reached", *short, *UNSTEADY])


def _save(facts: list[str], figures: dict[str, list[Figure]], summary: str) -> str:
    """Write the figures as Markdown; returns the file's name."""
    lines = [f"# Benchmarks, {datetime.date.today().isoformat()}, CPU", "", *(f"- {fact}" for fact in facts)]
    for name, part in figures.items():
        lines += ["", f"## {name}", "", "```", *(figure.line() for figure in part), "```"]
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.date.today().isoformat()}-cpu.md"
    path.write_text("\n".join([*lines, "", "```", summary, "```", ""]), encoding="utf-8")
    return f"benchmarks/results/{path.name}"


if __name__ == "__main__":
    sys.exit(main())
