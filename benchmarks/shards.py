"""What would tar shards with an index cost behind the `Images` protocol, where files are too many for a file system?

Command:   python -m benchmarks shards
Expected:  on 2 cores an index of 16 bytes an image, opened in milliseconds whatever its length, and images read in
           random order at least as fast as files; about a minute. `docs/scale.md` reckons with these figures.

`TarImages` is a prototype: shards written by Python's tarfile, and an index of two numbers an image (its shard and
offset in one, its length), mapped into memory. 20,000 JPEG files of 100 x 75 pixels in 20 shards; nothing is decoded.
"""

import os
import random
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Figure, say

IMAGES, SHARDS, READS = 20_000, 20, 20_000
SHARD_BITS = 48  # of the first number: above them the shard, below them the offset


class TarImages:
    """Images in tar files, found by an index: what `headstart.data.source.Images` asks for."""

    def __init__(self, folder: Path) -> None:
        self.index = np.load(folder / "index.npy", mmap_mode="r")
        self.shards = [os.open(path, os.O_RDONLY) for path in sorted(folder.glob("*.tar"))]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int, /) -> Image.Image:
        from io import BytesIO

        return Image.open(BytesIO(self.raw(index)))

    def raw(self, index: int, /) -> bytes:
        """The source bytes of one image."""
        place, length = (int(number) for number in self.index[index])
        return os.pread(self.shards[place >> SHARD_BITS], length, place & ((1 << SHARD_BITS) - 1))


def measure(repeats: int) -> list[Figure]:
    """Bytes of the index, seconds to open it, and reads a second against files; the best of the repeats."""
    with tempfile.TemporaryDirectory(prefix="headstart-shards-") as scratch:
        files, shards = Path(scratch) / "files", Path(scratch) / "shards"
        paths = _write_files(files)
        _write_shards(paths, shards)
        order = random.Random(0).sample(range(IMAGES), READS)
        opening, by_shard, by_file = [], [], []
        for repeat in range(repeats):
            began = time.perf_counter()
            images = TarImages(shards)
            opening.append(time.perf_counter() - began)
            assert all(images.raw(row) == paths[row].read_bytes() for row in order[:100])
            by_shard.append(_time(images.raw, order))
            by_file.append(_time(lambda row: paths[row].read_bytes(), order))
            say(
                f"  files {READS / by_file[-1]:.0f}/s, shards {READS / by_shard[-1]:.0f}/s  ({repeat + 1} of {repeats})"
            )
        size = (shards / "index.npy").stat().st_size / IMAGES
    return [
        Figure("shards: bytes of the index for an image", size, "B", at_most=20),
        Figure("shards: opening the index", 1000 * min(opening), "ms"),
        Figure("shards: images read a second", READS / min(by_shard), "images/s"),
        Figure("shards: times as fast as files", min(by_file) / min(by_shard), "x", at_least=1.0),
    ]


def _time(read: Callable[[int], bytes], order: list[int]) -> float:
    began = time.perf_counter()
    for row in order:
        read(row)
    return time.perf_counter() - began


def _write_files(folder: Path) -> list[Path]:
    from sklearn.datasets import load_sample_images

    photograph = Image.fromarray(load_sample_images().images[0])
    draw = random.Random(1)
    paths = [folder / f"{row // 1000:03}" / f"{row:06}.jpg" for row in range(IMAGES)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        left, top = draw.randrange(photograph.width - 100), draw.randrange(photograph.height - 75)
        photograph.crop((left, top, left + 100, top + 75)).save(path, quality=90)
    return paths


def _write_shards(paths: list[Path], folder: Path) -> None:
    folder.mkdir()
    index = np.zeros((len(paths), 2), dtype=np.int64)
    each = len(paths) // SHARDS
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard:06}.tar", "w") as archive:
            for path in paths[shard * each : (shard + 1) * each]:
                archive.add(path, path.name)
        with tarfile.open(folder / f"{shard:06}.tar") as archive:
            for at, member in enumerate(archive):
                index[shard * each + at] = (shard << SHARD_BITS) + member.offset_data, member.size
    np.save(folder / "index.npy", index)
