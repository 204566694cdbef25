"""How long does `headstart data FOLDER` take to show 10,000 images before anything is trained?

Command:   python -m benchmarks look
Expected:  about 10 s on 2 cores the first time and when asked again, as a whole process, of which the imports of torch
           and timm take 5 s: headers and bytes of all images are read, and 248 images are decoded for the pictures.

Crops of scikit-learn's photographs of about 200x150 pixels, JPEG at quality 90, in ten folders; the system's file cache
holds them. The first time no digest is known.
"""

import shutil
import tempfile
from pathlib import Path

from benchmarks.measure import HEADSTART, Figure, Process, interleaved, run, seconds

N, CLASSES = 10_000, 10
TARGET = 20.0  # seconds


def measure(repeats: int) -> list[Figure]:
    """Seconds of the first look at a folder, and of the next ones."""
    with tempfile.TemporaryDirectory(prefix="headstart-look-") as scratch:
        root = Path(scratch)
        write_photographs(root / "photographs", N)
        command = (*HEADSTART, "data", "photographs")

        def first(_: int) -> Process:
            shutil.rmtree(root / "outputs", ignore_errors=True)
            return run(command, cwd=root)

        taken = interleaved({"first": first, "again": lambda _: run(command, cwd=root)}, repeats)
    names = {"first": "never read before", "again": "again"}
    return [
        Figure(f"headstart data, {N:,} images, {names[side]}", seconds(processes), "s", at_most=TARGET)
        for side, processes in taken.items()
    ]


def write_photographs(root: Path, n: int) -> None:
    """Write n crops of two photographs into ten class folders, no two the same."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rng = np.random.default_rng(0)
    for at in range(n):
        folder = root / f"class{at % CLASSES}"
        folder.mkdir(parents=True, exist_ok=True)
        width, height = int(rng.integers(180, 221)), int(rng.integers(135, 166))
        left, top = int(rng.integers(640 - width)), int(rng.integers(427 - height))
        crop = photos[at % 2].crop((left, top, left + width, top + height))
        crop.save(folder / f"{at:05}.jpg", quality=90)
