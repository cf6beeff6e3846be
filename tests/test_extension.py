"""A newcomer's own mixing method, dataset and model: a `.py` and a `.yaml` each, outside of the package."""

import json

import pytest
from helpers.processes import lines_of, mixup_lab, summary_of

from mixup_lab import cli

CODE = '''
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.mixing import PairMixer
from mixup_lab.mixing.functional import blend
from mixup_lab.targets.classes import Classes


@dataclass
class SwapHalves(PairMixer):
    """The left part of the own picture, the rest of the partner's."""

    share: float = 0.5

    def mix(self, inputs, perm, lam, draw):
        height, width = inputs.shape[-2:]
        columns = torch.where(lam < 1, round(self.share * width), width)
        mask = (torch.arange(width) < columns[:, None]).float()[:, None, :].expand(-1, height, -1)
        return blend(inputs, perm, mask), mask


class Stripes:
    """Stripes across or down: something that a linear model learns."""

    def __init__(self, count=120):
        self.count = count

    def load(self):
        target = np.arange(self.count, dtype=np.int64) % 2
        images = np.zeros((self.count, 1, 8, 8), np.uint8)
        images[target == 0, :, ::2] = 200
        images[target == 1, :, :, ::2] = 200
        return Loaded(ArrayPool(images, target), None, None, Classes(("across", "down")))


class Linear(nn.Module):
    def __init__(self, *, input_shape, num_outputs, scale=1.0):
        super().__init__()
        self.scale = scale
        self.layer = nn.Linear(int(np.prod(input_shape)), num_outputs)

    def forward(self, inputs):
        return self.scale * self.layer(inputs.flatten(1))
'''
OPTIONS = {
    "aug": "# Halves are swapped, said by a test\ndefaults:\n  - /aug_defaults@_here_\n  - _self_\n"
    "_target_: my_methods.SwapHalves\nshare: 0.5  # of the own picture\n",
    "dataset": "# Stripes across and down, said by a test\n_target_: my_methods.Stripes\ncount: 120  # examples\n",
    "model": "# One layer and a factor, said by a test\n_target_: my_methods.Linear\nscale: 1.0  # of the outputs\n",
}
LINE = ("train", "--config-dir", "myconf", "aug=mine", "dataset=mine", "model=mine", "model.scale=2.0",
        "trainer.epochs=1", "trainer.batch_size=16", "trainer.threads=1", "trainer.device=cpu")  # fmt: skip


@pytest.fixture
def newcomer(tmp_path):
    """A folder with code and options of its own."""
    (tmp_path / "my_methods.py").write_text(CODE)
    for group, text in OPTIONS.items():
        (tmp_path / "myconf" / group).mkdir(parents=True)
        (tmp_path / "myconf" / group / "mine.yaml").write_text(text)
    return tmp_path


def test_own_components_train(newcomer):
    done = mixup_lab(*LINE, "hydra.run.dir=run", "trust=[my_methods]", cwd=newcomer)
    assert (done.returncode, done.stderr) == (0, "")
    summary = summary_of(newcomer / "run")
    assert summary["status"] == "ok"
    assert summary["name"] == "mine-a1"
    assert summary["scalars"]["mix/lam_mean"] == 0.5
    assert summary["scalars"]["test/accuracy"] == 1.0
    start, *_ = lines_of(newcomer / "run")
    assert start["choices"]["aug"] == start["choices"]["dataset"] == start["choices"]["model"] == "mine"
    assert start["data"]["test"] == 24
    assert start["parameters"] == 64 * 2 + 2


def test_own_components_are_not_run_without_trust(newcomer):
    (newcomer / "my_methods.py").write_text(CODE + "\nopen('ran', 'w').close()\n")
    done = mixup_lab(*LINE, cwd=newcomer)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "_target_=my_methods.SwapHalves is not trusted" in done.stderr
    assert "add trust=[my_methods]" in done.stderr
    assert not (newcomer / "ran").exists()
    assert not (newcomer / "outputs").exists()


def test_help_lists_own_options_with_their_comment(newcomer, capsys, monkeypatch):
    monkeypatch.chdir(newcomer)
    assert cli.main(["train", "--help", "--config-dir", "myconf"]) == 0
    flat = " ".join(capsys.readouterr().out.split())
    for text in OPTIONS.values():
        assert f"mine {text.splitlines()[0].removeprefix('# ')}" in flat


def test_a_mistake_in_own_options_names_the_key(newcomer):
    done = mixup_lab(*LINE, "trust=[my_methods]", "+aug.sahre=0.4", cwd=newcomer)
    assert (done.returncode, done.stderr) == (
        2, "mixup-lab train: unknown key 'aug.sahre'; did you mean 'aug.share'?\n"
    )  # fmt: skip
    assert json.dumps(sorted(path.name for path in newcomer.iterdir() if path.name != "__pycache__")) == (
        '["my_methods.py", "myconf"]'
    )
