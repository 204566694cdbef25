"""What the report's page is made of, besides its tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """One PNG file, what it shows (for those who cannot see it), and its own caption where it needs one."""

    path: Path
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """A heading of the page, one sentence on how to read what stands under it, and its pictures."""

    title: str
    caption: str
    pictures: list[Picture]
    small: bool = False
