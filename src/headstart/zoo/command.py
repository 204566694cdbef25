"""`headstart zoo`: measure networks, each in a process of its own, and print and write the table."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headstart.errors import RunFailed, UserError
from headstart.models.published import KERAS_TABLE
from headstart.storage.files import make_folder, write_text, write_whole
from headstart.zoo import children, rows, tables
from headstart.zoo.plan import Machine, Plan

DESCRIPTION = """\
Print the model table: size, published top-1 and top-5, parameters, depth, GMACs, milliseconds per inference
step on this CPU (and GPU), peak memory. Without PATTERN: the 21 networks of the Keras Applications table, with
the figures published there. Writes outputs/zoo/ (zoo.csv, zoo.md, index.html, frontier.png)."""
EXAMPLES = """\
examples:
  headstart zoo                                the 21 networks, timed one image at a time
  headstart zoo 'resnet*' '*_cifar' --sort gmacs
  headstart zoo --no-time --format csv         only counts, in seconds, to standard output
  headstart zoo --batch 32 --device gpu --precision bf16

Weights are random: nothing is downloaded. A network that fails is a row with the reason.
"""
FOLDER = Path("outputs/zoo")
FILES = {"zoo.csv": "csv", "zoo.md": "markdown", "index.html": "html"}
PIPED_WIDTH = 100
FORMATS = ("table", "csv", "markdown", "html", "json")


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart zoo",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("patterns", nargs="*", metavar="PATTERN", help="timm names, ours among them, with * and ? as in a shell")
    add("--sort", metavar="COLUMN", help="order by a column of zoo.csv, best or smallest first, such as top1, ms_cpu")
    add("--format", choices=FORMATS, default="table", help="what goes to standard output (default: table)")
    add("--output", type=Path, metavar="FOLDER", help="where files go (default: outputs/zoo, with --format table only)")
    add(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="time here (default: the CPU, and a GPU if any)",
    )
    add("--batch", type=_parse_count, default=1, metavar="N", help="images per step (default: 1)")
    add("--precision", choices=("32", "bf16", "16"), default="32", help="of the arithmetic (default: 32; 16 on a GPU)")
    add("--repeats", type=_parse_count, default=10, metavar="N", help="timed steps, of which the median (default: 10)")
    add(
        "--timeout",
        type=_parse_count,
        default=600,
        metavar="S",
        help="stop measuring a network after S seconds (default: 600)",
    )
    add(
        "--imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that registers networks with timm, such as mylab.nets; may be given several times",
    )
    add("--no-time", action="store_true", help="neither time nor memory: only what can be counted; quick")
    return parser


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns 0, 1 if every network failed, 130 after Ctrl-C; wrong input raises a UserError."""
    options = make_parser().parse_args(argv)
    if options.sort:
        rows.check_sort(options.sort)
    if options.precision == "16" and options.device != "gpu" and not options.no_time:
        raise UserError("--precision 16 needs a GPU: add --device gpu, or take bf16")
    children.warm_up()
    machine = Machine(**_ask_process("describe_machine", options))
    devices = _choose_devices(options, machine)
    names = _choose_names(options)
    plan = Plan(devices, options.batch, options.precision, options.repeats, len(names))
    folder = options.output or (FOLDER if options.format == "table" else None)
    if folder is not None:
        make_folder(folder, "--output")
    found: list[rows.Row] = []
    try:
        for name, part in _measure_all(names, plan, options):
            found.append(rows.make_row(name, part))
    except KeyboardInterrupt:
        if not found:
            raise
        print(f"headstart: interrupted; {len(found)} of {len(names)} networks are measured", file=sys.stderr)
    if options.sort:
        found = rows.sort_rows(found, options.sort)
    _publish(found, plan, machine, options.format, folder)
    if len(found) < len(names):
        return 130
    return 1 if all(row.error for row in found) else 0


def _ask_process(question: str, options: argparse.Namespace, *arguments: Any) -> dict[str, Any]:
    """Ask a process that has loaded torch and timm; raises RunFailed if it cannot load them."""
    limits = {"timeout_s": options.timeout, "imports": options.imports}
    found = children.run_in_process(f"{children.PRELOAD}:{question}", *arguments, **limits)
    if "refused" in found:
        raise UserError(f"--{found['refused']}" if options.imports else found["refused"])
    if "error" in found:
        raise RunFailed(f"cannot load torch and timm: {found['error']}")
    return found


def _choose_devices(options: argparse.Namespace, machine: Machine) -> tuple[str, ...]:
    if options.no_time:
        return ()
    if options.device == "gpu" and not machine.gpu:
        raise UserError("--device gpu: torch sees no GPU here; use --device cpu")
    devices = ("cpu",) if options.device != "gpu" else ()
    return (*devices, "cuda") if options.device != "cpu" and machine.gpu else devices


def _choose_names(options: argparse.Namespace) -> list[str]:
    if not options.patterns:
        return [row.model for row in KERAS_TABLE]
    found = _ask_process("find_names", options, list(options.patterns))
    if "unknown" in found:
        raise UserError(found["unknown"])
    return found["names"]


def _measure_all(names: Sequence[str], plan: Plan, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure one network after the other; on a terminal, standard error shows a progress bar."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    limits = {"timeout_s": options.timeout, "imports": options.imports}
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    text = TextColumn("{task.description}", markup=False)
    with Progress(*columns, text, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(names))
        for name in names:
            bar.update(task, description=name)
            yield name, children.run_in_process(f"{children.PRELOAD}:measure_network", name, plan, **limits)
            bar.advance(task)


def _publish(found: Sequence[rows.Row], plan: Plan, machine: Machine, form: str, folder: Path | None) -> None:
    """Write the files if there is a folder for them, then print the table in the chosen format."""
    lines = [*tables.make_caption(found, plan, machine), *tables.describe_frontiers(found), *tables.make_remarks(found)]
    made = {"csv": lambda: tables.to_csv(found), "markdown": lambda: tables.to_markdown(found, lines)}
    made["json"] = lambda: tables.to_json(found, plan, machine)
    with tempfile.TemporaryDirectory() as place:
        if folder is not None or form == "html":
            from headstart.zoo import page, plot

            picture = plot.draw(found, Path(place) / "frontier.png")
            made["html"] = lambda: page.render(found, plan, machine, picture)
        if folder is not None:
            for name, kind in FILES.items():
                write_text(folder / name, made[kind]())
            _replace(folder / "frontier.png", picture)
        if form in made:
            sys.stdout.write(made[form]())
    if form == "table" and folder is not None:
        _print(found, lines, folder)


def _replace(path: Path, picture: Path | None) -> None:
    """Replace a picture by a new one, or remove it if there is none."""
    if picture is None:
        path.unlink(missing_ok=True)
        return
    with write_whole(path) as part:
        part.write_bytes(picture.read_bytes())


def _print(found: Sequence[rows.Row], lines: Sequence[str], folder: Path) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPED_WIDTH
    tables.print_table(found, lines, console)
    console.print(f"page: {folder / 'index.html'}", soft_wrap=True)
