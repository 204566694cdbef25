"""Which files are images: those whose names have an ending that the installed Pillow opens."""

import os
from functools import cache

# Formats that Pillow recognises but does not decode by itself: scientific grids, video, vector graphics (EPS is handed
# to the program Ghostscript, WMF to Windows).
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


@cache
def list_suffixes() -> frozenset[str]:
    """The endings of image files, in lower case with their dot; which ones depends on how Pillow was built."""
    from PIL import Image

    Image.init()
    known = {end for end, name in Image.registered_extensions().items() if name in Image.OPEN.keys() - NOT_DECODED}
    return frozenset(known | {".mpo"})  # several JPEG images in one file: opened as JPEG


def is_image(name: str) -> bool:
    """Whether a file's name has the ending of an image."""
    return os.path.splitext(name)[1].lower() in list_suffixes()  # noqa: PTH122 a Path of each of 200,000 files is slow
