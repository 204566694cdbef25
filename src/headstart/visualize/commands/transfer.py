"""`headstart visualize RUN transfer`: what fine-tuning changed, depth by depth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headstart.predict.network import Network

PARTS = {"val": "validation", "test": "test"}
FROZEN = """\
{run}: training has changed nothing in the backbone: it was frozen, and only the head learnt, so there is nothing to
rewind. For a run that shows what fine-tuning changes: strategy=finetune"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this subject."""
    add = parser.add_argument
    add("--images", type=int, default=1000, metavar="N", help="at most so many images, drawn (default: 1000)")
    add(
        "--part",
        choices=PARTS,
        default="val",
        help="whose images (default: val; a strategy that is chosen by test images can no longer be tested on them)",
    )


def run(network: Network, options: argparse.Namespace, folder: Path) -> list[Path]:
    """Measure the changes, print them with the sentence that follows, and draw them."""
    from headstart.errors import UserError
    from headstart.storage.files import write_text
    from headstart.storage.plain_text import escape_controls
    from headstart.visualize.run_data import read_run_data
    from headstart.visualize.transfer import chart, words
    from headstart.visualize.transfer.measure import is_frozen, measure_transfer
    from headstart.visualize.transfer.start import read_start

    if options.images < 1:
        raise UserError(f"--images {options.images}: must be 1 or more")
    start = read_start(network)
    name = escape_controls(str(network.folder))
    if is_frozen(network, start):
        print(FROZEN.format(run=name))
        return []
    data = read_run_data(network)
    found = measure_transfer(network, start, data, options.part, options.images, options.seed)
    title = f"{network.name}, {found.images} {PARTS[options.part]} images: accuracy {100 * found.accuracy:.1f} %"
    sentence = words.conclude(found)
    legend = words.LEGEND.format(fitted=found.fitted)
    print(name, title, "", *words.format_table(found), "", legend, "", sentence, sep="\n")
    table = folder / "transfer.csv"
    write_text(table, words.make_csv(found))
    return [chart.draw(found, title, sentence, folder / "transfer.png"), table]
