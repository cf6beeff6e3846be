"""A newcomer's own mixing method, dataset and model: a `.py` and a `.yaml` each, outside of the package."""

import json

import pytest
from processes import lines_of, mixup_lab, summary_of

from mixup_lab import cli

CODE = '''
import numpy as np
import torch
from torch import nn

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.types import Batch, Mixed


class SwapHalves:
    """Half of the own picture, half of the next one's."""

    alpha = 1.0

    def __init__(self, share=0.5):
        self.share = share

    def draw(self, rng, steps, batch_size):
        return {"shift": rng.integers(1, batch_size, (steps, 1))}

    def apply(self, batch, draw):
        partner = (torch.arange(len(batch.target)) + draw["shift"]) % len(batch.target)
        cut = round(self.share * batch.inputs.shape[-1])
        inputs = torch.cat([batch.inputs[..., :cut], batch.inputs[partner][..., cut:]], -1)
        lam = torch.full((len(batch.target),), cut / batch.inputs.shape[-1])
        return Mixed(inputs, batch.target, batch.target[partner], lam)


class Stripes:
    """Stripes across or down: something that a linear model learns."""

    def __init__(self, count=120):
        self.count = count

    def load(self):
        target = np.arange(self.count, dtype=np.int64) % 2
        images = np.zeros((self.count, 1, 8, 8), np.uint8)
        images[target == 0, :, ::2] = 200
        images[target == 1, :, :, ::2] = 200
        return Loaded(ArrayPool(images, target), None, None, ("across", "down"))


class Linear(nn.Module):
    def __init__(self, *, input_shape, num_outputs, scale=1.0):
        super().__init__()
        self.scale = scale
        self.layer = nn.Linear(int(np.prod(input_shape)), num_outputs)

    def forward(self, inputs):
        return self.scale * self.layer(inputs.flatten(1))
'''
OPTIONS = {
    "aug": "# Halves are swapped, said by a test\n_target_: my_methods.SwapHalves\nshare: 0.5  # of the own picture\n",
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
    assert summary["name"] == "mine"
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
