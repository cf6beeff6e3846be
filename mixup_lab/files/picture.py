"""One picture file to an array, and many of them side by side.

Threads do it: Pillow decodes and resizes without holding Python's lock, which on small JPEGs was faster than a pool of
processes, and a process that forks later has no warning to give. Shapes: `C, H, W` channels, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mixup_lab.files.threads import in_threads
from mixup_lab.types import UserError

CHUNK = 128  # pictures that one task decodes
GREY_MODES = ("1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
ORIENTATION = 0x0112


class Header(NamedTuple):
    """What is known of a picture without decoding it."""

    width: int  # as it is to be seen, after EXIF orientation
    height: int
    grey: bool


def read_header(path: str) -> Header:
    """Size and kind of a picture. Raises UserError that names the file if it cannot be read."""
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

    With `stretch` it is scaled to H x W whole, whatever its sides are. Transparent pixels show white. 16-bit grey is
    scaled to 8 bits. Palettes and CMYK become RGB.

    Raises:
        UserError: that names the file if it cannot be read.
    """
    channels, height, width = shape
    try:
        with Image.open(path) as opened:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice what is needed leaves the rest to the resizing.
            opened.draft(None, (2 * max(height, width), 2 * max(height, width)))
            ImageOps.exif_transpose(opened, in_place=True)
            fit = _stretch if stretch else _cover
            pixels = np.asarray(fit(_converted(opened, channels), height, width))
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise _unreadable(path, error) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def decode_all(
    paths: Sequence[str],
    shape: tuple[int, int, int],
    out: np.ndarray,
    advance: Callable[[int], None],
    stretch: bool = False,
) -> None:
    """Decode all pictures into `out`, uint8 (N, C, H, W). Raises the UserError of the first that cannot be read."""

    def part(start: int) -> None:
        for i in range(start, min(start + CHUNK, len(paths))):
            out[i] = decode(paths[i], shape, stretch)

    in_threads(part, len(paths), CHUNK, advance)


def scan(paths: Sequence[str], thorough: bool, advance: Callable[[int], None]) -> list[Header | UserError]:
    """Header of each picture, or what is wrong with it. `thorough` decodes too: some damage shows only then."""

    def one(path: str) -> Header | UserError:
        try:
            header = read_header(path)
            if thorough:
                decode(path, (1, 1, 1))
        except UserError as error:
            return error
        return header

    def part(start: int) -> list[Header | UserError]:
        return [one(path) for path in paths[start : start + CHUNK]]

    return [header for headers in in_threads(part, len(paths), CHUNK, advance) for header in headers]


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


def _cover(image: Image.Image, height: int, width: int) -> Image.Image:
    if image.size == (width, height):
        return image
    scale = max(width / image.width, height / image.height)
    size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)  # Pillow's resizing is antialiased
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


def _stretch(image: Image.Image, height: int, width: int) -> Image.Image:
    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def _unreadable(path: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split()).replace(f" {path!r}", "") or type(error).__name__
    return UserError(f"{path} cannot be read as a picture ({reason}); dataset.on_error=skip leaves such files out")
