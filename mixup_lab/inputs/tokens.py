"""The encoder of texts, which are token ids, and the tiles that show them."""

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mixup_lab.inputs.encoder import Encoder
from mixup_lab.inputs.vocabulary import PADDING, spelt

SIZES = range(14, 7, -1)  # of the letters on a tile, in pixels: the largest at which the text fits
FINE = 4  # letters are drawn this many times larger, then reduced, so that small ones keep their spacing
INK, PAPER = (28, 31, 35), (250, 248, 242)
MARGIN = 4


class Tokens(Encoder):
    """Passes token ids on, as int64.

    Args:
        names: of the tokens, by id.
        length: L, the number of tokens of the longest text.
    """

    noun = "texts"
    tokens = True

    def __init__(self, names: Sequence[str], length: int) -> None:
        self.names = names
        self.shape = (length,)

    def offers(self) -> dict[str, int]:
        """`num_tokens`: the size of the vocabulary."""
        return {"num_tokens": len(self.names)}

    def about(self) -> dict[str, object]:
        """`tokens`: by id; the first two are padding and unknown."""
        return {"tokens": list(self.names)}

    def whole(self, example: Tensor) -> Tensor:
        """A text (L or less) padded to L."""
        return F.pad(example, (0, self.shape[0] - len(example)), value=PADDING)

    def describe(self) -> str:
        """`40 tokens`."""
        return f"{self.shape[0]} tokens"

    def __call__(self, inputs: Tensor) -> Tensor:
        """int32 (B, L or less) to int64."""
        return inputs.long()

    def draw(self, inputs: Tensor, box: int) -> np.ndarray:
        """The text of each row of ids, wrapped to fit a tile: uint8 (n, box, box, 3)."""
        texts = [spelt(self.names[i] for i in row if i != PADDING) for row in inputs.tolist()]
        return np.stack([text_tile(text, box) for text in texts])


def text_tile(text: str, box: int) -> np.ndarray:
    """A text in a square: uint8 (box, box, 3). Text that does not fit is cut off, with an ellipsis."""
    width = FINE * (box - 2 * MARGIN)
    for size in SIZES:
        font, high = ImageFont.load_default(FINE * size), FINE * round(1.2 * size)
        lines, most = _wrapped(text, font, width), width // high
        if len(lines) <= most and all(font.getlength(word) <= width for word in text.split()):
            break
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][:-1] + "…"]
    image = Image.new("RGB", (FINE * box, FINE * box), PAPER)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        draw.text((FINE * MARGIN, FINE * MARGIN + row * high), line, fill=INK, font=font)
    return np.asarray(image.reduce(FINE))


def _wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Lines that fit, broken at spaces; a word that is too long by itself is broken where it must be."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".lstrip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines
