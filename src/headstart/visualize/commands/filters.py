"""`headstart visualize … filters`: the kernels of a network's first layer, as pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject: it has none of its own."""


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the picture, and print what it shows."""
    from headstart.storage.files import write_whole
    from headstart.visualize.filters import draw_kernels, find_kernels

    kernels = find_kernels(network)
    path = folder / "filters.png"
    with write_whole(path) as part:
        draw_kernels(network, kernels).save(part, "PNG")
    print(kernels.describe())
    return [path]
