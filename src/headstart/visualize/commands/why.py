"""`headstart visualize MODEL_OR_RUN why`: where an image has what speaks for a class."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network

METHODS = {
    "hirescam": "what each place of a feature map adds to the logit",
    "gradients": "integrated gradients, pixel by pixel (captum)",
    "occlusion": "what the logit loses when a window is covered (captum)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject."""
    add = parser.add_argument
    add(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="files, folders, patterns, or - for a list of paths on stdin; without any: the run's most confident"
        " mistakes, and right answers",
    )
    methods = "; ".join(f"{name}: {text}" for name, text in METHODS.items())
    add("--method", choices=[*METHODS], default="hirescam", help=f"{methods} (default: hirescam)")
    add(
        "--layer",
        metavar="NAME",
        help="name or depth of the module whose map it is (default: the last one of 4 x 4 places or more)",
    )
    add("--against", metavar="RUN2", help="another run, whose maps stand beside")
    add("--target", metavar="CLASS", help="explain this class (default: the one that is predicted)")
    add("--most", type=int, default=16, metavar="N", help="images of a sheet (default: 16)")
    add("--no-shortcuts", action="store_true", help="look for no place that alone decides for a class")


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Draw the sheets, and print what the maps are and which shortcuts were found."""
    from headstart.tracking import progress
    from headstart.visualize.why import report

    with progress.watch_run():
        return report.write(network, options, folder)
