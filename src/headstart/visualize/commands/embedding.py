"""`headstart visualize RUN embedding [RUN2]`: a map of the features of test images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network

NOTE = """\
A map is only a picture: t-SNE keeps neighbours together, while distances and sizes of groups mean nothing. The numbers
beside it are of the features themselves: k-NN is how often most of an image's 5 nearest neighbours are of its class,
trustworthiness how many neighbours on the map are neighbours by features. A ring marks a mistake of the run."""
SECOND = " The second map starts from the first, so that what moved moved because the features did."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject."""
    add = parser.add_argument
    add("run2", metavar="RUN2", nargs="?", help="a second run on the same test images, whose map starts from the first")
    add("--images", type=int, default=2000, metavar="N", help="at most so many test images, drawn (default: 2000)")


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Make the map, print its numbers, and write the page, the picture and the points."""
    from headstart.predict.load import load
    from headstart.storage.files import write_text, write_whole
    from headstart.visualize.embedding import chart
    from headstart.visualize.embedding.points import make_maps
    from headstart.visualize.embedding.table import format_table, make_csv

    networks = [network, *([load(options.run2, options.device)] if options.run2 else [])]
    maps = make_maps(networks, options.images, options.seed)
    note = " ".join(NOTE.split()) + (SECOND if len(networks) > 1 else "")
    print(*format_table(maps), "", NOTE, sep="\n")
    stem = f"embedding-{maps.maps[1].name}" if len(networks) > 1 else "embedding"
    paths = [folder / f"{stem}.{end}" for end in ("html", "png", "csv")]
    write_text(paths[0], chart.make_html(maps, f"headstart: {' and '.join(each.name for each in maps.maps)}", note))
    with write_whole(paths[1]) as part:
        part.write_bytes(chart.make_png(maps))
    write_text(paths[2], make_csv(maps))
    return paths
