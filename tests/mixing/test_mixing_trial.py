"""A method of one's own: the least that works everywhere, and how a wrong one is refused before the first step."""

import io
import re
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.command_line import in_this_process
from helpers.options import component, options
from PIL import Image
from torch import nn

from mixup_lab.config.build import build
from mixup_lab.mixing import Batch, Bound, Labels, ManifoldMixup, Mixed, Mixer, Mixup, PairMixer, SaliencyMix
from mixup_lab.mixing.functional import interpolate
from mixup_lab.models.small_cnn import SmallCNN
from mixup_lab.seeding import stream
from mixup_lab.training.trial import try_mixer

losses = nn.CrossEntropyLoss(reduction="none")


def batch(size=3):
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(size, 3, 8, 8, generator=generator), torch.arange(size) % 2)


def bound(mixer):
    torch.manual_seed(0)
    model = SmallCNN(input_shape=(3, 8, 8), num_outputs=2, width=2).train()
    mixer.bind(Bound(model, losses, (3, 8, 8), Labels(2)))
    return model


def check(mixer, size=3):
    try_mixer(mixer, batch(size), stream(0, "trial"))


class Fade(Mixer):
    """Nothing but `apply`, which a test changes."""

    def __init__(self, change=lambda mixed: mixed):
        self.change = change

    def apply(self, batch, draw):
        half = torch.full((len(batch.target),), 0.5)
        mixed = Mixed(batch.inputs.flip(0) / 2 + batch.inputs / 2, batch.target, batch.target.flip(0), half)
        return self.change(mixed)


@dataclass
class Pairs(PairMixer):
    """Nothing but `mix`, which a test changes."""

    change: object = staticmethod(lambda inputs, lam: (inputs, lam))

    def mix(self, inputs, perm, lam, draw):
        return self.change(interpolate(inputs, perm, lam), lam)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("option", options("aug"))
@pytest.mark.filterwarnings("error")
def test_every_option_passes(option, size):
    mixer = build("aug", component("aug", option))
    bound(mixer)
    check(mixer, size)


@pytest.mark.parametrize("mixer", [Fade(), Pairs(), Pairs(labels="soft", num_classes=2), Pairs(lam_per="pair")])
def test_right_ones_pass(mixer):
    check(mixer)


def in_place(mixed):
    mixed.target.add_(1)
    return mixed


WRONG = [
    (lambda mixed: mixed.inputs, "apply must return a Mixed, got torch.float32 (3, 3, 8, 8)"),
    (lambda mixed: tuple(mixed), "apply must return a Mixed, got tuple"),
    (lambda mixed: mixed._replace(inputs=mixed.inputs[:, :1]),
     "inputs must be a tensor of shape (3, 3, 8, 8) and dtype torch.float32, got torch.float32 (3, 1, 8, 8)"),
    (lambda mixed: mixed._replace(inputs=mixed.inputs.double()), "inputs must be a tensor of shape (3, 3, 8, 8) and"),
    (lambda mixed: mixed._replace(target=mixed.target[:2]), "target must be a tensor of shape (3,) and dtype torch"),
    (lambda mixed: mixed._replace(target=mixed.target.float()), "target must be a tensor of shape (3,) and dtype"),
    (lambda mixed: mixed._replace(partner=mixed.partner[0]), "partner must be a tensor of shape (3,) and dtype torch"),
    (lambda mixed: mixed._replace(lam=0.5), "lam must be a tensor of shape (3,), got float"),
    (lambda mixed: mixed._replace(lam=mixed.lam[:, None]), "lam must be a tensor of shape (3,), got torch.float"),
    (lambda mixed: mixed._replace(lam=3 * mixed.lam), "lam must lie in [0, 1], got 1.5 to 1.5"),
    (lambda mixed: mixed._replace(lam=mixed.lam * torch.nan), "lam must lie in [0, 1], got nan to nan"),
    (lambda mixed: mixed._replace(weight=torch.ones(2)), "weight must be a tensor of shape (3,), got torch.float"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), WRONG)
def test_a_wrong_return_value_is_named(change, sentence):
    with pytest.raises(ValueError, match=rf"^Fade fails on 3 examples: {re.escape(sentence)}"):
        check(Fade(change))


PAIRS = "Pairs.mix must return the mixed inputs and lam, two tensors in a tuple"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda inputs, lam: inputs, PAIRS),
        (lambda inputs, lam: (inputs, 0.5), PAIRS),
        (lambda inputs, lam: (inputs[1:], lam), "inputs must be a tensor of shape (3, 3, 8, 8)"),
        (lambda inputs, lam: (inputs, lam.mean()), "lam must have the shape (B,), (H, W) or (B, H, W), got ()"),
        (lambda inputs, lam: (inputs, 1 + lam), "lam must lie in [0, 1], got "),
    ],
)
def test_so_are_those_of_mix(change, sentence):
    with pytest.raises(ValueError, match=rf"^Pairs fails on 3 examples( \(\S+, line \d+\))?: {re.escape(sentence)}"):
        check(Pairs(change=change))


def test_a_batch_that_is_changed_in_place_is_noticed():
    with pytest.raises(ValueError, match=r"^Fade changes the batch in place; let it return new tensors$"):
        check(Fade(in_place))


def test_draws_of_a_wrong_length_are_named():
    mixer = Fade()
    mixer.draw = lambda rng, request: {"angle": rng.random(request.batch_size + 1)}
    with pytest.raises(ValueError, match=r"angle must be an array with a row for each step, got float64 \(4,\)"):
        check(mixer)


def test_an_error_is_placed_in_the_users_file():
    with pytest.raises(
        ValueError, match=r"^Fade fails on 3 examples \(test_mixing_trial.py, line \d+\): integer division or modulo"
    ):
        check(Fade(lambda mixed: 1 // 0))


def test_it_leaves_no_trace():
    random = torch.get_rng_state(), np.random.get_state()[1].copy()
    for mixer in (SaliencyMix(), ManifoldMixup(layers=["stages.1"]), Mixup(partner="nearest_feature")):
        model = bound(mixer)
        state = {name: value.clone() for name, value in model.state_dict().items()}
        plain = model.eval()(batch().inputs)
        model.train()
        torch.set_rng_state(random[0])
        check(mixer)
        assert torch.equal(random[0], torch.get_rng_state())
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        assert all(module.training for module in model.modules())
        trained = [copy(batch().inputs) for copy in (model, model)]
        assert torch.equal(*trained), "no layer is still waiting to be mixed"
        model.load_state_dict(state)
        assert torch.equal(model.eval()(batch().inputs), plain)
    assert (random[1] == np.random.get_state()[1]).all()
    mixer = Mixup(partner="same_class")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check(mixer)
    with pytest.warns(UserWarning, match="partner=same_class"):
        mixer(torch.randn(3, 2), torch.arange(3))


# ---- on the command line --------------------------------------------------------------------------------------------

CODE = """
import torch
from mixup_lab.mixing import Mixed, Mixer, PairMixer

class Fade(Mixer):
    def apply(self, batch, draw):
        half = torch.full((len(batch.target),), 0.5)
        return Mixed((batch.inputs + batch.inputs.flip(0)) / 2, batch.target, batch.target.flip(0), half)

class Bright(Fade):
    def apply(self, batch, draw):
        return super().apply(batch, draw)._replace(lam=torch.full((len(batch.target),), 1.2))

class Rows(PairMixer):
    def mix(self, inputs, perm, lam, draw):
        mask = (torch.arange(inputs.shape[-2]) < lam[:, None] * inputs.shape[-2]).float()
        mask = mask[:, :, None].expand(-1, -1, inputs.shape[-1])
        return torch.where(mask[:, None] == 1, inputs, inputs[perm]), mask
"""
LINE = ("dataset=fake", "dataset.shape=[3,8,8]", "model=small_cnn", "model.width=2", "trainer.batch_size=32",
        "trainer.epochs=1", "trainer.device=cpu", "trainer.progress=none", "trust=[own_mixers]")  # fmt: skip


@pytest.fixture
def own(monkeypatch, capsys, tmp_path):
    (tmp_path / "own_mixers.py").write_text(CODE)
    (tmp_path / "myconf" / "aug").mkdir(parents=True)
    for name in ("Fade", "Bright", "Rows"):
        text = f"# A method of a test of one's own methods\n_target_: own_mixers.{name}\n"
        (tmp_path / "myconf" / "aug" / f"{name.lower()}.yaml").write_text(text)
    line = in_this_process(monkeypatch, capsys, tmp_path)
    return lambda command, *words: line(command, "--config-dir", "myconf", *LINE, *words)


@pytest.mark.parametrize("name", ["fade", "rows"])
def test_a_method_of_ones_own_trains_and_has_a_preview(own, tmp_path, name, monkeypatch):
    monkeypatch.setattr("mixup_lab.preview.shares.DRAWS", 64)
    code, _, err = own("train", f"aug={name}", "hydra.run.dir=run")
    assert (code, err) == (0, "")
    assert '"mix/alpha": 1.0, "mix/prob": 1.0' in (tmp_path / "run" / "record.jsonl").read_text()
    code, _, err = own("preview", f"aug={name}", "out=sheet.png")
    assert (code, err) == (0, "")
    with Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes())) as picture:
        assert picture.size[1] > (700 if name == "rows" else 400), "a method of pairs has partners, a law and a strip"


def test_a_wrong_one_is_refused_in_one_sentence_before_anything_is_written(own, tmp_path):
    code, out, err = own("train", "aug=bright", "hydra.run.dir=run")
    assert (code, out) == (2, "")
    assert err == "mixup-lab train: aug: Bright fails on 3 examples: lam must lie in [0, 1], got 1.2 to 1.2\n"
    assert not (tmp_path / "run").exists()
