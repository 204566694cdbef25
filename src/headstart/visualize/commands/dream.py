"""`headstart visualize … dream`: what a layer sees in an image, amplified."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject."""
    add = parser.add_argument
    add("image", nargs="?", metavar="IMAGE", help="a photograph; it keeps its size")
    add("--noise", metavar="WIDTHxHEIGHT", help="instead of a photograph: begin with noise of this size")
    add(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="names or depths of what is amplified (default: inception4c of GoogLeNet, else a depth in the middle)",
    )
    add("--guide", metavar="IMAGE", help="amplify only what the layer also sees in this image")
    add("--octaves", type=int, default=4, metavar="N", help="sizes that are gone through (default: 4)")
    add("--octave-scale", type=float, default=1.4, metavar="X", help="ratio of two successive sizes (default: 1.4)")
    add("--steps", type=int, default=10, metavar="N", help="of each octave (default: 10)")
    add("--rate", type=float, default=1.5, metavar="X", help="mean change of a step, in levels of 256 (default: 1.5)")
    add("--window", type=int, default=512, metavar="PX", help="side of what is computed at once (default: 512)")
    add("--animate", action="store_true", help="also write the way as an animated WebP")


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the picture, and print what it shows."""
    from headstart.tracking import progress
    from headstart.visualize.dream.command import make_dream

    with progress.watch_run():
        return make_dream(network, options, folder)
