"""From mask files to class indices: decoding that keeps the values, and the class of each label in a file.

Shapes: N masks of H x W pixels. Labels are the values in the files, 0..65535; class indices are what a model learns.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mixup_lab.files.picture import covering, opened, turn
from mixup_lab.files.reasons import reason_of
from mixup_lab.files.threads import in_threads
from mixup_lab.types import VOID, UserError

LABELS = 2**16  # values that a pixel of a file can have
UNKNOWN = 254  # marks unknown labels in a table of class indices, so there are at most this many classes


Colours = dict[int, tuple[int, ...]]  # from labels of a file with a palette to their RGB


@dataclass(frozen=True)
class Labels:
    """The class of each label.

    Args:
        names: of the classes.
        index: class index of each label, or `VOID`.
        otherwise: class index of all other labels; None: another label is an error.
        hint: end of that error, how to correct it.
    """

    names: tuple[str, ...]
    index: Mapping[int, int]
    otherwise: int | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        if len(self.names) > UNKNOWN:
            raise UserError(f"masks may have at most {UNKNOWN} classes, found {len(self.names)}{self.hint}")

    @property
    def written(self) -> tuple[int, ...]:
        """The labels that stand for the C classes in a file, and the one for void pixels: 255 if it has no other."""
        free = (label for label in (VOID, *range(LABELS)) if label not in self.index)
        first: dict[int, int] = {}
        for label in sorted(self.index):
            first.setdefault(self.index[label], label)
        if self.otherwise is not None:
            other = next(label for label in range(1, LABELS) if label not in self.index)
            first.setdefault(self.otherwise, other)
        first.setdefault(VOID, next(free))
        return *(first[k] for k in range(len(self.names))), first[VOID]

    def apply(self, masks: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """From labels (N, H, W) to class indices, uint8 (N, H, W).

        Raises:
            UserError: for an unknown label, with the name of its file from `names` (N,).
        """
        table = np.full(LABELS, UNKNOWN if self.otherwise is None else self.otherwise, dtype=np.uint8)
        for label, index in self.index.items():
            table[label] = index
        target: np.ndarray = table[masks]
        unknown = (target == UNKNOWN).any((1, 2))
        if unknown.any():
            first = int(unknown.argmax())
            label = masks[first][target[first] == UNKNOWN][0]
            allowed = ", ".join(map(str, sorted(self.index))) if len(self.index) <= 12 else f"{len(self.index)} others"
            raise UserError(f"{names[first]} has the label {label}; allowed are {allowed}{self.hint}")
        return target


def decode_masks(paths: Sequence[str], height: int, width: int, title: str, upright: bool = True) -> np.ndarray:
    """The labels of all masks (N, H, W): uint8 if they fit, else uint16.

    Raises:
        UserError: for an unreadable file, and for palettes that give one label two colours.
    """
    out = np.empty((len(paths), height, width), dtype=np.uint16)

    def one(i: int) -> Colours:
        out[i], colours = _decoded(paths[i], height, width, upright)
        return colours

    _check_palettes(paths, in_threads(one, len(paths), title))
    return out.astype(np.uint8) if out.max(initial=0) <= 255 else out


def decode_mask(path: str, height: int, width: int, upright: bool = True) -> np.ndarray:
    """The labels of one mask, uint16 (H, W), aligned with its picture from `picture.decode`.

    It is scaled to cover H x W and cropped at the centre; each pixel takes the label of the nearest one. In a file with
    a palette the indices count, not the colours. `upright` tells whether it is turned by its EXIF orientation.

    Raises:
        UserError: for a file that cannot be read, has colours, or holds other values than labels.
    """
    return _decoded(path, height, width, upright)[0]


def _decoded(path: str, height: int, width: int, upright: bool) -> tuple[np.ndarray, Colours]:
    """The labels of a mask, see `decode_mask`, and the colours of those that are in the file, if it has a palette."""
    try:
        with opened(path, math.inf) as image:  # its header was read within the limit
            if image.format == "JPEG":
                raise ValueError("JPEG changes labels; save masks as PNG")
            image = turn(image, upright)
            labels, palette = _one_channel(np.asarray(image)), image.getpalette() if image.mode == "P" else None
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise UserError(f"{path} cannot be read as a mask ({reason_of(path, error)})") from error
    colours: Colours = {}
    if palette is not None:
        held = np.bincount(labels.reshape(-1)).nonzero()[0].tolist()
        colours = {label: tuple(palette[3 * label : 3 * label + 3]) for label in held}
    return _covering(labels, height, width), colours


def _check_palettes(paths: Sequence[str], every: Iterable[Colours]) -> None:
    """Raise UserError for a label with two colours: each file has numbers of its own for the colours that it holds."""
    first: dict[int, tuple[tuple[int, ...], str]] = {}
    for path, colours in zip(paths, every, strict=True):
        for label, colour in colours.items():
            known, other = first.setdefault(label, (colour, path))
            if known != colour:
                raise UserError(
                    f"label {label} has the colour {colour} in the palette of {path}, and {known} in that of {other};"
                    " in files with a palette the indices are labels: save masks with one palette, or without"
                )


def _one_channel(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3:  # grey with alpha, or grey that was saved as RGB
        colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        if pixels.shape[2] in (2, 4) and len(np.unique(pixels[..., -1])) > 1 and len(np.unique(colours)) == 1:
            raise ValueError(
                "it is drawn in its alpha channel; a mask must have the class number of each pixel as grey"
            )
        if (colours != colours[..., :1]).any():
            raise ValueError("it has colours; a mask must have one channel with the class number of each pixel")
        pixels = colours[..., 0]
    if np.issubdtype(pixels.dtype, np.floating) and not np.array_equal(pixels, np.round(pixels)):
        raise ValueError("its values are not whole numbers")
    low, high = pixels.min(), pixels.max()
    if low < 0 or high >= LABELS:
        raise ValueError(f"it holds {low if low < 0 else high:g}; labels are 0..{LABELS - 1}")
    return pixels.astype(np.uint16)


def _covering(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest label for each pixel, with the geometry of a picture that is scaled to cover and cropped."""
    high, wide = labels.shape
    across, down = covering((wide, high), (width, height))
    picked = []
    for old, new, scaled in ((high, height, down), (wide, width, across)):
        place = np.arange(new) + (scaled - new) // 2 + 0.5  # centres of pixels
        picked.append((place * old / scaled).astype(np.int64))
    return np.asarray(labels[picked[0][:, None], picked[1]])


def known_labels(names: Sequence[str], void: Sequence[int], hint: str = "") -> Labels:
    """Label k has the name `names[k]`. Void labels are dropped, and the classes after them move up."""
    kept = [label for label in range(len(names)) if label not in void]
    index = {label: place for place, label in enumerate(kept)} | dict.fromkeys(void, VOID)
    return Labels(tuple(names[label] for label in kept), index, hint=hint)


def binary_labels(names: Sequence[str], void: Sequence[int]) -> Labels:
    """Label 0 is the first of two classes, every other label the second."""
    return Labels(tuple(names), {0: 0} | dict.fromkeys(void, VOID), otherwise=1)
