"""A cache in shards: files that are each named by the digest of what they hold, and never change once they are there.

A shard is written under another name, flushed to disk and renamed. Because its name is the digest of its content, runs
that write at the same time do not disturb each other, and a shard that is cut short or damaged is known by its name: it
is left out with a warning, and what it held is computed anew.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from headstart.errors import RunFailed
from headstart.storage.files import write_whole
from headstart.storage.stamps import share_until_changed

log = logging.getLogger(__name__)

Content = TypeVar("Content")

KNOWN = 100_000  # shards that a process remembers as sound


class Format(Protocol[Content]):
    """How the content of a shard lies in its file."""

    @property
    def suffix(self) -> str: ...
    def digest(self, content: Content) -> str:
        """The name of the shard, without its suffix."""
        ...

    def size(self, content: Content) -> int:
        """The bytes that are about to be written."""
        ...

    def save(self, content: Content, path: Path) -> None: ...
    def load(self, path: Path) -> Content:
        """Raises OSError or ValueError where the file cannot be read."""
        ...


@dataclass(frozen=True)
class Bytes:
    """The plain format: a file is its content."""

    suffix: str

    def digest(self, content: bytes) -> str:
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def size(self, content: bytes) -> int:
        return len(content)

    def save(self, content: bytes, path: Path) -> None:
        path.write_bytes(content)

    def load(self, path: Path) -> bytes:
        return path.read_bytes()


@dataclass(frozen=True)
class Shards(Generic[Content]):
    """The shards of one folder.

    Args:
        damaged: the warning of a shard that is left out; `{path}` stands for its place.
        full: the warning where none can be written; `{error}` stands for why, with what to do about it, and
            `{reason}` for why alone.
    """

    folder: Path
    format: Format[Content]
    damaged: str
    full: str

    def read(self) -> Iterator[Content]:
        """The contents of all sound shards, in the order of their names; each is read when it is asked for."""
        for path in sorted(self.folder.glob(f"*{self.format.suffix}")):
            try:
                content = self.format.load(path)
                sound = share_until_changed("sound", path, partial(self._is_sound, path, content), KNOWN)
            except FileNotFoundError:  # somebody cleared the cache meanwhile
                continue
            except (OSError, ValueError):
                sound = False
            if sound:
                yield content
            else:
                log.warning("%s", self.damaged.format(path=path))

    def _is_sound(self, path: Path, content: Content) -> bool:
        return self.format.digest(content) == path.name.removesuffix(self.format.suffix)

    def write(self, content: Content) -> None:
        """Add a shard. Where that is impossible, such as on a full disk, a warning is logged and the run goes on."""
        path = self.folder / f"{self.format.digest(content)}{self.format.suffix}"
        try:
            with write_whole(path, self.format.size(content)) as part:
                self.format.save(content, part)
        except RunFailed as error:
            log.warning("%s", self.full.format(error=error, reason=str(error).rpartition(". Make room")[0]))
