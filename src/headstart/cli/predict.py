"""`headstart predict`: what is on these images, by a trained run or a published network."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
  headstart predict outputs/demo/RUN photos --sets 0.9 --abstain 0.99
  headstart predict outputs/demo/RUN 'photos/**/*.png' --top 1 --csv answers.csv
  find . -name '*.jpg' | headstart predict outputs/demo/RUN - --json

An image that cannot be read is named, and the others go on: exit code 1; 2 if none can be read, or a word is wrong.
"""
ENOUGH = 30  # characters of a class's name in the table


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

    for option, path in (("--csv", options.csv), ("--figure", options.figure)):
        if path is not None and path.is_dir():
            raise UserError(f"{option} {path}: is a folder; name a file")
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
        outputs: list[Callable[[Prediction], None]] = [_print_json if options.json else _Table(images).print]
        if options.csv:
            outputs.append(stack.enter_context(_write_csv(options.csv, top, judged=judge is not None)))
        if options.figure:
            outputs.append(lambda prediction: shown.append(prediction) if len(shown) < MOST else None)
        asked = top if judge is None else len(network.classes)
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


def _make_judge(network: Network, options: argparse.Namespace) -> Judge | None:
    """The thresholds of --sets and --abstain; what they do on the run's test images is said."""
    if options.sets is None and options.abstain is None:
        return None
    from headstart.trust.answers import make_judge

    judge = make_judge(network, options.sets, options.abstain)
    for note in judge.notes:
        print(f"headstart: {note}", file=sys.stderr)
    return judge


def _print_json(prediction: Prediction) -> None:
    """Print a line of JSON; a probability that there is not is null."""
    line: dict[str, object] = {"image": prediction.image}
    if prediction.error is not None:
        line["error"] = prediction.error
    else:
        line["labels"] = prediction.labels
        line["probabilities"] = [None if math.isnan(value) else value for value in prediction.probabilities]
        for key in ("set", "withheld"):
            if getattr(prediction, key, None) is not None:
                line[key] = getattr(prediction, key)
    print(json.dumps(line), flush=True)


class _Table:
    """Prints a line for each image, in columns as wide as the longest name needs."""

    def __init__(self, images: Sequence[str]) -> None:
        from headstart.data.filenames import escape_name

        self.escape = escape_name
        self.width = max(map(len, map(escape_name, images)))
        self.begun = False

    def print(self, prediction: Prediction) -> None:
        """Print the line of one image; before the first, the head of the table."""
        if not self.begun:
            print(f"{'image':<{self.width}}  {'answer':<{ENOUGH}}       %  then")
            self.begun = True
        name = f"{self.escape(str(prediction.image)):<{self.width}}"
        if prediction.error is not None:
            print(f"{name}  cannot be read: {prediction.error}")
            return
        labels = [self._shorten(label) for label in prediction.labels]
        shares = ["–" if math.isnan(value) else f"{100 * value:.1f}" for value in prediction.probabilities]
        rest = " · ".join(f"{label} {share}" for label, share in zip(labels[1:], shares[1:], strict=True))
        print(f"{name}  {labels[0]:<{ENOUGH}}  {shares[0]:>6}  {rest}{self._describe(prediction)}".rstrip())

    def _describe(self, prediction: Prediction) -> str:
        """The set, and whether the answer is withheld, as words behind the line."""
        inside, words = getattr(prediction, "set", None), ""
        if inside is not None:
            words = f"  set: {', '.join(map(self._shorten, inside)) or 'none is probable enough'}"
        return f"{words}  not sure enough" if getattr(prediction, "withheld", None) else words

    def _shorten(self, label: str) -> str:
        text = self.escape(label)
        return text if len(text) <= ENOUGH else f"{text[: ENOUGH - 1]}…"


@contextmanager
def _write_csv(path: Path, top: int, *, judged: bool = False) -> Iterator[Callable[[Prediction], None]]:
    """Inside this context, what this gives writes a line; the file replaces an old one when all are written."""
    import csv

    from headstart.storage.files import write_whole
    from headstart.storage.plain_text import plain_row

    pairs = [f"{name}_{at}" for at in range(1, top + 1) for name in ("label", "probability")]
    with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "error", *pairs, *(["set", "withheld"] if judged else [])])

        def write(prediction: Prediction) -> None:
            cells = zip(prediction.labels, prediction.probabilities, strict=True)
            shares = [cell for label, value in cells for cell in (label, "" if math.isnan(value) else f"{value:.6g}")]
            if judged:
                inside, withheld = getattr(prediction, "set", None), getattr(prediction, "withheld", None)
                shares += [""] * (len(pairs) - len(shares))
                shares.append("" if inside is None else json.dumps(inside, ensure_ascii=False))
                shares.append("" if withheld is None else str(withheld).lower())
            writer.writerow(plain_row([str(prediction.image), prediction.error or "", *shares]))

        yield write
