"""What W&B shows of a study without clicking: a saved view of its runs, and a report that leads with the decision.

Both are built here from a comparison, as objects of wandb-workspaces; `headstart.report.wandb.publish` sends them. No
panel uses a key with a dot: W&B cannot filter or group by one.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

from headstart.config.flat import name_key
from headstart.report.stats.decision import decide, tests_in_short
from headstart.report.study.columns import BY_NAME
from headstart.report.table import SHOWN, names

if TYPE_CHECKING:
    from headstart.report.page.findings import Findings
    from headstart.report.study.groups import Comparison

CURVES = ("val/accuracy", "val/loss", "train/loss")
COSTS = {"seconds/total": "seconds", "params/trainable": "trained parameters", "gmacs": "multiply-adds, 10^9"}
NUMBERS = ("test/accuracy", "test/balanced_accuracy", "test/nll", "seconds/total", "best/epoch")
BASE = ("strategy", "model", "data", "seed")
MOST_RUNS = 100  # in one panel: W&B samples no more of a group
CHARTS = "charts"  # the job type of the run that carries the study's pictures


def list_keys(comparison: Comparison) -> list[str]:
    """The settings that tell the study's runs apart, as W&B has them; strategy and seed are always there."""
    varying = {"strategy", "seed"}
    for kind in ("model", "data"):
        if len({getattr(group, kind) for group in comparison.groups}) > 1:
            varying.add(kind)
    keys = [*(key for key in BASE if key in varying), *(name_key(key) for key in comparison.keys)]
    return list(dict.fromkeys(keys))


def list_studies(comparison: Comparison) -> list[str]:
    """The studies of the compared runs, as their config in W&B names them."""
    return sorted({run.study or comparison.study.name for run in comparison.study.runs})


def make_workspace(comparison: Comparison, entity: str, project: str) -> Any:
    """The saved view: curves by strategy with bands, accuracy against cost, the runs with what tells them apart."""
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    score, studies = f"test/{comparison.metric.name}", list_studies(comparison)
    curves = choose_group(comparison)
    columns = [f"config:{key}.value" for key in list_keys(comparison)] + [f"summary:{name}" for name in NUMBERS]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=_name_view(studies),
        sections=[
            ws.Section(name=f"Curves by {curves} (mean and standard error)", panels=make_curves(curves), is_open=True),
            ws.Section(name="Score against cost", panels=_make_costs(score), is_open=True),
            ws.Section(name="Mistakes", panels=[wr.MediaBrowser(media_keys=["test/confusion"])], is_open=False),
        ],
        settings=ws.WorkspaceSettings(max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=[
                ws.Config("study") == studies[0] if len(studies) == 1 else ws.Config("study").isin(studies),
                ws.Metric("JobType") != CHARTS,
            ],
            order=[ws.Ordering(ws.Summary(score), ascending=comparison.metric.name == "nll")],
            pinned_columns=["run:displayName", *columns],
        ),
    )


def _name_view(studies: list[str]) -> str:
    """The saved view's name, in which W&B takes no symbols, a plus among them."""
    named = f"headstart {', '.join(studies)}"
    return "".join("_" if unicodedata.category(letter).startswith("S") else letter for letter in named)


def make_report(findings: Findings, entity: str, project: str, charts: list[str], charts_id: str) -> Any:
    """The report: decision, table with intervals, charts as pictures, live curves, mistakes.

    Args:
        charts: the names under which a run of the job type `charts` has logged pictures.
        charts_id: the id of that run, which stands in its config as `charts`.
    """
    import wandb_workspaces.reports.v2 as wr

    comparison = findings.comparison
    studies = list_studies(comparison)
    decision = decide(comparison, findings.families)
    score = f"test/{comparison.metric.name}"
    sentences = [decision.sentence, *decision.tasks, *tests_in_short(comparison, findings.families)]

    where: dict[str, Any] = {"entity": entity, "project": project}
    own = f"Config('study') = '{studies[0]}'" if len(studies) == 1 else f"Config('study') in {studies}"
    runs = wr.Runset(**where, name="runs", filters=f"{own} and Metric('JobType') != '{CHARTS}'")
    drawn = wr.Runset(**where, name="charts", filters=f"Config('charts') = '{charts_id}'")

    pictures: list[Any] = [wr.MediaBrowser(title=name.partition("/")[2], media_keys=[name]) for name in charts]
    shown: list[Any] = [wr.H2("Charts"), wr.PanelGrid(runsets=[drawn], panels=pictures)] if charts else []
    return wr.Report(
        entity=entity,
        project=project,
        title=f"headstart: {comparison.study.name}",
        description=decision.sentence,
        width="fluid",
        blocks=[
            wr.H1("Decision"),
            wr.MarkdownBlock("\n\n".join(sentences)),
            wr.H2("Rows (mean and 95 % interval over seeds)"),
            wr.MarkdownBlock(write_table(comparison)),
            *shown,
            wr.H2("Curves and cost"),
            wr.PanelGrid(runsets=[runs], panels=[*make_curves(choose_group(comparison)), *_make_costs(score)]),
            wr.H2("Mistakes"),
            wr.PanelGrid(
                runsets=[runs],
                panels=[
                    wr.WeavePanelSummaryTable(table_name="test/mistakes"),
                    wr.MediaBrowser(media_keys=["test/confusion"]),
                ],
            ),
        ],
    )


def choose_group(comparison: Comparison) -> str:
    """The setting whose values have a line each: the strategy, or the first other one that differs if it does not."""
    if len({group.strategy for group in comparison.groups}) > 1:
        return "strategy"
    return next((key for key in list_keys(comparison) if key not in ("strategy", "seed")), "strategy")


def make_curves(setting: str) -> list[Any]:
    """One panel for each curve: a line for each value of a setting with a band over its runs."""
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.LinePlot(
            title=name,
            x="epoch",
            y=[name],
            groupby=wr.Config(setting),
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=MOST_RUNS,
        )
        for name in CURVES
    ]


def _make_costs(score: str) -> list[Any]:
    import wandb_workspaces.reports.v2 as wr

    return [
        wr.ScatterPlot(
            title=f"{score} against {words}", x=wr.SummaryMetric(cost), y=wr.SummaryMetric(score), log_x=True
        )
        for cost, words in COSTS.items()
    ]


def write_table(comparison: Comparison) -> str:
    """The table of rows in Markdown, as `headstart compare` prints it."""
    metric = comparison.metric.name
    columns = [BY_NAME[name] for name in dict.fromkeys([metric, *SHOWN])]
    head = [*names(comparison, comparison.groups[0]), "runs", *(column.title for column in columns)]
    rows = [
        [*names(comparison, group).values(), str(len(group.runs)), *(column.text(group) for column in columns)]
        for group in comparison.groups
    ]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
