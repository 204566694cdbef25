"""Plots made for a study's question; its config names them under ``figures``, each with the keys it looks at.

A figure's constructor takes what the config says, and its ``draw`` gives a section of the page. Rows are told apart by
dotted config keys, such as ``model.args.order``, or by ``model``, ``strategy`` or ``data``.
"""

from __future__ import annotations

from headstart.errors import UserError
from headstart.report.groups import Comparison
from headstart.report.questions.correlation import Correlation
from headstart.report.questions.curves import Curves
from headstart.report.questions.epochs import Errors, Gradients
from headstart.report.questions.figure import Figure
from headstart.report.questions.frontier import Frontier
from headstart.report.questions.levels import Levels
from headstart.report.questions.response import Response
from headstart.report.questions.robustness import Robustness
from headstart.report.questions.scatter import Scatter

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
    "asked",
]


def asked(comparison: Comparison) -> dict[str, Figure]:
    """The figures that the study's newest run names in its config.

    Raises:
        UserError: it names something that is no figure.
    """
    import yaml

    from headstart import config as configs

    newest = max(comparison.study.runs, key=lambda run: (run.folder / "result.json").stat().st_mtime)
    loaded = yaml.safe_load((newest.folder / "config.yaml").read_text("utf-8")) or {}
    found = {}
    for name, node in (loaded.get("figures") or {}).items():
        figure = configs.build(node)
        if not isinstance(figure, Figure):
            raise UserError(f"figures.{name}: {node.get('_target_')} is no figure; see headstart.report.questions")
        found[str(name)] = figure
    return found
