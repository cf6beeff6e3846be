"""Unfamiliar data against scikit-learn and scipy."""

import json

import numpy as np
import pytest
import torch
from helpers.command_line import in_this_process
from helpers.trained_runs import run_with_weights, values
from PIL import Image
from scipy import special, stats
from sklearn.metrics import roc_auc_score, roc_curve

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.evaluation.unfamiliar import Unfamiliar, auroc, false_positives, fitted
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError

DIGITS = ("dataset=digits", "model=mlp", "model.hidden=[16]", "trainer.device=cpu")
KIND = Classes(("a", "b"))


def other(shape=(1, 8, 8), count=300, dtype=np.uint8):
    drawn = np.random.default_rng(0).integers(0, 256, (count, *shape)).astype(dtype)
    return Loaded(ArrayPool(drawn, np.zeros(count, dtype=np.int64)), None, None, KIND)


@pytest.mark.parametrize("step", [1e-9, 0.2])  # the second one has ties
def test_both_measures_against_scikit_learn(step):
    rng = np.random.default_rng(0)
    own, unknown = ((rng.normal(mean, 1, n) / step).round() * step for mean, n in ((1, 237), (0, 111)))
    target, value = np.r_[np.ones(237), np.zeros(111)], np.r_[own, unknown]
    assert auroc(own, unknown) == pytest.approx(roc_auc_score(target, value))
    assert auroc(own, unknown) == pytest.approx(stats.mannwhitneyu(own, unknown).statistic / (237 * 111))
    wrong, right, _ = roc_curve(target, value, drop_intermediate=False)
    assert false_positives(own, unknown) == pytest.approx(wrong[right >= 0.95][0])


def test_the_three_signs(tmp_path):
    run = run_with_weights(tmp_path, *DIGITS, change=lambda parts: parts.model.head.weight.mul_(4))
    data = other()
    lens = Unfamiliar("noise", examples=5000, load_data=lambda words: data)
    found = lens.measure(run, [])
    own, _ = run.encoded(run.split("test"), np.arange(len(run.split("test"))))
    unknown = run.parts.encoded(torch.from_numpy(data.train.inputs))
    z, y = (run.model(x).detach().double().numpy() for x in (own, unknown))
    signs = {
        "max_softmax": lambda logits: special.softmax(logits, 1).max(1),
        "energy": lambda logits: special.logsumexp(logits, 1),
        "entropy": lambda logits: -stats.entropy(special.softmax(logits, 1), axis=1),
    }
    target = np.r_[np.ones(len(z)), np.zeros(len(y))]
    expected = {f"auroc_{name}": roc_auc_score(target, np.r_[sign(z), sign(y)]) for name, sign in signs.items()}
    assert list(found.scores)[:3] == list(expected)
    assert {name: v for name, v in values(found.scores).items() if "auroc" in name} == pytest.approx(expected)
    for name, sign in signs.items():
        wrong, right, _ = roc_curve(target, np.r_[sign(z), sign(y)], drop_intermediate=False)
        assert found.scores[f"fpr95_{name}"].value == pytest.approx(wrong[right >= 0.95][0])
    assert [score.maximize for score in found.scores.values()] == [True] * 3 + [False] * 3
    assert found.notes == []


def test_pictures_are_fitted_to_those_of_the_run(tmp_path):
    x = torch.randint(0, 256, (2, 3, 32, 24), dtype=torch.uint8)
    grey = fitted(x, (1, 8, 8))
    for one, got in zip(x, grey, strict=True):
        small = Image.fromarray(one.movedim(0, -1).numpy()).resize((8, 8), Image.Resampling.BILINEAR).convert("L")
        assert np.abs(np.asarray(small).astype(int) - got[0].numpy()).max() <= 2
    assert torch.equal(fitted(grey, (3, 8, 8)), grey.repeat(1, 3, 1, 1))
    run = run_with_weights(tmp_path, *DIGITS)
    found = Unfamiliar("svhn", load_data=lambda words: other((3, 32, 32))).measure(run, [])
    assert found.notes == ["The pictures of svhn were brought from 3 x 32 x 32 to 1 x 8 x 8."]


def test_what_it_does_not_suit(tmp_path):
    run = run_with_weights(tmp_path, *DIGITS)
    with pytest.raises(UserError, match=r"needs another data set, such as lens\.unfamiliar\.dataset=svhn"):
        Unfamiliar(load_data=lambda words: other()).prepare()
    with pytest.raises(Unsuited, match="examples of odd cannot be brought from 4 x 8 x 8 to 1 x 8 x 8"):
        Unfamiliar("odd", load_data=lambda words: other((4, 8, 8))).measure(run, [])
    table = Loaded(other().train, None, None, KIND, fit=lambda rows: other())
    with pytest.raises(Unsuited, match="the examples of iris are not pictures, as those of this run are"):
        Unfamiliar("iris", load_data=lambda words: table).measure(run, [])
    rows = run_with_weights(tmp_path, "dataset=iris", "model=mlp", "trainer.device=cpu", arm="baseline-rows")
    with pytest.raises(Unsuited, match="is for pictures and sounds, and the examples are rows of a table"):
        Unfamiliar("svhn", load_data=lambda words: other()).measure(rows, [])


def test_a_line_with_another_data_set(tmp_path, monkeypatch, capsys):
    line = in_this_process(monkeypatch, capsys, tmp_path)
    train = ("train", *DIGITS, "trainer.epochs=1", "trainer.progress=none", "hydra.run.dir=run")
    assert line(*train)[0] == 0
    look = ("evaluate", "run", "lens=[unfamiliar]", "trainer.device=cpu")
    code, _, err = line(*look)
    assert code == 2
    assert "lens=unfamiliar needs another data set, such as lens.unfamiliar.dataset=svhn" in err
    code, _, err = line(*look, "lens.unfamiliar.dataset=[fake,noise=2.0]", "lens.unfamiliar.examples=50")
    assert code == 0, err
    written = json.loads((tmp_path / "run" / "lens" / "unfamiliar.json").read_text())
    assert written["settings"] == {"dataset": ["fake", "noise=2.0"], "examples": 50}
    assert written["notes"] == ["The pictures of fake were brought from 3 x 16 x 16 to 1 x 8 x 8."]
    assert 0 <= written["scores"]["auroc_energy"]["value"] <= 1
    for words, sentence in (
        ("sVhn", "dataset=sVhn does not exist; did you mean 'svhn'?"),
        ("[fake,nose=2]", "nose"),
        ("image_folder", "dataset=image_folder needs a root: [image_folder,root=...]"),
        ("[image_folder,root=nowhere]", "nowhere"),
    ):
        for before in (look, ("compare", *DIGITS, "lenses=[unfamiliar]")):
            code, out, err = line(*before, f"lens.unfamiliar.dataset={words}")
            assert (code, out) == (2, "")
            assert "lens.unfamiliar.dataset: " in err
            assert sentence in err
            assert len(err.strip().splitlines()) == 1, "before the first look, and once"
    assert not (tmp_path / "outputs").exists(), "nor a training"
