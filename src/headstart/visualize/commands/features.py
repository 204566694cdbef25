"""`headstart visualize … features`: what excites the units of a network, made and found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network

OBJECTIVES = ("channel", "neuron", "layer", "direction")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject."""
    add = parser.add_argument
    add(
        "--layers",
        nargs="+",
        metavar="LAYER",
        help="names of layers, or depths from 0 at the image to -1 at the head (default: four depths, evenly spread)",
    )
    add("--units", nargs="+", type=int, metavar="N", help="numbers of channels (default: six of each layer, at random)")
    add("--classes", nargs="*", metavar="CLASS", help="instead of layers: classes of the network, by name or number")
    add(
        "--objective",
        choices=OBJECTIVES,
        default="channel",
        help="what is excited: a channel everywhere, a channel in the middle, all of a layer, or a direction",
    )
    add("--direction", metavar="FILE.npy", help="of --objective direction: a vector with a number for each channel")
    add("--diverse", type=int, default=1, metavar="N", help="pictures of each unit that are unlike each other")
    add("--maco", action="store_true", help="pictures have the spectrum of the images; only their phases are made")
    add("--steps", type=int, default=256, help="of the optimisation (default: 256)")
    add(
        "--size",
        type=int,
        help="side of the pictures in pixels (default: what the network sees, at most 128 of layers)",
    )
    add(
        "--images",
        nargs="+",
        metavar="PATH",
        help="where exciting images are: files, folders, patterns, or - for paths on stdin (default: the run's)",
    )
    add("--most", type=int, default=2000, metavar="N", help="images that are looked through (default: 2000; 0: none)")


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the pictures, and print what they show."""
    from headstart.tracking import progress
    from headstart.visualize.features.grid import make_grid

    with progress.watch_run():
        return make_grid(network, options, folder)
