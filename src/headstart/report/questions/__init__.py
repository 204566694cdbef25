"""Plots made for a study's question; its config names them under `figures`, each with the keys it looks at.

A figure's constructor takes what the config says, and its `draw` gives a section of the page. Rows are told apart by
dotted config keys, such as `model.args.order`, or by `model`, `strategy` or `data`.
"""

from contextlib import suppress
from typing import Any

from headstart.config import instantiate
from headstart.report.questions.changes import Response, Robustness
from headstart.report.questions.correlation import Correlation
from headstart.report.questions.curves import Curves
from headstart.report.questions.epochs import Errors, Gradients
from headstart.report.questions.figure import Figure, Unbuilt
from headstart.report.questions.levels import Levels
from headstart.report.questions.scatter import Frontier, Scatter
from headstart.report.study.groups import Comparison
from headstart.storage.plain_text import escape_all

__all__ = [
    "Correlation",
    "Curves",
    "Errors",
    "Figure",
    "Frontier",
    "Gradients",
    "Levels",
    "Response",
    "Robustness",
    "Scatter",
    "figures_asked_for",
]


def figures_asked_for(comparison: Comparison) -> dict[str, Figure]:
    """The figures that the newest run with a readable config names in it; one that cannot be built says so."""
    found = {}
    for name, node in _read_figures(comparison).items():
        try:
            figure = instantiate.build("figure", node)
        except Exception as error:  # the run may be of another version, or its file edited
            reason = str(error.__cause__ or error).strip().partition("\n")[0]
            figure = Unbuilt(name, f"config.yaml, figures.{name}: {reason}")
        found[name] = figure
    return found


def _read_figures(comparison: Comparison) -> dict[str, Any]:
    import yaml

    for run in sorted(comparison.study.runs, key=lambda run: -(run.folder / "result.json").stat().st_mtime):
        with suppress(OSError, UnicodeDecodeError, yaml.YAMLError):
            loaded = escape_all(yaml.safe_load((run.folder / "config.yaml").read_text("utf-8")))
            if isinstance(loaded, dict):
                figures = loaded.get("figures")
                return {str(name): node for name, node in figures.items()} if isinstance(figures, dict) else {}
    return {}
