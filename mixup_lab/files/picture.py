"""Decode a picture file to an array, and choose a common size for many.

Many files are decoded in threads, as Pillow decodes and resizes without holding Python's lock. On small JPEGs this was
faster than a pool of processes, and later forks cause no warnings. Shapes: `C, H, W` channels, height, width.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.reasons import reason_of
from mixup_lab.notices import say
from mixup_lab.types import UserError, View

LARGEST = 224  # short side that pictures of unequal sizes are reduced to, if they are larger
GREY_MODES = ("1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N")
MOST = 178_956_970  # pixels that a picture may have: 512 MiB of RGB, where Pillow stops too
ORIENTATION = 0x0112
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
BACK = {  # from a picture that is displayed to the pixels as they are stored
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip
UPRIGHT, STORED = 1, 2
ORIENTED, LABELS, DEPTH, LOW, HIGH, PAGES = range(3, 9)  # columns of a table of headers, see `Header`
BYTES, WHOLE, FLOATS = 0, 1, 2  # values of one byte; whole numbers of more; floating-point numbers
HEADER = 4  # version of what a header holds


class Header(NamedTuple):
    """Facts about a picture; all but `low` and `high` need no decoding."""

    width: int  # as displayed, after EXIF orientation
    height: int
    grey: bool
    orientation: int  # of EXIF: 1..8, 1 for upright
    labels: int = UPRIGHT  # which way up its labels may be: UPRIGHT, STORED or both
    depth: int = BYTES  # BYTES, WHOLE or FLOATS
    low: float = 0  # smallest and largest value, if it has more than 8 bits
    high: float = 0
    pages: int = 1  # or frames, of which the first is read

    def size(self, upright: bool) -> tuple[int, int]:
        """Width and height, upright or as stored."""
        turned = not upright and self.orientation in TURNED
        return (self.height, self.width) if turned else (self.width, self.height)

    def fits(self, size: tuple[int, int]) -> int:
        """The ways up in which the picture has this size: UPRIGHT, STORED, both or 0."""
        return UPRIGHT * (size == self.size(True)) + STORED * (size == self.size(False))


def sizes(headers: np.ndarray, upright: bool) -> np.ndarray:
    """From a table of headers to int64 (N, 3): width and height, upright or as stored, and whether they are grey."""
    table: np.ndarray = headers[:, :3].astype(np.int64)
    if not upright:
        turned = np.isin(headers[:, ORIENTED], TURNED)
        table[turned, :2] = table[turned, 1::-1]
    return table


@contextmanager
def opened(path: str, most: float) -> Iterator[Image.Image]:
    """A picture, not yet decoded.

    Raises:
        ValueError: for a pipe or the like, and for more pixels than `most`.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("it is not a file")
    Image.MAX_IMAGE_PIXELS = None  # Pillow has one limit for all pictures of a process; here each source has its own
    # Not opened by its path: a TIFF that Pillow maps into memory is scrambled if its orientation swaps the sides.
    with open(path, "rb") as file, Image.open(file) as image:
        if image.width * image.height > most:
            raise ValueError(
                f"{image.width}x{image.height} pixels; dataset.max_pixels={image.width * image.height} allows them"
            )
        yield image


def read_header(path: str, thorough: bool = False, most: int = MOST, values: bool = True) -> Header:
    """Size of a picture, whether it is grey, and the range of its values if they have more than 8 bits.

    Args:
        path: of the file.
        thorough: decode it too: some damage shows only then.
        most: pixels that it may have.
        values: whether the range is wanted.

    Raises:
        UserError: for a file that cannot be read, and for values that are not finite.
    """
    if thorough:
        decode(path, (1, 1, 1), most=most)
    try:
        with opened(path, most) as image:
            (width, height), orientation = image.size, orientation_of(image)
            if orientation in TURNED and image.format != "TIFF":  # of which Pillow gives the displayed size
                width, height = height, width
            header = Header(width, height, image.mode in GREY_MODES, orientation, pages=pages_of(image))
            if not values or _depth(image) == BYTES:
                return header
            pixels = np.asarray(image)
            if not np.isfinite(pixels).all():
                raise ValueError("it holds values that are not finite")
            return header._replace(depth=_depth(image), low=pixels.min().item(), high=pixels.max().item())
    except Exception as error:
        raise _unreadable(path, error) from error


def pages_of(image: Image.Image) -> int:
    """The number of pages or frames of an opened picture: 1 for an MPO of a phone, whose others are other views."""
    return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))  # formats of one page lack n_frames


def orientation_of(image: Image.Image) -> int:
    """The orientation in the EXIF data of an opened picture: 1..8, 1 if it has none."""
    has_exif = "exif" in image.info or image.format == "TIFF"
    found = image.getexif().get(ORIENTATION, 1) if has_exif else 1
    return found if found in range(1, 9) else 1


def turn(image: Image.Image, upright: bool) -> Image.Image:
    """The picture, decoded, as displayed or as stored."""
    orientation = orientation_of(image)
    if image.format == "TIFF":  # Pillow has turned it upright
        image.load()
        back = None if upright else BACK.get(orientation)
        return image if back is None else image.transpose(back)
    if upright:
        ImageOps.exif_transpose(image, in_place=True)
    return image


class Scale(NamedTuple):
    """How values of more than 8 bits become 0..255: `floor(value * factor + shift)`, cut off at both ends."""

    depth: int  # of the values: WHOLE or FLOATS
    factor: float
    shift: float = 0.0


def scale_of(low: float, high: float, depth: int) -> tuple[Scale, str | None]:
    """The scale for values from `low` to `high`, and the range that becomes 0..255; None for the usual one of a mode.

    Floats up to 1 have the range 0..1, whole numbers that of the fewest bits of 8, 10, 12 and 14. Else the range is
    from `low` to `high`.
    """
    if depth == FLOATS and low >= 0 and high <= 1:
        return Scale(depth, 255, 0.5), "0..1"
    if depth == WHOLE and low >= 0 and high < 2**16:
        bits = next(bits for bits in (8, 10, 12, 14, 16) if high < 2**bits)
        return Scale(depth, 2.0 ** (8 - bits)), None if bits == 16 else f"0..{2**bits - 1}"
    if depth == FLOATS and low >= 0 and high <= 255:
        return Scale(depth, 1), None
    factor = 255 / ((high - low) or 1)
    return Scale(depth, factor, 0.5 - low * factor), f"{low:g}..{high:g}"


def scale_among(origin: str, headers: np.ndarray) -> Scale | None:
    """The scale of pictures with more than 8 bits, from the range of all of them, which is reported.

    `headers` (N, 9) are rows of `Header`; None: all pictures have 8 bits.
    """
    deep = headers[headers[:, DEPTH] != BYTES]
    if not len(deep):
        return None
    low, high = deep[:, LOW].min().item(), deep[:, HIGH].max().item()
    scale, becomes = scale_of(low, high, int(deep[:, DEPTH].max()))
    if becomes is not None:
        say(f"pictures in {origin} hold values from {low:g} to {high:g}: {becomes} becomes 0..255 in all of them")
    return scale


def say_pages(origin: str, headers: np.ndarray, names: Sequence[str]) -> None:
    """Report pictures with several pages or frames; `headers` (N, 9) are rows of `Header`."""
    several = np.flatnonzero(headers[:, PAGES] > 1).tolist()
    if several:
        example = f"{names[several[0]]} with {headers[several[0], PAGES]:g}"
        say(
            f"{len(several)} pictures in {origin} have several pages or frames, such as {example}: only the first of"
            " each is read"
        )


def decode(
    path: str,
    shape: tuple[int, int, int],
    stretch: bool = False,
    upright: bool = True,
    scale: Scale | None = None,
    most: int = MOST,
) -> np.ndarray:
    """A picture as uint8 (C, H, W): in grey or RGB, scaled to cover H x W and cropped at the centre.

    Transparent pixels become white. Palettes and CMYK become RGB.

    Args:
        path: of the file.
        shape: (C, H, W).
        stretch: scale it to H x W as a whole, whatever its aspect ratio.
        upright: turn it by its EXIF orientation.
        scale: of values with more than 8 bits; None: as `scale_of` has it for 16 bits and for floats up to 255.
        most: pixels that it may have.

    Raises:
        UserError: for a file that cannot be read.
    """
    channels, height, width = shape
    try:
        with opened(path, most) as image:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; to keep quality, resizing does the last factor of 2.
            image.draft(None, (2 * max(height, width), 2 * max(height, width)))
            converted = _converted(turn(image, upright), channels, scale)
            pixels = np.asarray(_sized(converted, height, width, stretch))
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise _unreadable(path, error) from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def view_of(
    path: str,
    shape: tuple[int, ...],
    stretch: bool = False,
    upright: bool = True,
    scale: Scale | None = None,
    most: int = MOST,
) -> View:
    """The part of a picture that `decode` returns with these arguments.

    Raises:
        UserError: for a file that cannot be read.
    """
    height, width = shape[1:]
    own = read_header(path, most=most, values=False).size(upright)
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


def _depth(image: Image.Image) -> int:
    return WHOLE if image.mode.startswith("I") else FLOATS if image.mode == "F" else BYTES


def _converted(image: Image.Image, channels: int, scale: Scale | None) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    if _depth(image) != BYTES:
        depth = _depth(image)
        scale = scale or scale_of(0, 255 if depth == FLOATS else 65535, depth)[0]
        values = np.asarray(image).astype(np.float64) * scale.factor + scale.shift
        image = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


def _sized(image: Image.Image, height: int, width: int, stretch: bool) -> Image.Image:
    if image.size == (width, height):
        return image
    size = (width, height) if stretch else covering(image.size, (width, height))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    if size[0] * size[1] > MOST:  # a strip of 1 x 30000 pixels would become a billion: only the part kept is made
        across, down = image.width / size[0], image.height / size[1]
        right, bottom = (left + width) * across, (top + height) * down
        part = left * across, top * down, min(right, image.width), min(bottom, image.height)
        return image.resize((width, height), Image.Resampling.BILINEAR, part)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)  # Pillow's resizing is antialiased
    return image.crop((left, top, left + width, top + height))


def _unreadable(path: str, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read as a picture ({reason_of(path, error)}){SKIP_HINT}")
