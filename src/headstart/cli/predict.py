"""`headstart predict`: what is on these images, by a trained run or a published network."""

from __future__ import annotations

import argparse
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.predict_output import Table, print_json, write_csv
from headstart.cli.shares import parse_share
from headstart.errors import UserError

if TYPE_CHECKING:
    from headstart.predict.network import Network
    from headstart.predict.prediction import Prediction
    from headstart.trust.answers import Judge

DESCRIPTION = """\
Say what is on images: the most probable classes of each, with their probabilities. Images are read as the run read its
own: on its test images the answers are those of its predictions.csv."""
EXAMPLES = """\
examples:
  headstart predict efficientnet_lite0 cat.jpg             a name of conf/model or timm: the classes of ImageNet
  headstart predict outputs/demo/RUN photos                a run: its own classes; all images of a folder
  headstart predict my-network photos                      what headstart export wrote
  headstart predict outputs/demo/RUN photos --sets 0.9 --abstain 0.99 --unlike
  headstart predict outputs/demo/RUN 'photos/**/*.png' --top 1 --csv answers.csv
  find . -name '*.jpg' | headstart predict outputs/demo/RUN - --json

An image that cannot be read is named, and the others go on: exit code 1; 2 if none can be read, or a word is wrong.
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart predict",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("network", metavar="MODEL_OR_RUN", help="folder of a run or an export, a name of conf/model, or a timm name")
    add("images", nargs="+", metavar="IMAGE", help="files, folders, patterns, or - for a list of paths on stdin")
    add("--top", type=parse_count, default=5, metavar="K", help="classes per image (default: 5)")
    add("--calibrated", action="store_true", help="probabilities at the run's temperature (predictions.csv: without)")
    add("--sets", type=parse_share, metavar="SHARE", help="also the classes of which one is right this often, as 0.9")
    add("--abstain", type=parse_share, metavar="SHARE", help="mark answers below what is right this often, as 0.99")
    add("--unlike", action="store_true", help="mark images unlike the run's training images (5 %% of others too)")
    add("--json", action="store_true", help="a line of JSON for each image, as soon as its batch is done")
    add("--csv", type=Path, metavar="FILE", help="also write the answers to a table")
    add("--figure", type=Path, metavar="FILE", help="also draw the images with their labels as bars, as PNG")
    add("--batch-size", type=parse_count, metavar="N", help="images per call (default: as the run's own test)")
    add("--device", default="auto", metavar="NAME", help="cpu, cuda, or auto: a GPU if there is one (default: auto)")
    add_imports(parser)
    add(
        "--pixel-range",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="the values of black and white in 16-bit or floating-point images (default: as in the run's data)",
    )
    add("--untrained", action="store_true", help="go on with random weights where there are no trained ones")
    return parser


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add the option for code of one's own, which a run's folder alone never brings in."""
    parser.add_argument(
        "--imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module of your own that the network needs, such as mylab.nets; nothing of a run's folder is imported"
        " without it",
    )


def parse_count(text: str) -> int:
    """Read an option that is a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def main(argv: Sequence[str]) -> int:
    """Run the verb; returns 0, or 1 if an image could not be read; wrong input raises a UserError."""
    options = make_parser().parse_intermixed_args(list(argv))
    from headstart.cli.image_words import list_images
    from headstart.cli.stderr_log import log_to_stderr

    _check_files(options.csv, options.figure)
    if options.calibrated and (options.sets is not None or options.abstain is not None):
        raise UserError("--calibrated: --sets and --abstain have thresholds of their own, so leave it out")
    with log_to_stderr(logging.WARNING, progress=not sys.stdout.isatty()):
        images = list_images(options.images)
        network = _load(options)
        faults = _answer(network, images, options)
    if faults == len(images):
        raise UserError(f"none of the images could be read: {len(images)} of {len(images)}")
    if faults:
        print(f"headstart: {faults} of {len(images)} images cannot be read", file=sys.stderr)
    return 1 if faults else 0


def _check_files(table: Path | None, figure: Path | None) -> None:
    """Raise UserError if a file that is asked for cannot be written."""
    from headstart.storage.files import check_output

    for option, path in (("--csv", table), ("--figure", figure)):
        if path is not None:
            check_output(path, option, folder=False)
    if figure is not None and figure.suffix.lower() not in ("", ".png"):
        raise UserError(f"--figure {figure}: a figure is a PNG; name it {figure.with_suffix('.png')}")
    if table is not None and figure is not None and table.absolute() == figure.absolute():
        raise UserError(f"--csv and --figure: both are {table}; name two files")


def _load(options: argparse.Namespace) -> Network:
    from dataclasses import replace

    from headstart.config import own_code
    from headstart.predict.load import load
    from headstart.tracking import progress

    own_code.load(options.imports)
    with progress.task("loading the network"):
        network = load(options.network, options.device)
    if not network.pretrained and not options.untrained:
        raise UserError(
            f"{options.network}: its weights are random, so its answers would mean nothing: name a run's folder "
            "(outputs/STUDY/RUN) or a network whose weights are on this machine; --untrained answers all the same"
        )
    if options.pixel_range is not None:
        low, high = options.pixel_range
        if not -math.inf < low < high < math.inf:
            raise UserError(f"--pixel-range {low:g} {high:g}: must be two numbers, that of black first: 0 4095")
        network = replace(network, transform=replace(network.transform, pixel_range=(low, high)))
    return network


def _answer(network: Network, images: list[str], options: argparse.Namespace) -> int:
    """Predict, and write each answer wherever it is wanted; returns the number of images that could not be read."""
    from headstart.predict.figure import MOST, draw_sheet, write_figure

    top, faults = min(options.top, len(network.classes)), 0
    shown: list[Prediction] = []
    judge = _make_judge(network, options)
    with ExitStack() as stack:
        outputs: list[Callable[[Prediction], None]] = [print_json]
        if not options.json:
            outputs = [Table(images, _list_asked(options), calibrated=options.calibrated).print]
        if options.csv:
            outputs.append(stack.enter_context(write_csv(options.csv, top, judged=judge is not None)))
        if options.figure:
            outputs.append(lambda prediction: shown.append(prediction) if len(shown) < MOST else None)
        asked = top if options.sets is None else len(network.classes)
        answers: Iterator[Prediction] = network.stream(images, asked, options.batch_size, calibrated=options.calibrated)
        for prediction in answers if judge is None else judge.apply(answers, top):
            faults += prediction.error is not None
            for output in outputs:
                output(prediction)
    if options.figure:
        write_figure(draw_sheet(shown, network.transform.pixel_range), options.figure)
        if len(images) > MOST:
            print(f"headstart: {options.figure} shows the first {MOST} of {len(images):,} images", file=sys.stderr)
    return faults


def _list_asked(options: argparse.Namespace) -> list[str]:
    """What is asked for besides labels and probabilities, by the names in `Judged`."""
    asked = {"withheld": options.abstain is not None, "unlike": options.unlike, "set": options.sets is not None}
    return [name for name, wanted in asked.items() if wanted]


def _make_judge(network: Network, options: argparse.Namespace) -> Judge | None:
    """The thresholds of --sets, --abstain and --unlike; what they do on the run's test images is said."""
    if not _list_asked(options):
        return None
    from headstart.trust.answers import make_judge

    judge = make_judge(network, options.sets, options.abstain, unlike=options.unlike)
    for note in judge.notes:
        print(f"headstart: {note}", file=sys.stderr)
    return judge
