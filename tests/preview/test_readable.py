"""What is written on a sheet can be read: labels folded and not cut, areas of masks, words for colours."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mixup_lab.commands.preview import name_of
from mixup_lab.inputs.rows import TableEncoder, learn
from mixup_lab.mixing import Mixup
from mixup_lab.mixing.mixer import Bound, Labels
from mixup_lab.models.mlp import MLP
from mixup_lab.preview.sheet import _caption, _with_answers
from mixup_lab.preview.strips import strips
from mixup_lab.targets.pixels import Pixels
from mixup_lab.types import Batch


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("0.70 * three", ["0.70 * three"]),
        ("0.98 * label1, class13_happy", ["0.98 * label1,", "  class13_happy"]),
        ("0.31 * 2 Platelets, 1 WBC", ["0.31 * 2", "  Platelets, 1", "  WBC"]),
        ("0.50 * Donaudampfschifffahrtsgesellschaft", ["0.50 *", "  Donaud…lschaft"]),
        ("0.50 * " + ", ".join(["word"] * 20), ["0.50 * word,", "  word, word,", "  word, word, …"]),
    ],
)
def test_a_label_is_folded_between_words(line, lines):
    assert _caption(line) == lines


def test_the_parts_of_a_mask_have_their_shares_of_the_area():
    kind = Pixels(("background", "cell", "wall"))
    own = np.array([[0, 0, 0, 1], [0, 0, 255, 255]], np.uint8)
    partner = np.array([[0, 0, 1, 1], [2, 2, 2, 2]], np.uint8)
    parts = kind.label_parts(own, partner, 0.75)
    assert parts == [(0.75, "background 83%, cell 17%"), (0.25, "wall 50%, background 25% +1")]
    assert kind.label_parts(own, partner, 1.0) == [(1.0, "background 83%, cell 17%")]


def test_the_strip_has_the_masks_of_its_mixtures():
    pixels = torch.tensor([[[0, 1], [0, 1]], [[1, 1], [0, 0]]], dtype=torch.uint8)
    mixer = Mixup(alpha=1.0)
    mixer.bind(Bound(MLP(input_shape=(3, 2, 2), num_outputs=2), lambda *_: torch.zeros(2), (3, 2, 2), Labels(2)))
    (strip,) = strips(mixer, Batch(torch.zeros(2, 3, 2, 2), pixels), 0)
    kind = Pixels(("background", "cell"))
    parts = SimpleNamespace(data=SimpleNamespace(kind=kind, encode=SimpleNamespace(shape=(3, 2, 2))))
    grey = np.full((len(strip.values), 2, 2, 3), 128, np.uint8)
    drawn = _with_answers(parts, grey, strip.answers)
    first, last = strip.values.index(1), strip.values.index(0)
    assert (drawn[first] == kind.draw(grey[:1], pixels[:1].numpy(), (3, 2, 2))[0]).all()
    assert (drawn[last] == kind.draw(grey[:1], pixels[1:].numpy(), (3, 2, 2))[0]).all()
    assert (drawn[first] != drawn[last]).any()


def test_the_colours_of_rows_have_words():
    values = np.array([[1.0, 0, np.nan], [2.0, 1, 3.0]], np.float32)
    encoder = TableEncoder(learn(values, np.arange(2), [0, 2], {1: ("a", "b")}, ["x", "c", "y"]), [0, 2], [1])
    drawn = {tuple(pixel) for tile in encoder.draw(encoder(torch.tensor(values)), 64) for pixel in tile.reshape(-1, 3)}
    words, colours = zip(*((words, tuple(colour)) for words, colour in encoder.legend()), strict=True)
    assert [word.partition(":")[0] for word in words][1:] == ["categories", "missing values"]
    assert set(colours) <= drawn
    plain = TableEncoder(learn(values[:, :1], np.arange(2), [0], {}, ["x"]), [0], [])
    assert [word for word, _ in plain.legend()] == ["numbers, from -3 to 3 standard deviations"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"root": "/data/my birds"}, "my-birds"),
        ({"root": "FILE"}, "rows"),
        ({"root": "/data", "download": True}, "chosen"),
        ({}, "chosen"),
    ],
)
def test_own_data_have_their_own_name(tmp_path, source, name):
    (tmp_path / "rows.csv").touch()
    source = {key: str(tmp_path / "rows.csv") if value == "FILE" else value for key, value in source.items()}
    config = SimpleNamespace(source=source, transform={"_target_": "a.None"}, aug={"_target_": "a.Mixup"})
    assert name_of(config, {"dataset": "chosen", "transform": "none", "aug": "mixup"}) == f"{name}-none-mixup"
