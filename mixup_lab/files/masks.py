"""Mask files to class indices: decoding without a change of values, and the meaning of each label in a file.

Shapes: N masks of H x W pixels. Labels are the values in the files, 0..65535; class indices are what a model learns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from mixup_lab.files.picture import reason_of
from mixup_lab.files.threads import in_threads
from mixup_lab.types import VOID, UserError

LABELS = 2**16  # that a file can have
UNKNOWN = 254  # in a table of indices, so that there may be this many classes


@dataclass(frozen=True)
class Labels:
    """The meaning of labels.

    Args:
        names: of the classes.
        index: class index of each label, or `VOID`.
        otherwise: class index of all other labels; None: another label is a mistake.
        hint: how to mend such a mistake.
    """

    names: tuple[str, ...]
    index: Mapping[int, int]
    otherwise: int | None = None
    hint: str = ""

    def __post_init__(self) -> None:
        if len(self.names) > UNKNOWN:
            raise UserError(f"masks may have at most {UNKNOWN} classes, found {len(self.names)}{self.hint}")

    def apply(self, masks: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """uint8 (N, H, W) class indices of labels (N, H, W).

        Raises:
            UserError: for an unknown label; `names` (N,) are of the files.
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


def decode_masks(paths: Sequence[str], height: int, width: int, title: str) -> np.ndarray:
    """The labels of all masks, (N, H, W): uint8 if these suffice, else uint16. Raises the UserError of the first."""
    out = np.empty((len(paths), height, width), dtype=np.uint16)

    def one(i: int) -> None:
        out[i] = decode_mask(paths[i], height, width)

    in_threads(one, len(paths), title)
    return out.astype(np.uint8) if out.max(initial=0) <= 255 else out


def decode_mask(path: str, height: int, width: int) -> np.ndarray:
    """The labels of one mask, uint16 (H, W), where `picture.decode` shows the pixels of its picture.

    It is scaled to cover H x W and cropped at the centre; each pixel takes the label of the nearest one. Of a palette
    the numbers count, not the colours.

    Raises:
        UserError: that names the file, if it cannot be read or has colours.
    """
    try:
        with Image.open(path) as opened:
            if opened.format == "JPEG":
                raise ValueError("JPEG changes labels; save masks as PNG")
            ImageOps.exif_transpose(opened, in_place=True)
            labels = _one_channel(np.asarray(opened))
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise UserError(f"{path} cannot be read as a mask ({reason_of(path, error)})") from error
    return _covering(labels, height, width)


def _one_channel(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 3:  # grey with alpha, or grey that was saved as RGB
        colours = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., :1]
        if (colours != colours[..., :1]).any():
            raise ValueError("it has colours; a mask must have one channel with the number of the class of each pixel")
        pixels = colours[..., 0]
    if np.issubdtype(pixels.dtype, np.floating):
        raise ValueError("its values are not whole numbers")
    return np.clip(pixels.astype(np.int64), 0, LABELS - 1).astype(np.uint16)


def _covering(labels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The nearest label of each pixel, with the geometry of a picture that is scaled to cover and cropped."""
    high, wide = labels.shape
    scale = max(width / wide, height / high)
    picked = []
    for old, new in ((high, height), (wide, width)):
        scaled = max(new, round(old * scale))
        place = np.arange(new) + (scaled - new) // 2 + 0.5  # centres of pixels
        picked.append((place * old / scaled).astype(np.int64))
    return np.asarray(labels[picked[0][:, None], picked[1]])


def known_labels(names: Sequence[str], void: Sequence[int], hint: str = "") -> Labels:
    """The name of label k at place k. Those of void labels are dropped, and classes are counted on without them."""
    kept = [label for label in range(len(names)) if label not in void]
    index = {label: place for place, label in enumerate(kept)} | dict.fromkeys(void, VOID)
    return Labels(tuple(names[label] for label in kept), index, hint=hint)


def binary_labels(names: Sequence[str], void: Sequence[int]) -> Labels:
    """0 is the first of two classes, every other label is the second."""
    return Labels(tuple(names), {0: 0} | dict.fromkeys(void, VOID), otherwise=1)
