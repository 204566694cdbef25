"""Fashion-MNIST as files on disk: one folder that every side reads, cut as headstart cuts."""

from pathlib import Path

from headstart.config.resolvers import FASHION_FOLDER

INSTALL = (
    f"Fashion-MNIST is not in {FASHION_FOLDER}; install it: apt-get install dataset-fashion-mnist (Debian, Ubuntu)"
)


def installed() -> bool:
    """Whether Debian's original IDX files are there; nothing is downloaded for a benchmark."""
    return FASHION_FOLDER.is_dir()


def write(folder: Path, n_train: int, n_test: int, seed: int) -> Path:
    """Write `train/<class>/<row>.png` and `test/…`, 28x28, stratified and seeded; returns `folder`."""
    from PIL import Image

    from headstart.data.sources import fashion_mnist
    from headstart.data.splits import split_source

    parts = split_source(fashion_mnist(), n_train=n_train, n_test=n_test, seed=seed)
    for name, part in parts.items():
        for row in part.rows:
            place = folder / ("test" if name == "test" else "train") / str(part.split.labels[row])
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(part.split.images[int(row)]).save(place / f"{row:05}.png")
    return folder
