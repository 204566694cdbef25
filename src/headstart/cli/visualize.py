"""`headstart visualize MODEL_OR_RUN WHAT`: pictures of what a network has learnt."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from headstart.cli.predict import add_imports
from headstart.config.paths import make_path
from headstart.storage.plain_text import escape_controls

if TYPE_CHECKING:
    from headstart.predict.network import Network

DESCRIPTION = """\
Look into a network. MODEL_OR_RUN is the folder of a completed run (outputs/STUDY/RUN), a name in conf/model, or a name
of timm. Pictures are written to the run's folder, under figures/, or to outputs/visualize/NAME/ for a network without a
run; --out writes them elsewhere."""
# what can be shown: the line of --help; headstart/visualize/commands/WHAT.py does it
SUBJECTS: dict[str, str] = {
    "features": "pictures that excite channels, layers or classes, beside the images that do so most",
    "filters": "the kernels of the first layer, strongest first",
    "activations": "what each depth sees in an image: the maps of its strongest channels",
    "dream": "what a layer sees in an image, amplified, over several sizes (DeepDream)",
    "embedding": "a map of the features of test images, of one run or of two, with the image under the pointer",
    "transfer": "what fine-tuning changed, depth by depth, and which depths its gain hangs on",
    "why": "where an image has what speaks for a class; a run's mistakes, and shortcuts that it took",
}
PER_IMAGE = ("activations", "features", "why")  # subjects that take images as `headstart predict` does
MOST_SEED = 2**32 - 1

# of each subject, commands that its --help shows
EXAMPLES: dict[str, tuple[str, ...]] = {
    "features": (
        "headstart visualize efficientnet_lite0 features",
        "headstart visualize outputs/demo/RUN features --classes 3 8",
    ),
    "filters": ("headstart visualize efficientnet_lite0 filters",),
    "activations": ("headstart visualize efficientnet_lite0 activations photo.jpg --channels 12",),
    "dream": (
        "headstart visualize efficientnet_lite0 dream photo.jpg --layers 5 --animate",
        "headstart visualize efficientnet_lite0 dream --noise 400x300",
    ),
    "embedding": (
        "headstart visualize outputs/demo/RUN embedding",
        "headstart visualize outputs/demo/RUN embedding outputs/demo/RUN2",
    ),
    "transfer": ("headstart visualize outputs/demo/RUN transfer",),
    "why": (
        "headstart visualize outputs/demo/RUN why",
        "headstart visualize outputs/demo/RUN why --against outputs/demo/RUN2",
        "headstart visualize efficientnet_lite0 why photo.jpg --method occlusion",
    ),
}


class Subject(Protocol):
    """What a file of `headstart.visualize.commands` offers; importing it imports no torch."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the arguments of this subject, in words that stand in its --help."""

    @staticmethod
    def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
        """Make the pictures, and print what they show; returns the files that were written to the folder."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart visualize",
        description=DESCRIPTION,
        epilog=_list_examples(commands[0] for commands in EXAMPLES.values()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", metavar="MODEL_OR_RUN", help="a run's folder, or a network's name")
    subjects = parser.add_subparsers(dest="subject", metavar="WHAT", required=True)
    for name, text in SUBJECTS.items():
        own = subjects.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=_list_examples(EXAMPLES[name]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add = own.add_argument
        find(name).add_arguments(own)
        add("--out", metavar="FOLDER", help="where the pictures go")
        add("--output-dir", metavar="FOLDER", default="outputs", help="the folder of studies (default: outputs)")
        add("--device", default="auto", help="cpu, cuda, cuda:1, … (default: a GPU if there is one)")
        add_imports(own)
        add("--seed", type=parse_seed, default=0, help="of everything that is drawn at random (default: 0)")
    return parser


def parse_seed(text: str) -> int:
    """Read a seed: a whole number that every generator takes."""
    if not (text.isdecimal() and int(text) <= MOST_SEED):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {MOST_SEED:,}")
    return int(text)


def _list_examples(commands: Iterable[str]) -> str:
    return "\n  ".join(["examples:", *commands])


def find(name: str) -> Subject:
    """The file that shows a subject."""
    return import_module(f"headstart.visualize.commands.{name}")  # type: ignore[return-value] # checked by a test


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_args(argv)
    from headstart.config import own_code
    from headstart.predict.load import load
    from headstart.storage.files import check_output
    from headstart.tracking.console import configure_logging

    configure_logging(quiet=False)
    if options.out:
        check_output(make_path(options.out), "--out", folder=True)
    if getattr(options, "images", None) and options.subject in PER_IMAGE:
        from headstart.cli.image_words import list_images

        options.images = list_images(options.images)
    own_code.load(options.imports)
    network = load(options.network, options.device)
    folder = make_path(options.out) if options.out else choose_folder(network, Path(options.output_dir))
    paths = find(options.subject).run(network, options, folder)
    for path in paths:
        print(escape_controls(f"written: {path}"))
    if network.folder is not None:
        from headstart.visualize.dashboard import send_pictures

        send_pictures(network.folder, options.subject, paths)
    return 0


def choose_folder(network: Network, outputs: Path) -> Path:
    """The folder for pictures of a network: that of its run's figures, or one of the network's name."""
    if network.folder is not None:
        return network.folder / "figures"
    return outputs / "visualize" / re.sub(r"[^\w.-]+", "-", network.name)
