"""Photographs in class folders, and the parts of a run's folder with which they can be read again."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from conftest import compose
from headstart import train
from headstart.config.schema import to_plain
from headstart.models import preprocessing


def write_photos(folder: Path, photos: Path, classes: Sequence[str], files: Sequence[str]) -> dict[str, Any]:
    """Write the photographs, then config.yaml and predictions.csv of a run; return what result.json says of its data.

    The run says the first class of each image.
    """
    rng = np.random.default_rng(0)
    for name in classes:
        (photos / name).mkdir(parents=True)
        for file in files:
            Image.fromarray(rng.integers(0, 255, (90, 200, 3), np.uint8)).save(photos / name / file)
    config = compose("data=image_folder", f"data.source.root='{photos}'", f"cache_dir={folder.parent / 'cache'}")
    data = train.prepare_data(config, preprocessing.expected_input(config.model))
    test = data.parts["test"]
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(to_plain(config), default=str))))
    with (folder / "predictions.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["index", "name", "label", "predicted", "confidence"])
        writer.writerows([at, test.names[at], test.labels[at], 0, 0.5] for at in range(len(test)))
    return {"digests": {"data": data.digest}, "classes": list(data.classes), "n_test": len(test)}
