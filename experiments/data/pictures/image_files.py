"""Image files as arrays of bytes: one colour model, one way up, one size."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from experiments.safety import files
from experiments.terminal import UserError, one_line

# What cached pixels depend on besides the files; the number changes with what this module does to them.
DECODER = f"1, Pillow {PIL.__version__}"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_FORMATS = ("PNG", "JPEG", "WEBP")
# Values of EXIF's orientation that lay an image on its side.
_ON_ITS_SIDE = (5, 6, 7, 8)


class Header(NamedTuple):
    """What a file says about its image before the pixels: size the right way up, and if it is all grey."""

    height: int
    width: int
    grey: bool


def header(path: Path) -> Header:
    """The header of a PNG, JPEG or WebP file; UserError if it is none."""
    with _opened(path) as image:
        width, height = image.size
        if image.getexif().get(ExifTags.Base.Orientation) in _ON_ITS_SIDE:
            width, height = height, width
        return Header(height, width, _is_grey(image))


def read(path: Path, channels: int, image_size: int | None = None) -> NDArray[np.uint8]:
    """The image in a PNG, JPEG or WebP file, `[H, W, channels]`; UserError if it cannot be decoded.

    Turned as its EXIF data says; transparent parts on white, as viewers show them; 16 bits cut to 8.

    Args:
      path: the file; of an animation, its first frame is taken.
      channels: 1 for grey, 3 for RGB.
      image_size: height and width to scale to, whatever the shape was; None leaves the size.
    """
    with _opened(path) as image:
        plain = _without_alpha(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
        return scaled(np.asarray(plain).reshape(plain.height, plain.width, channels), image_size)


def scaled(pixels: NDArray[np.uint8], image_size: int | None) -> NDArray[np.uint8]:
    """`[H, W, 1 or 3]` at that height and width, whatever its shape was; as it is for None."""
    if image_size is None or pixels.shape[:2] == (image_size, image_size):
        return pixels
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    small = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(image_size, image_size, pixels.shape[2])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(files.regular(path), formats=_FORMATS) as image:
            yield image
    except UserError:
        raise
    # What Pillow raises for a damaged file depends on where the damage is.
    except Exception as error:
        reason = one_line(error).replace(repr(str(path)), "it")
        raise UserError(f"{path}: cannot be read as an image ({reason}); mend or remove it") from error


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16")


def _without_alpha(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    transparent = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), transparent)
