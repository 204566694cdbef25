"""Does the peak memory of feature extraction grow with the epochs, and what do images cost beyond their bytes?

Command:   python -m benchmarks memory
Expected:  a head trained for 50 epochs peaks within 5 % of one trained for 1; the data path peaks within 1.3 times
           the uint8 images that it keeps.

Epochs: Fashion-MNIST (Debian's package) at 96 px, 1,000 training and 2,000 test images, EfficientNet-Lite0; the head is
trained by gradient on cached features, since the default logistic head has no epochs. Whole processes, `ru_maxrss` of
the largest process; with an empty cache, and with a warm one, where extraction does not hide what training takes.
Data path: a process of its own that has imported everything it needs reads 10,000 + 2,000 images; its peak above the
level before, over the bytes of the tensors that it ends up with.
"""

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import HEADSTART, MIB, Figure, Process, interleaved, peak, run

EPOCHS = (1, 50)
N_TRAIN, N_TEST, SIZE, CROP = 10_000, 2_000, 96, 0.875
SAME = 1.05  # repeats of one command differ by about 1 %

LOADING = """
import json, sys
import numpy, PIL.Image, torch
import headstart.data.loader, headstart.data.sources
from headstart.runtime.memory import keep_freed_memory
from headstart.config.schema import DataConfig, HardwareConfig
from headstart.data.dataset import prepare

def level(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

import hydra.utils
n_train, n_test, size, crop = json.loads(sys.argv[1])
source = {"_target_": "headstart.data.sources.fashion_mnist"}
config = DataConfig(name="fashion_mnist", source=source, n_train=n_train, n_test=n_test, split_seed=0)
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")  # the peak starts anew at the present level
before = level("VmRSS")
data = prepare(config, image_size=size, crop_pct=crop, interpolation="bicubic")
with keep_freed_memory(HardwareConfig(accelerator="cpu", precision="32")):  # as a run does
    images = sum(part.images.nbytes for part in (data.train, data.val, data.test))
    touched = sum(int(part.images[:, :, 0, 0].sum()) for part in (data.train, data.val, data.test))
    print(json.dumps({"images": images, "peak": level("VmHWM") - before, "kept": level("VmRSS") - before}))
"""


def measure(repeats: int) -> list[Figure]:
    """Peak ratios: 50 epochs against 1, from an empty and a warm cache; the data path against its images."""
    figures = data_path()
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as scratch:
        root = Path(scratch)
        head(root, EPOCHS[0], "prime", "warm")  # fills the warm cache, and is not measured

        def side(epochs: int, cache: str) -> Process:
            return head(root, epochs, f"{cache}-{epochs}", cache)

        sides = {f"{n} epochs, warm cache": lambda _, n=n: side(n, "warm") for n in EPOCHS}
        sides |= {f"{n} epochs, empty cache": lambda _, n=n: side(n, "null") for n in EPOCHS}
        taken = interleaved(sides, repeats)
    for cache in ("empty", "warm"):
        few, many = (peak(taken[f"{n} epochs, {cache} cache"]) for n in EPOCHS)
        note = f"{few / MIB:.0f} and {many / MIB:.0f} MiB"
        what = f"{cache} cache: peak of {EPOCHS[1]} epochs / of {EPOCHS[0]}"
        figures.append(Figure(what, many / few, "x", at_most=SAME, note=note))
    return figures


def head(root: Path, epochs: int, study: str, cache: str) -> Process:
    """Feature extraction with a head that is trained by gradient for so many epochs."""
    options = (
        "strategy=feature_extraction", "augment=none", "strategy.phases.head.probe=null",
        f"strategy.phases.head.epochs={epochs}", "model=efficientnet_lite0", "data=fashion_mnist",
        "data.n_train=1000", "data.n_test=2000", "hardware=cpu", "logger=csv", "rerun=true",
        f"study={study}", f"output_dir={root / 'outputs'}", f"cache_dir={'null' if cache == 'null' else root / cache}",
    )  # fmt: skip
    return run((*HEADSTART, "train", *options), cwd=root)


def data_path() -> list[Figure]:
    """Peak of reading Fashion-MNIST above the level before, over the bytes of the images read."""
    settings = json.dumps([N_TRAIN, N_TEST, SIZE, CROP])
    process = run((sys.executable, "-c", LOADING, settings))
    found = json.loads(process.output.splitlines()[-1])
    highest, images, kept = (found[key] / MIB for key in ("peak", "images", "kept"))
    note = f"{highest:.0f} MiB for {images:.0f} MiB of images; {kept:.0f} MiB at the end"
    return [Figure("data path: peak / uint8 images", highest / images, "x", at_most=1.3, note=note)]
