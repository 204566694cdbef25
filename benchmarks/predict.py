"""Does predicting cost more than the network and the decoder, and does memory grow with the number of files?

Command:   python -m benchmarks predict
Expected:  at least 0.95 times the images/s of a bare loop; at most 100 MiB more for 10,000 files than for 100. About 3
           minutes on 2 cores.

Both sides have the same folded network, decoder, batch size and files (photographs of 500x375 pixels, JPEG), and take
turns in one process, in a random order; turns are short and many, so that what else the machine does meets all sides
alike. Files fill whole batches: `predict` fills up the last one, to be exact to the bit, and the loop does not. The
loop decodes a batch, normalises it, runs the network and takes the five likeliest classes; of labels, names, broken
files and progress it knows nothing. Two ways of decoding are compared: when its turn comes, as `predict` does it on a
CPU, and in a thread in advance. Memory is that of whole commands on tiny files.
"""

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import MIB, Figure, interleaved, peak, run, say

FILES = {224: 60, 96: 160}  # photographs a turn, by the side of what the network sees in pixels
TURNS = 10
FEW, MANY = 100, 10_000
OURS, BARE, AHEAD = "predict", "bare loop", "bare loop that decodes in advance"


def measure(repeats: int) -> list[Figure]:
    """Ratios of images per second, and the difference of two peaks."""
    with tempfile.TemporaryDirectory(prefix="headstart-predict-") as scratch:
        root = Path(scratch)
        figures = []
        for size, count in FILES.items():
            write_photographs(root / f"photographs {size}", count)
            child = run(
                (sys.executable, "-m", "benchmarks.predict", str(root / f"photographs {size}"), str(size), str(repeats))
            )
            speeds = json.loads(child.output.splitlines()[-1])
            shown = {name: f"{median(values):.0f}" for name, values in speeds.items()}
            say(f"  {size} px, images/s: {', '.join(f'{name} {value}' for name, value in shown.items())}")
            for name in (BARE, AHEAD):
                # of sides that take turns each round is a ratio of its own: what else the machine does cancels
                ratio = median(ours / other for ours, other in zip(speeds[OURS], speeds[name], strict=True))
                note = f"{shown[OURS]} and {shown[name]} images/s"
                figures.append(Figure(f"{size} px: {OURS} / {name}", ratio, "x", at_least=0.95, note=note))
        return [*figures, measure_memory(root, repeats)]


def measure_memory(root: Path, repeats: int) -> Figure:
    """How much more memory the command takes for many files than for few."""
    folders = {count: root / str(count) for count in (FEW, MANY)}
    for count, folder in folders.items():
        write_small_files(folder, count)
    sides = {
        f"{count:,} files": lambda _, folder=folder: run(
            (sys.executable, "-m", "headstart", "predict", "lenet5", str(folder), "--untrained", "--json")
        )
        for count, folder in folders.items()
    }
    few, many = map(peak, interleaved(sides, min(repeats, 2)).values())
    note = f"{few / MIB:.0f} and {many / MIB:.0f} MiB"
    return Figure(f"peak of {MANY:,} files - peak of {FEW}", (many - few) / MIB, "MiB", at_most=100, note=note)


def write_small_files(folder: Path, count: int) -> None:
    """Write as many PNG files of 32x32 pixels; they are one file under many names."""
    from PIL import Image

    folder.mkdir()
    Image.new("L", (32, 32), 100).save(folder / "00000.png")
    for at in range(1, count):
        (folder / f"{at:05}.png").hardlink_to(folder / "00000.png")


def write_photographs(folder: Path, count: int) -> None:
    """Write crops of 500x375 pixels of scikit-learn's photographs, JPEG at quality 90."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    folder.mkdir()
    rng = np.random.default_rng(0)
    large = [Image.fromarray(photo).resize((960, 640)) for photo in load_sample_images().images]
    for at in range(count):
        left, top = int(rng.integers(960 - 500)), int(rng.integers(640 - 375))
        large[at % 2].crop((left, top, left + 500, top + 375)).save(folder / f"{at:05}.jpg", quality=90)


def _race(folder: str, size: int, repeats: int) -> dict[str, list[float]]:
    """Images per second of each side, which take turns."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as every command of headstart has it

    import torch

    from headstart.data.loader import prefetch
    from headstart.features.inference import choose_batch_size
    from headstart.models.fold import fold_batch_norms
    from headstart.predict.load import load_network, read_model

    network = load_network(read_model("efficientnet_lite0"), torch.device("cpu"), image_size=size)
    files = sorted(map(str, Path(folder).iterdir()))
    folded, batch = fold_batch_norms(network.module), choose_batch_size(size, network.device)
    folded = folded.to(memory_format=torch.channels_last)

    def decode_in_turn(reader: Any) -> Iterator[torch.Tensor]:
        yield from map(reader, torch.arange(len(files)).split(batch))

    def decode_ahead(reader: Any) -> Iterator[torch.Tensor]:
        return prefetch(reader, torch.arange(len(files)).split(batch))

    def loop(decoded: Any) -> None:
        with torch.inference_mode():
            for pixels in decoded(network.transform.make_reader(files)):
                folded(network.normalize(pixels)).softmax(1).topk(5)

    sides = {
        OURS: lambda: network.predict(files),
        BARE: lambda: loop(decode_in_turn),
        AHEAD: lambda: loop(decode_ahead),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    order = random.Random(0)
    for turn in range(repeats * TURNS + 1):  # the first one warms up
        for name, side in order.sample(list(sides.items()), len(sides)):
            began = time.perf_counter()
            side()
            if turn:
                speeds[name].append(len(files) / (time.perf_counter() - began))
    return speeds


if __name__ == "__main__":
    print(json.dumps(_race(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
