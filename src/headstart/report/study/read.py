"""Read a study's folder: completed runs on one side, everything that does not count, with its reason, on the
other.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

from headstart.report.study import configs
from headstart.report.study.answers import Answers, read_answers
from headstart.report.study.metric import ACCURACY, Metric
from headstart.report.study.repeat import Repeat
from headstart.scores import TOP
from headstart.storage.plain_text import escape_controls, read_cells

RUN_FILES = ("result.json", "state.json", "config.yaml")


@dataclass(frozen=True)
class Run:
    """One completed run: its folder, its `result.json`, and its flattened config (None where it could not be
    read).

    Attributes:
        metric: what it is judged by.
        study: its study, where several are compared.
        content: tells its data from other data of the same name in the study; empty where there are none.
    """

    folder: Path
    result: Mapping[str, Any]
    config: Mapping[str, Any] | None
    metric: Metric = ACCURACY
    content: str = ""
    identity: str | None = None  # None: not known
    study: str = ""

    @property
    def name(self) -> str:
        """The run folder's name, under its study's where several are compared."""
        return escape_controls(f"{self.study}/{self.folder.name}" if self.study else self.folder.name)

    @property
    def model(self) -> str:
        """The model's name in `result.json`."""
        return str(self.result["model"])

    @property
    def strategy(self) -> str:
        """The strategy's name in `result.json`."""
        return str(self.result["strategy"])

    @property
    def data(self) -> str:
        """The data's name in `result.json`, with what tells it from other data of this name."""
        return str(self.result["data"]) + (f" [{self.content}]" if self.content else "")

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.result["seed"])

    @cached_property
    def repeat(self) -> Repeat:
        """The run's seed and fold: runs of two rows are paired by it."""
        fold = (self.config or {}).get("data.fold")
        return Repeat(self.seed) if fold is None else Repeat(self.seed, int(fold))

    @property
    def accuracy(self) -> float:
        """Test accuracy in 0..1; `read` lets no run through without one."""
        return float(self.result["test"]["accuracy"])

    @property
    def score(self) -> float:
        """The test part's number by which it is judged; `judge` lets no run through without one."""
        return float(self.result["test"][self.metric.name])

    @property
    def cached(self) -> bool:
        """Whether this run took its features from the cache instead of paying for them."""
        return bool(self.result.get("cached"))

    @property
    def seconds(self) -> float | None:
        """What the run would have cost with a cold cache: `seconds.total`, plus what it took from the cache."""
        total, reused = self.number("seconds.total"), self.number("seconds.features_reused")
        return None if total is None else total + (reused or 0.0)

    @property
    def from_scratch(self) -> bool:
        """Whether the weights started random: `strategy.start` in the config, else the strategy's name."""
        start = (self.config or {}).get("strategy.start")
        return self.strategy == "scratch" if start is None else start == "scratch"

    @property
    def classes(self) -> list[str]:
        """The class names in label order, or an empty list where `result.json` has none."""
        names = self.result.get("classes")
        return [str(name) for name in names] if isinstance(names, list) else []

    @cached_property
    def overrides(self) -> list[str] | None:
        """The words of its command; None where they cannot be read."""
        return configs.load_overrides(self.folder / "overrides.yaml")

    @cached_property
    def answers(self) -> Answers | None:
        """What it answered on each test image; None where predictions.csv is missing or does not fit the result."""
        return read_answers(self.folder / "predictions.csv", len(self.classes), self.number("n_test"))

    @cached_property
    def wandb_id(self) -> str | None:
        """The W&B run id, from `result.json` or else from the folder that W&B left, if there is one."""
        known = self.result.get("wandb_id") or self.result.get("wandb")
        if isinstance(known, Mapping):
            known = known.get("id")
        if known:
            return str(known)
        folders = sorted(self.folder.glob("wandb/*run-*-*"))
        return escape_controls(folders[-1].name.rsplit("-", 1)[-1].removesuffix(".wandb")) if folders else None

    def number(self, path: str) -> float | None:
        """The finite number at a dotted path of `result.json`, or None where it is null, missing or not a
        number.
        """
        node: Any = self.result
        for part in path.split("."):
            node = node.get(part) if isinstance(node, dict) else None  # a Mapping is asked for ten times as slowly
        if isinstance(node, bool) or not isinstance(node, int | float) or not math.isfinite(node):
            return None
        return float(node)

    def rows(self, file: str) -> list[dict[str, str]]:
        """The rows of one of the run's CSV files; an empty list where it is missing."""
        path = self.folder / file
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8", errors="replace") as lines:
            heads, *rows = read_cells(list(csv.reader(lines))) or [[]]
        return [dict(zip_longest(heads, row[: len(heads)], fillvalue="")) for row in rows if row]


@dataclass(frozen=True)
class Skipped:
    """A run folder that does not count, its kind (failed, running, cut off, unreadable), and the detail if any."""

    name: str
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Study:
    """A study's completed runs, sorted by folder name, and the folders that do not count."""

    name: str
    folder: Path
    runs: list[Run]
    skipped: list[Skipped]


def lacking(run: Run) -> str | None:
    """What a completed `result.json` lacks to be compared, or None."""
    absent = [key for key in ("model", "strategy", "data") if not isinstance(run.result.get(key), str)]
    if absent:
        return f"no {absent[0]}"
    if not isinstance(run.result.get("seed"), int):
        return "no whole number as seed"
    accuracy = run.number("test.accuracy")
    if accuracy is None or not 0 <= accuracy <= 1:
        return "no test.accuracy between 0 and 1"
    return None


def read_run(folder: Path) -> Run | Skipped:
    """Read one run folder."""
    path, name = folder / "result.json", escape_controls(folder.name)
    if not path.exists():
        return _describe_unfinished(folder)
    try:
        result = configs.load_json(path)
    except (ValueError, OSError, RecursionError) as error:
        return Skipped(name, "unreadable", f"result.json: {escape_controls(str(error))}")
    status = result.get("status")
    if status != "completed":
        return Skipped(name, str(status or "without status"))
    config = configs.load_config(folder / "config.yaml")
    run = Run(folder, _drop_top5(result), None)
    if config is not None:
        run = Run(folder, run.result, configs.flatten_config(config), identity=configs.identify(config, result))
    problem = lacking(run)
    return Skipped(name, "unreadable", f"result.json: {problem}") if problem else run


def _drop_top5(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """A result without top-5 accuracies if it has five classes or fewer: older runs have them, always 1."""
    names = result.get("classes")
    if not isinstance(names, list) or not 0 < len(names) <= TOP:
        return result
    parts = {part: result[part] for part in ("test", "val") if isinstance(result.get(part), Mapping)}
    return {**result, **{part: {**numbers, "top5": None} for part, numbers in parts.items()}}


def _describe_unfinished(folder: Path) -> Skipped:
    """A run without a result, with the first line of the error that ended it."""
    name = escape_controls(folder.name)
    try:
        state = configs.load_json(folder / "state.json")
    except (ValueError, OSError, RecursionError):
        state = {}
    status, error = state.get("status"), state.get("error")
    if status not in ("failed", "running", "pruned"):
        return Skipped(name, "cut off or still running")
    first = error.partition("\n")[0] if status == "failed" and isinstance(error, str) else ""
    return Skipped(name, status, escape_controls(first))


def run_folders(study: Path) -> Iterator[Path]:
    """The folders of a study that hold a run; hidden folders and the report are none."""
    for folder in sorted(study.iterdir()):
        if folder.name.startswith(".") or folder.name == "report" or not folder.is_dir():
            continue
        if any((folder / name).exists() for name in RUN_FILES):
            yield folder


def read(folder: Path) -> Study:
    """Read every run of a study.

    Of runs with one identity, the first counts: earlier versions made two where a setting had no effect.
    """
    runs: list[Run] = []
    skipped: list[Skipped] = []
    first: dict[str, str] = {}
    for run in map(read_run, run_folders(folder)):
        if isinstance(run, Skipped):
            skipped.append(run)
            continue
        other = run.name if run.identity is None else first.setdefault(run.identity, run.name)
        if other == run.name:
            runs.append(run)
        else:
            skipped.append(Skipped(run.name, "repeated", f"the same run as {other}: what differs has no effect"))
    return Study(escape_controls(folder.name), folder, runs, skipped)
