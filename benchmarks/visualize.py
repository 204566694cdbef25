"""How long does a grid of feature visualizations take, and how much memory a dream of a large photograph?

Command:   python -m benchmarks visualize
Expected:  at most 120 s for 4 layers x 6 channels at 128 px, as a whole process, and at most 1.6 GiB for a dream of
           4,000 x 3,000 pixels. About 12 minutes on 2 cores with one repeat.

The grid is that of EfficientNet-Lite0, 256 steps a picture; beside it stand the most exciting of 100 photographs. The
dream has one step on each of two octaves: memory does not depend on how many there are.
"""

import tempfile
from pathlib import Path

from benchmarks.measure import HEADSTART, MIB, Figure, peak, run, say, seconds

VISUALIZE = (*HEADSTART, "visualize", "efficientnet_lite0")
GRID = 120.0  # seconds
DREAM = 1.6 * 1024  # MiB


def measure(repeats: int) -> list[Figure]:
    """Seconds of the grid, and the peak of the dream."""
    from sklearn.datasets import load_sample_images

    from benchmarks.predict import write_photographs

    with tempfile.TemporaryDirectory(prefix="headstart-visualize-") as scratch:
        root = Path(scratch)
        write_photographs(root / "photographs", 100)
        grid = (*VISUALIZE, "features", "--images", str(root / "photographs"), "--out", str(root / "grid"))
        grids = [run(grid) for _ in range(repeats)]
        for line in grids[-1].output.splitlines():
            if line.startswith("depth"):
                say(f"  {line}")
        large = root / "large.png"
        _write_large(load_sample_images().images[0], large)
        steps = ("--octaves", "2", "--steps", "1")
        dream = run((*VISUALIZE, "dream", str(large), *steps, "--out", str(root / "dream")))
    return [
        Figure("4 layers x 6 channels at 128 px", seconds(grids), "s", at_most=GRID),
        Figure("peak of a dream of 4,000 x 3,000 pixels", peak([dream]) / MIB, "MiB", at_most=DREAM),
    ]


def _write_large(photograph: object, file: Path) -> None:
    from PIL import Image

    Image.fromarray(photograph).resize((4000, 3000)).save(file, compress_level=1)
