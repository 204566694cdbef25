"""An opened image of any mode as a person would see it; needs no torch."""

from PIL import Image

from headstart.data.deep import is_deep, turn_upright


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to mode RGB, or L if it is grey, as a person would see it.

    EXIF rotation is applied, transparent pixels become white, and an animation gives its first frame. Raises ValueError
    for more than 8 bits a pixel, which `headstart.data.pixel_range` scales for the whole set before.
    """
    image = turn_upright(image)
    if is_deep(image):
        raise ValueError(
            f"it has more than 8 bits a pixel (mode {image.mode}), which was not expected of a file with this name; "
            "name it .tif or .png if it is one, or convert it to 8 bits"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")
