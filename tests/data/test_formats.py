"""Every reader reads the same kinds of image files: all that Pillow decodes."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from data.images import PHOTOS, load
from headstart.data import sources
from headstart.data.formats import is_image, list_suffixes
from headstart.data.splits import Part

COMMON = (".jpg", ".JPEG", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".mpo")


def test_endings_are_those_that_pillow_decodes() -> None:
    assert all(is_image(f"a/b{end}") for end in (*COMMON, ".jp2", ".tga", ".qoi"))
    assert not any(
        is_image(name) for name in ("a.heic", "a.txt", "a.pdf", "a.h5", "a.eps", "a.mpg", "a.csv", "png", "a")
    )
    assert is_image("a.avif") == features.check("avif")
    assert all(end == end.lower() and end.startswith(".") for end in list_suffixes())


@pytest.mark.parametrize("ending", [".avif", ".jp2", ".tga"])
def test_a_folder_and_a_table_read_the_same_pixels(ending: str, tmp_path: Path) -> None:
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    for name, photo in PHOTOS.items():
        (tmp_path / name).mkdir()
        Image.fromarray(photo).resize((64, 48)).save(tmp_path / name / f"1{ending}")
    rows = "".join(f"{name}/1{ending},{name}\n" for name in PHOTOS)
    (tmp_path / "table.csv").write_text(f"path,label\n{rows}")
    folder, table = sources.image_folder(str(tmp_path)), sources.csv(str(tmp_path / "table.csv"))
    one, other = (load(Part(source.train, np.arange(2)), 32, "bilinear").images for source in (folder, table))
    assert folder.train.names == table.train.names
    assert (one == other).all()
    near = np.asarray(Image.fromarray(PHOTOS["china"]).resize((64, 48)), int).mean()
    assert abs(one[0].float().mean() - near) < 12
