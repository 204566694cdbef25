"""Maps that were never measured, for tests of what is drawn."""

import base64
import io

import numpy as np
from PIL import Image

from headstart.visualize.embedding.feature_map import Quality
from headstart.visualize.embedding.points import Map, Maps


def make_maps(classes: list[str], n: int = 60, count: int = 1) -> Maps:
    """Maps of n images, of which the first is a mistake."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % len(classes)
    predicted = labels.copy()
    predicted[0] = (labels[0] + 1) % len(classes)
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "WEBP")
    thumbnail = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    maps = [
        Map(f"run{at}", random.normal(size=(n, 2)) + 9 * labels[:, None], predicted, 0.98, Quality(0.9, 0.8, 0.95))
        for at in range(count)
    ]
    return Maps(classes, [f"test[{row}]" for row in range(n)], labels, [thumbnail] * n, maps)
