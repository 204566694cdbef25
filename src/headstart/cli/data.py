"""`headstart data`: look at what a run would read, before anything is trained."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

DESCRIPTION = """\
Show what a run would read, before anything is trained: parts, classes and counts, image sizes and formats, how
images are changed, what is left out and why, unreadable files, images that stand twice or under two labels.
Writes a contact sheet of each class and a picture of augmented samples. Needs no weights,
but for --suspects: images whose label is probably wrong, by heads on features of the pretrained network."""
EXAMPLES = """\
examples:
  headstart data digits                        a name in conf/data
  headstart data photos                        a folder of images, as data=image_folder data.source.root=photos
  headstart data labels.csv data.n_train=500   a table, as data=csv data.source.path=labels.csv; keys as for train
  headstart data outputs/demo/RUN              what a run has read
  headstart data data=cifar10 augment=standard
  headstart data photos --suspects             probable label errors, in suspects.csv and suspects.png too

Files: summary.txt, classes.csv, problems.csv if there are problems, classes/CLASS.png (up to 24 images of each
class, of all parts), augmented.png (a row per image: as evaluation sees it, then augmented samples),
with --suspects suspects.csv and suspects.png.
"""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the verb's arguments."""
    parser = argparse.ArgumentParser(
        prog="headstart data",
        usage="headstart data [WHAT] [KEY=VALUE ...] [--suspects] [--out FOLDER] [--no-pictures]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="WHAT, KEY=VALUE", help="what to look at, and overrides as for headstart train")
    add(
        "--suspects",
        action="store_true",
        help="find probable label errors (needs headstart[trust]); seconds to minutes",
    )
    add("--out", type=Path, metavar="FOLDER", help="where files go (default: <output_dir>/data/<name>)")
    add("--no-pictures", action="store_true", help="write the tables only; quicker")
    add("--config-dir", "-cd", metavar="FOLDER", help="a folder of your own configs, as for headstart train")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the verb; wrong input raises a UserError."""
    options = make_parser().parse_intermixed_args(list(argv))
    from headstart.cli import data_words, look

    if options.suspects:
        from headstart.trust.extra import require_cleanlab

        require_cleanlab("headstart data --suspects")
    request = data_words.read_words(options.words, options.config_dir)
    if options.suspects:
        from headstart.trust.images import check_weights

        check_weights(request.config)
    with _show_log() as said:
        folder = look.choose_folder(request, options.out)
        look.look(request, folder, said, pictures=not options.no_pictures, suspects=options.suspects)
    return 0


@contextmanager
def _show_log() -> Iterator[io.StringIO]:
    """Inside this context, what the readers report goes to standard output as plain lines, as in `headstart train`.

    It is kept in what this context gives, too.
    """
    from headstart.storage.redact import Formatter

    log, said = logging.getLogger("headstart"), io.StringIO()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout), logging.StreamHandler(said)]
    before = log.level
    log.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(Formatter("%(message)s"))
        log.addHandler(handler)
    try:
        yield said
    finally:
        for handler in handlers:
            log.removeHandler(handler)
        log.setLevel(before)
