"""`headstart data WHAT --suspects`: the table of probable label errors, suspects.csv and suspects.png."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.config.words import count
from headstart.data.filenames import escape_name, list_names

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from headstart.config.schema import RunConfig
    from headstart.data.dataset import Data
    from headstart.trust.images import Images
    from headstart.trust.suspects import Suspect

SHOWN = 20  # in the terminal
HEADINGS = [
    "image",
    "part",
    "label",
    "suggested",
    "label_probability",
    "suggested_probability",
]


@dataclass(frozen=True)
class Findings:
    """The suspects among images, the least credible label first, and the classes that were too small to judge."""

    data: Data
    images: Images
    suspects: list[Suspect]
    small: dict[str, int]
    judged: int

    def show(self, console: Console) -> None:
        """Print what was found, the first suspects, and which pairs of classes stand in them most often."""
        from rich.table import Table
        from rich.text import Text

        from headstart.trust.folds import FOLDS
        from headstart.trust.suspects import count_pairs

        classes = self.data.classes
        found = count(len(self.suspects), "probable label error")
        console.print(f"{found} in {self.judged:,} images; look at them before you change a label", soft_wrap=True)
        if self.small:
            console.print(
                f"not judged, because fewer than {FOLDS} images (or groups) cannot be told from errors: "
                f"{list_names([f'{name} ({n})' for name, n in self.small.items()])}",
                soft_wrap=True,
            )
        if not self.suspects:
            return
        table = Table(box=None, pad_edge=False)
        for name in ("image", "part", "label", "%", "rather", "%"):
            table.add_column(name, justify="right" if name == "%" else "left", overflow="fold")
        for row in self.tabulate()[:SHOWN]:
            cells = [row[0], row[1], row[2], f"{100 * row[4]:.1f}", row[3], f"{100 * row[5]:.1f}"]
            table.add_row(*(Text(escape_name(cell)) for cell in cells))
        console.print(table)
        if len(self.suspects) > SHOWN:
            console.print(f"… {len(self.suspects) - SHOWN:,} more, see suspects.csv")
        pairs = (f"{escape_name(one)} → {escape_name(two)} {n}" for one, two, n in count_pairs(self.suspects, classes))
        console.print(f"most often: {', '.join(pairs)}", soft_wrap=True)

    def tabulate(self) -> list[list[Any]]:
        """The rows of suspects.csv."""
        rows = []
        for each in self.suspects:
            place, classes = self.images.places[each.row], self.data.classes
            chances = (round(each.label_probability, 6), round(each.suggested_probability, 6))
            rows.append([place.name, place.part, classes[each.label], classes[each.suggested], *chances])
        return rows

    def draw(self, path: Path) -> None:
        """Draw the sheet, if there are suspects."""
        from headstart.trust.suspects_sheet import draw_suspects

        if self.suspects:
            draw_suspects(self.data, self.images.places, self.suspects).save(path, compress_level=1)


def find(config: RunConfig, data: Data, spec: Any) -> Findings:
    """Find the probable label errors of all parts; images that cannot be read are taken out of `data`."""
    from headstart.trust.folds import make_folds
    from headstart.trust.images import read_images
    from headstart.trust.suspects import find_suspects

    images = read_images(config, data, spec)
    folds = make_folds(images.labels, images.groups, data.classes, config.seed)
    suspects = find_suspects(images.features, images.labels, folds, config.seed)
    return Findings(data, images, suspects, folds.small, int((folds.numbers >= 0).sum()))
