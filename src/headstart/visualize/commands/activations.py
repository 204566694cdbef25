"""`headstart visualize … activations IMAGE`: what each depth sees in an image."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject."""
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, patterns, or - for a list of paths on stdin; each image gets a sheet of its own",
    )
    parser.add_argument("--layers", nargs="+", metavar="LAYER", help="names or depths of layers (default: every depth)")
    parser.add_argument("--channels", type=int, default=8, metavar="N", help="maps of each layer (default: 8)")


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the pictures, and print what they show."""
    from headstart.visualize.activations import make_sheets

    return make_sheets(network, options, folder)
