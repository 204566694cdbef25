"""`headstart compare`: read a study's runs, print what they show, and write the report."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.config.paths import make_path
from headstart.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from headstart.report.page.findings import Findings

DESCRIPTION = """\
Compare the completed runs of a study: print a table over seeds and the row to take, and write
outputs/STUDY/report/ (index.html; CSV files of the rows, runs, paired tests, gains per cost, classes,
calibration and changed images; plots as PNG), which replaces the report that was there."""
PIPED_WIDTH = 100
EXAMPLES = """\
examples:
  headstart compare                                        the study that finished last
  headstart compare demo --metric balanced_accuracy
  headstart compare demo --between finetune feature_extraction
  headstart compare demo --keep optimizer.lr               all learning rates, not only the one that validation chose
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart compare",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "study",
        nargs="*",
        metavar="STUDY",
        help="the study, or several to stand side by side; default: the most recently finished one",
    )
    parser.add_argument(
        "--output-dir",
        type=make_path,
        default=Path("outputs"),
        help="the folder of studies (default: outputs)",
    )
    parser.add_argument(
        "--sort",
        metavar="COLUMN",
        help="order rows by a column, best or smallest first, such as accuracy, seconds, nll, gmacs, strategy"
        " (default: the metric within each data set)",
    )
    parser.add_argument(
        "--between",
        nargs=2,
        metavar=("ROW", "ROW"),
        help="two rows, by the names in the table, to compare class by class and image by image"
        " (default: the best against the next best and against the cheapest)",
    )
    parser.add_argument(
        "--imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that defines figures, such as mylab.figures; nothing of a study's folder is imported"
        " without it",
    )
    _add_statistics(parser)
    _add_page(parser)
    return parser


def _add_page(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is drawn and where it goes."""
    parser.add_argument("--no-plots", action="store_true", help="leave charts and pictures of images out; quicker")
    parser.add_argument(
        "--maps",
        action="store_true",
        help="show on the page, over the test images that changed verdict and the most confident mistakes, what speaks"
        " for the answer (HiResCAM); loads the weights that the runs kept",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="write the page anew whenever a run completes, until Ctrl-C; a page that is open loads the new one",
    )
    parser.add_argument(
        "--wandb",
        action="store_true",
        help="create or update a saved view and a report in the W&B project of the runs"
        " (needs pip install 'headstart[wandb-report]')",
    )


def _add_statistics(parser: argparse.ArgumentParser) -> None:
    """Add the options on what is compared and which differences are tested."""
    parser.add_argument(
        "--metric",
        default="accuracy",
        help="what rows are ordered, tested and chosen by: accuracy, balanced_accuracy, f1 (macro), auroc, or nll, of"
        " which less is better (default: accuracy)",
    )
    parser.add_argument(
        "--reference",
        metavar="ROW",
        help="the row that every other one is tested against, by its name in the table (default: the cheapest)",
    )
    parser.add_argument(
        "--all-pairs",
        action="store_true",
        help="test all pairs of rows; the more is tested at once, the larger a difference must be to be shown",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="KEY",
        help="a setting whose values are compared, such as optimizer.lr; without it, of rows that differ only in"
        " settings of one strategy (rates, lengths, regularisation), validation chooses one",
    )


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_args(argv)
    from rich.console import Console

    from headstart.config import own_code
    from headstart.report.look import look_at
    from headstart.report.page.write import report
    from headstart.report.study.metric import find_metric
    from headstart.report.study.select import find, read_study
    from headstart.report.watch import watch
    from headstart.storage.plain_text import escape_controls

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    metric = find_metric(options.metric)
    own_code.load(options.imports)
    names = list(dict.fromkeys(options.study)) or [None]
    folders = [find(options.output_dir, name) for name in names]
    if not options.study:
        console.print(escape_controls(f"No study named: taking {folders[0].name}, the most recently finished one."))
    asked = {"reference": options.reference, "all_pairs": options.all_pairs, "keep": options.keep}

    def look() -> Findings:
        return look_at(read_study(folders, metric), options.sort, options.between, **asked)

    if options.watch and options.wandb:
        raise UserError("--watch and --wandb: give one of them; publish when the sweep is done")
    if options.watch:
        watch(folders, lambda stamp: _write_again(look, console, stamp, plots=not options.no_plots, maps=options.maps))
        return 0
    findings = look()
    _tell(findings, console)
    page = report(findings, plots=not options.no_plots, maps=options.maps) / "index.html"
    console.print(escape_controls(f"report: {page}"), soft_wrap=True)
    if options.wandb:
        from headstart.report.wandb.publish import publish

        for address in publish(findings, page.parent):
            console.print(f"W&B: {address}", soft_wrap=True)
    return 0


def _write_again(look: Callable[[], Findings], console: Console, stamp: str, *, plots: bool, maps: bool) -> None:
    """Write the page of a study whose runs are being made, and say so in a line."""
    from headstart.report.page.write import report
    from headstart.report.study.facts import not_counted
    from headstart.storage.plain_text import escape_controls

    try:
        findings = look()
    except UserError as error:  # nothing is complete yet
        console.print(escape_controls(f"waiting: {error}"))
        return
    study = findings.comparison.study
    page = report(findings, plots, maps=maps, stamp=stamp) / "index.html"
    rest = not_counted(study)
    line = f"{len(study.runs)} completed runs{f' ({rest})' if rest else ''}: {page}"
    console.print(escape_controls(line), soft_wrap=True)


def _tell(findings: Findings, console: Console) -> None:
    """Print the table and what it shows."""
    from headstart.report.stats.decision import decide, tests_in_short
    from headstart.report.stats.settings import describe_choice
    from headstart.report.stats.settle import questions_in_short
    from headstart.report.study.facts import caveats, not_counted
    from headstart.report.table import show
    from headstart.storage.plain_text import escape_controls

    comparison, tested = findings.comparison, findings.families
    show(comparison, console)
    decision = decide(comparison, tested)
    findings_in_words = [decision.sentence, *decision.tasks, *tests_in_short(comparison, tested)]
    for line in [describe_choice(comparison, choice) for choice in findings.choices]:
        console.print(line)
    for line in filter(None, [not_counted(comparison.study), *findings_in_words, *caveats(comparison)]):
        console.print(line)
    for line in questions_in_short(comparison, tested, findings.open):
        console.print(escape_controls(line), soft_wrap=line.startswith("headstart "))
