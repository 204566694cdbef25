"""`headstart export`: the network of a run as a folder that others can load, without headstart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from headstart.cli.predict import add_imports
from headstart.config.paths import make_path
from headstart.errors import UserError

DESCRIPTION = """\
Write the network of a completed run as a folder that stands alone: model.safetensors, config.json in timm's format
(network, classes, and how the run prepared its images) and README.md, a model card made of result.json. timm computes
the run's logits from it to the bit, and that is checked before the folder appears."""
EXAMPLES = """\
examples:
  headstart export outputs/demo/RUN my-network
  headstart export outputs/demo/RUN my-network --onnx         also as ONNX graphs, which need no torch
  headstart export outputs/demo/RUN my-network --onnx --int8  and as 8-bit integers; says what accuracy that costs
  headstart export outputs/demo/RUN my-network --app          and a page to try it: python my-network/app.py
  headstart export outputs/demo/RUN my-network --push hf://me/my-network --dry-run     what would be uploaded
  headstart train model.name=NAME model.weights=local-dir:my-network     go on from it

The whole folder is written or nothing. One that is not empty is replaced only if it is an earlier export.
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart export",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="the folder of a completed run: outputs/STUDY/RUN")
    add(
        "folder", type=Path, metavar="FOLDER", help="where the export goes: a new or empty folder, or an earlier export"
    )
    add(
        "--onnx",
        action="store_true",
        help="also model.onnx (pixels to calibrated probabilities) and network.onnx; needs the extra [export]",
    )
    add(
        "--int8", action="store_true", help="with --onnx: also model.int8.onnx, a quarter of the size; its loss is said"
    )
    add("--app", action="store_true", help="also app.py: a page by gradio to try it, which runs as a Space too")
    add("--calibrated", action="store_true", help="divide the last layer's weights by the run's temperature")
    add("--push", metavar="hf://USER/NAME", help="also upload it; a page that is not there yet becomes a private one")
    add("--dry-run", action="store_true", help="make the export, list its files and keep nothing: nothing is uploaded")
    add_imports(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_args(list(argv))
    from headstart.cli.stderr_log import log_to_stderr
    from headstart.config import own_code
    from headstart.export import push
    from headstart.export.folder import check_target
    from headstart.export.run import Options, export
    from headstart.predict.run import find_run

    if options.int8 and not options.onnx:
        raise UserError("--int8 makes its graph from those of --onnx: add --onnx")
    run = find_run(make_path(options.run))
    if run is None:
        raise UserError(f"{options.run} is no folder of a run: name one, such as outputs/STUDY/RUN")
    target = make_path(options.folder)
    page = push.read_place(options.push) if options.push else None
    if page is not None and not options.dry_run:
        push.check_token()
    check_target(target, run)
    with log_to_stderr(), ExitStack() as stack:
        own_code.load(options.imports)
        if options.dry_run:
            target = Path(stack.enter_context(TemporaryDirectory(prefix="headstart-export-"))) / target.name
        asked = Options(onnx=options.onnx, int8=options.int8, calibrated=options.calibrated, app=options.app)
        made = export(run, target, asked)
        if made.int8 is not None:
            print(f"model.int8.onnx: {made.int8.describe()}")
        _show(made.files, "would be written" if options.dry_run else "written", options.folder)
        if page is not None:
            print(f"would be uploaded to hf://{page}" if options.dry_run else f"uploaded: {push.push(target, page)}")
    return 0


def _show(files: Sequence[Path], verb: str, folder: Path) -> None:
    from headstart.storage.plain_text import escape_controls

    for path in files:
        print(escape_controls(f"{verb}: {folder / path.name} ({path.stat().st_size:,} bytes)"))
