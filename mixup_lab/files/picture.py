"""Decode a picture file to an array, and choose a common size for many.

Many files are decoded in threads, as Pillow decodes and resizes without holding Python's lock. On small JPEGs this was
faster than a pool of processes, and later forks cause no warnings. Shapes: `C, H, W` channels, height, width.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.notices import say
from mixup_lab.types import UserError, View

LARGEST = 224  # short side that pictures of unequal sizes are reduced to, if they are larger
GREY_MODES = ("1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
ORIENTATION = 0x0112


class Header(NamedTuple):
    """Facts about a picture that need no decoding."""

    width: int  # as displayed, after EXIF orientation
    height: int
    grey: bool


def read_header(path: str, thorough: bool = False) -> Header:
    """Size of a picture, and whether it is grey. `thorough` decodes it too: some damage shows only then.

    Raises:
        UserError: for a file that cannot be read.
    """
    if thorough:
        decode(path, (1, 1, 1))
    try:
        with Image.open(path) as image:
            width, height = image.size
            if "exif" in image.info and image.getexif().get(ORIENTATION) in TURNED:
                width, height = height, width
            return Header(width, height, image.mode in GREY_MODES)
    except Exception as error:
        raise _unreadable(path, error) from error


def decode(path: str, shape: tuple[int, int, int], stretch: bool = False) -> np.ndarray:
    """A picture as uint8 (C, H, W): upright, in grey or RGB, scaled to cover H x W and cropped at the centre.

    With `stretch` it is scaled to H x W as a whole, whatever its aspect ratio. Transparent pixels become white. 16-bit
    grey is scaled to 8 bits. Palettes and CMYK become RGB.

    Raises:
        UserError: for a file that cannot be read.
    """
    channels, height, width = shape
    try:
        with Image.open(path) as opened:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; to keep quality, resizing does the last factor of 2.
            opened.draft(None, (2 * max(height, width), 2 * max(height, width)))
            ImageOps.exif_transpose(opened, in_place=True)
            pixels = np.asarray(_sized(_converted(opened, channels), height, width, stretch))
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise _unreadable(path, error) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def view_of(path: str, shape: tuple[int, ...], stretch: bool = False) -> View:
    """The part of a picture that `decode` returns.

    Raises:
        UserError: for a file that cannot be read.
    """
    height, width = shape[1:]
    own = read_header(path)[:2]
    scaled = (width, height) if stretch else covering(own, (width, height))
    step = own[0] / scaled[0], own[1] / scaled[1]
    return View(own, ((scaled[0] - width) // 2 * step[0], (scaled[1] - height) // 2 * step[1]), step)


def covering(own: tuple[int, int], wanted: tuple[int, int]) -> tuple[int, int]:
    """The smallest width and height with the aspect ratio of `own` that cover those that are wanted."""
    scale = max(wanted[0] / own[0], wanted[1] / own[1])
    return max(wanted[0], round(own[0] * scale)), max(wanted[1], round(own[1] * scale))


def common_shape(
    headers: Mapping[str, np.ndarray], origin: str, channels: int | None, size: tuple[int, int] | None, crop: bool
) -> tuple[int, int, int]:
    """The shape (C, H, W) to which all pictures are scaled.

    Args:
        headers: for each split (N, 3): width, height and grey; train has at least one.
        origin: of the pictures, for messages.
        channels: the user's choice; None: 1 if all pictures are grey, else 3.
        size: the user's height and width; None: those of all pictures, or a square of train's median short side.
        crop: whether pictures of unequal sizes may be cropped.

    Raises:
        UserError: for unequal sizes if they may not be cropped.
    """
    table = np.concatenate(list(headers.values()))
    channels = channels or (1 if table[:, 2].all() else 3)
    if size is not None:
        return channels, *size
    low, high = table[:, :2].min(0).tolist(), table[:, :2].max(0).tolist()
    if low == high:
        return channels, low[1], low[0]
    unequal = f"pictures in {origin} have unequal sizes ({low[0]} to {high[0]} wide, {low[1]} to {high[1]} high)"
    if not crop:
        raise UserError(f"{unequal}; dataset.image_size=[height,width] scales them all")
    side = min(LARGEST, int(np.median(headers["train"][:, :2].min(1))))
    say(
        f"{unequal}: short side scaled to {side}, centre {side}x{side} cropped; dataset.image_size=N or [height,width]"
        " sets another size"
    )
    return channels, side, side


def _converted(image: Image.Image, channels: int) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        values = np.clip(values, 0, 255) if image.mode == "F" else np.clip(values, 0, 65535) >> 8
        image = Image.fromarray(values.astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _sized(image: Image.Image, height: int, width: int, stretch: bool) -> Image.Image:
    if image.size == (width, height):
        return image
    size = (width, height) if stretch else covering(image.size, (width, height))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)  # Pillow's resizing is antialiased
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def _unreadable(path: str, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as a picture ({reason_of(path, error)}){SKIP_HINT}")


def reason_of(path: str, error: Exception) -> str:
    """The message of an error of Pillow, without the path."""
    return " ".join(str(error).split()).replace(f" {path!r}", "") or type(error).__name__
