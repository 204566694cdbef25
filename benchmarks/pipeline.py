"""From JPEG files to normalised batches: how fast, and in how much memory, against torchvision's usual way?

Command:   python -m benchmarks pipeline
Expected:  the first epoch 1.5 times as fast as `ImageFolder` in a `DataLoader`, the others 8 times; a folder of 200,000
           images of 16x16 pixels opens in seconds, though every file is read and decoded the first time (larger ones
           take as long as their decoding); streaming takes as much memory for 4 times the images. About 5 minutes on
           2 cores.

Photographs: crops of 500x375 pixels of scikit-learn's two, JPEG at quality 90, in one folder that both sides read, and
that the system's file cache holds. Both sides crop, flip and normalise anew in each epoch, with the same parameters and
batch size; torchvision's has as many persistent worker processes as there are cores. Its crops are cut from the whole
photograph, and smoothed while they are resized; headstart keeps the centre square of each, at the size that its network
is validated at, and cuts crops from that. Times are taken in a process
that has imported its libraries. The first epoch's begins with the opening of the folder; headstart's holds what a run
does first: the digests of all files, and the search for bad ones.
"""

import io
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import MIB, Figure, Process, interleaved, peak, run, say, threads

N, SIZES, EPOCHS, BATCH = 3_000, (224, 96), 4, 32
MANY = 200_000
MEAN = STD = (0.5, 0.5, 0.5)
CROP = {"scale": (0.7, 1.0), "ratio": (0.8, 1.25)}  # as augment=standard
HERE, THERE = "headstart", "ImageFolder"


def measure(repeats: int) -> list[Figure]:
    """Epochs of both sides, peaks of streaming, and the opening of a large folder."""
    with tempfile.TemporaryDirectory(prefix="headstart-pipeline-") as scratch:
        root = Path(scratch)
        _photographs(root / "photographs")
        figures = [figure for size in SIZES for figure in _epochs(root, size, repeats)]
        figures += _memory(root, repeats)
        return figures + _opening(root)


def _child(role: str, *arguments: object) -> Process:
    return run((sys.executable, "-m", "benchmarks.pipeline", role, *map(str, arguments)))


def _said(process: Process) -> Any:
    return json.loads(process.output.splitlines()[-1])


def _epochs(root: Path, size: int, repeats: int) -> list[Figure]:
    sides = {
        f"{THERE}, {size} px": lambda _: _child("image_folder", root / "photographs", size),
        f"{HERE}, {size} px": lambda _: _child("memory", root / "photographs", size, N),
    }
    taken = [[_said(process) for process in side] for side in interleaved(sides, repeats).values()]
    first, later = ([N / median(each[name] for each in side) for side in taken] for name in ("first", "later"))
    return [
        Figure(f"{size} px, first epoch: images/s", first[1], "/s", note=f"{THERE}: {first[0]:.0f}"),
        Figure(f"{size} px, later epochs: images/s", later[1], "/s", note=f"{THERE}: {later[0]:.0f}"),
        Figure(f"{size} px, first epoch: headstart / {THERE}", first[1] / first[0], "x", at_least=1.5),
        Figure(f"{size} px, later epochs: headstart / {THERE}", later[1] / later[0], "x", at_least=8),
    ]


def _memory(root: Path, repeats: int) -> list[Figure]:
    """Peaks of one epoch over a quarter of the photographs, and over all of them."""
    size, counts = SIZES[0], (N // 4, N)
    sides = {
        f"{way}, {n} images": lambda _, way=way, n=n: _child(way, root / "photographs", size, n)
        for way in ("stream", "memory")
        for n in counts
    }
    taken = interleaved(sides, repeats)
    peaks = {way: [peak(taken[f"{way}, {n} images"]) for n in counts] for way in ("stream", "memory")}
    notes = {way: f"{few / MIB:.0f} and {many / MIB:.0f} MiB" for way, (few, many) in peaks.items()}
    streamed = median(N / _said(process)["later"] for process in taken[f"stream, {N} images"])
    what = "peak of 4 times the images"
    return [
        Figure(f"{size} px, streamed, later epochs: images/s", streamed, "/s"),
        Figure(f"streamed: {what}", peaks["stream"][1] / peaks["stream"][0], "x", at_most=1.1, note=notes["stream"]),
        Figure(f"held in memory: {what}", peaks["memory"][1] / peaks["memory"][0], "x", note=notes["memory"]),
    ]


def _opening(root: Path) -> list[Figure]:
    """What a run does with a folder of small files before it learns: first, and when the files were read before."""
    began = time.perf_counter()
    _small_files(root / "many")
    say(f"  {MANY:,} files made in {time.perf_counter() - began:.0f} s")
    first, second = (_said(_child("open", root / "many", root / "cache")) for _ in range(2))
    parts = {name: ", ".join(f"{key} {value:.1f} s" for key, value in times.items()) for name, times in
             (("first", first), ("second", second))}  # fmt: skip
    return [
        Figure(
            f"opening {MANY:,} images of 16x16, never read before",
            sum(first.values()),
            "s",
            at_most=30,
            note=parts["first"],
        ),
        Figure(f"opening {MANY:,} images of 16x16 again", sum(second.values()), "s", at_most=10, note=parts["second"]),
    ]


def _photographs(root: Path) -> None:
    """`train`, `val` and `test` of two classes, a photograph each; nearly all of them for training."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    large = [Image.fromarray(photo).resize((960, 640)) for photo in load_sample_images().images]
    for part, count in (("train", N), ("val", 4), ("test", 4)):
        for at in range(count):
            folder = root / part / str(at % 2)
            folder.mkdir(parents=True, exist_ok=True)
            left, top = int(rng.integers(960 - 500)), int(rng.integers(640 - 375))
            crop = large[at % 2].crop((left, top, left + 500, top + 375))
            crop.save(folder / f"{at:05}.jpg", quality=90)


def _small_files(root: Path) -> None:
    """JPEG files of 16x16 pixels in 200 classes, no two the same."""
    import numpy as np
    from PIL import Image

    image = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(image, "JPEG")
    for label in range(200):
        folder = root / f"{label:03}"
        folder.mkdir(parents=True)
        for at in range(MANY // 200):  # what follows the end of an image does not count as part of it
            (folder / f"{at:05}.jpg").write_bytes(image.getvalue() + f"{label} {at}".encode())


def _config(root: str, **changes: Any) -> Any:
    from headstart.config.schema import DataConfig

    source = {"_target_": "headstart.data.sources.image_folder", "root": root}
    return DataConfig(name="photographs", source=source, split_seed=0, **changes)


def _timed(epoch: Any, began: float) -> dict[str, float]:
    """Seconds of the first epoch since `began`, and of the median later one."""
    seconds = []
    for number in range(EPOCHS):
        epoch(number)
        now = time.perf_counter()
        seconds.append(now - began)
        began = now
    return {"first": seconds[0], "later": median(seconds[1:])}


def _image_folder(root: str, size: str) -> dict[str, float]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Normalize, RandomHorizontalFlip, RandomResizedCrop, ToTensor

    began = time.perf_counter()
    steps = [RandomResizedCrop(int(size), **CROP), RandomHorizontalFlip(), ToTensor(), Normalize(MEAN, STD)]
    images = ImageFolder(f"{root}/train", Compose(steps))
    loader = DataLoader(images, BATCH, shuffle=True, num_workers=threads(), persistent_workers=True)

    def epoch(number: int) -> None:
        for _ in loader:
            pass

    return _timed(epoch, began)


def _headstart(storage: str, root: str, size: str, n: str) -> dict[str, float]:
    import hydra.utils  # noqa: F401 what a run has imported when it comes to its data
    import kornia.augmentation  # noqa: F401
    import simplejpeg  # noqa: F401

    from headstart.config.schema import AugmentConfig, HardwareConfig
    from headstart.data.augment import Preprocess
    from headstart.data.checks import check_images
    from headstart.data.dataset import prepare
    from headstart.data.loader import make_loader
    from headstart.runtime import memory

    augment = AugmentConfig(crop_scale=CROP["scale"], crop_ratio=CROP["ratio"], flip=True)
    began = time.perf_counter()
    config = _config(root, n_train=int(n), storage=storage)
    data = prepare(config, image_size=int(size), crop_pct=0.875, interpolation="bicubic")
    data.digest  # noqa: B018
    with memory.keep_freed_memory(HardwareConfig(accelerator="cpu", precision="32")):  # as a run does
        check_images(data, "raise", None)
        preprocess = Preprocess(int(size), MEAN, STD, augment)
        batches = make_loader(data.train, BATCH, shuffle=True, seed=0, phase="benchmark")

        def epoch(number: int) -> None:
            batches.sampler.set_epoch(number)
            for images, _, _ in batches:
                preprocess(images, train=True)

        return _timed(epoch, began)


def _open(root: str, cache: str) -> dict[str, float]:
    import hydra.utils  # noqa: F401
    import simplejpeg  # noqa: F401

    import headstart.data.loader  # noqa: F401
    from headstart.data.checks import check_images, find_duplicates
    from headstart.data.dataset import prepare

    times, began = {}, time.perf_counter()
    config = _config(root, storage="stream")
    data = prepare(config, image_size=32, crop_pct=0.875, interpolation="bicubic", cache_dir=Path(cache))
    steps = {
        "listing": lambda: None,
        "digests": lambda: data.digest,
        "bad images": lambda: check_images(data, "raise", Path(cache)),
        "duplicates": lambda: find_duplicates(data.parts, data.classes),
    }
    for name, step in steps.items():
        step()
        now = time.perf_counter()
        times[name] = now - began
        began = now
    return times


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    roles = {"image_folder": _image_folder, "open": _open}
    found = roles[role](*arguments) if role in roles else _headstart(role, *arguments)
    print(json.dumps(found))
