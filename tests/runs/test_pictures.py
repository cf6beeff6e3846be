"""Captions of pictures: any script, sharp, and not cut where there is room below."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mixup_lab.runs.fonts import dejavu, families_for, font_for
from mixup_lab.runs.pictures import SCALE, TEXT, _folded, captioned_grid

TILES = np.full((2, 64, 128, 3), 90, dtype=np.uint8)


def below(caption: str) -> np.ndarray:
    """What is drawn below the first of two pictures."""
    sheet = captioned_grid(TILES, [caption, ""])
    assert sheet.shape[1] % 2 == 0
    return sheet[64 * SCALE + 12 :, : sheet.shape[1] // 2]


def test_letters_of_several_scripts_are_drawn_and_differ_from_the_box_of_a_missing_one():
    missing = below("\U0010fffd")  # a sign for private use, which no font has
    drawn = [below(sign) for sign in "äößéкЖλ"]
    for k, picture in enumerate(drawn):
        assert (picture < 128).any()
        assert all(picture.shape != other.shape or (picture != other).any() for other in [missing, *drawn[:k]])


def test_a_caption_is_folded_between_words_and_not_cut():
    words = "said a long name of a class that goes on (0.97)"
    lines = _folded(words, 256)
    assert len(lines) > 1
    assert " ".join(lines) == words
    font = ImageFont.truetype(str(dejavu()), TEXT)
    assert all(font.getlength(line) <= 256 for line in lines)
    cut = _folded("x" * 200, 256)
    assert (len(cut), cut[-1][-1]) == (3, "…")
    assert all(font.getlength(line) <= 256 for line in cut)
    assert _folded("", 256) == [""]


def test_pictures_are_enlarged_by_whole_pixels():
    random = np.random.default_rng(0).integers(0, 256, (1, 5, 7, 3), dtype=np.uint8)
    sheet = captioned_grid(random, ["a"])
    assert (sheet[8 : 8 + 10, 8 : 8 + 14] == np.asarray(Image.fromarray(random[0]).resize((14, 10), 0))).all()


def test_a_sign_that_dejavu_lacks_comes_from_an_installed_font_that_has_it():
    """STIX comes with matplotlib; a small letter of phonetics is in it, and not in DejaVu."""
    assert font_for("Größe, кошка, λ") == dejavu()
    chosen = font_for("a \u1d8d")
    assert chosen.name.startswith("STIX")
    drawn = [Image.new("L", (40, 40)) for _ in range(2)]
    for image, sign in zip(drawn, ("\u1d8d", "\U0010fffd"), strict=True):
        ImageDraw.Draw(image).text((2, 2), sign, fill=255, font=ImageFont.truetype(str(chosen), 20))
    assert (np.asarray(drawn[0]) != np.asarray(drawn[1])).any()
    assert families_for(["a", "\u1d8d"]) == ["DejaVu Sans", "STIXGeneral"]
    assert "LastResort" not in font_for("\U0010fffd").name
