"""The lenses that need weights: the same findings on a GPU (pretended) as on the CPU, and for sounds."""

import numpy as np
import pytest
import soundfile
from helpers.pretended_cuda import PretendedCuda
from helpers.trained_runs import run_with_weights, values
from helpers.trainings import config_of

from mixup_lab.config.assemble import ingredients
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.evaluation.between import Between
from mixup_lab.evaluation.boundary import Boundary
from mixup_lab.evaluation.corruptions import Corruptions
from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.intrusion import Intrusion
from mixup_lab.evaluation.robustness import Robustness
from mixup_lab.evaluation.unfamiliar import Unfamiliar
from mixup_lab.targets.classes import Classes

NOISE = Loaded(
    ArrayPool(np.random.default_rng(0).integers(0, 256, (30, 1, 9, 9), dtype=np.uint8), np.zeros(30, dtype=np.int64)),
    None, None, Classes(("a", "b")),
)  # fmt: skip
LENSES = [
    Robustness(examples=20), Between(pairs=20), Corruptions(examples=20), Intrusion(examples=64),
    Unfamiliar("noise", load_data=lambda words: NOISE),
]  # fmt: skip


def harder(parts):
    """Another model than the other run has."""
    for weights in parts.model.parameters():
        weights.mul_(1.5)


def on_gpu(run, config):
    """The same run, made again on the pretended GPU."""
    return Finished(run.run_dir, run.start, run.scalars, lambda: ingredients(config), run.load)


@pytest.mark.parametrize("lens", LENSES, ids=lambda lens: lens.title)
def test_pictures_on_a_gpu(tmp_path, lens):
    words = ("dataset=fake", "dataset.shape=[3,8,8]", "model=small_cnn", "aug=cutmix")
    base = run_with_weights(tmp_path, *words, "trainer.device=cpu", change=harder)
    run = run_with_weights(tmp_path, *words, "trainer.device=cpu", arm="mixup")
    expected = lens.measure(run, [base])
    config = config_of(*words, "trainer.device=cuda")
    with PretendedCuda():
        found = lens.measure(on_gpu(run, config), [on_gpu(base, config)])
    assert values(found.scores) == values(expected.scores)
    assert found.lines == expected.lines
    assert found.notes == expected.notes
    assert all(note.endswith(".") for note in found.notes)
    for name, terms in expected.examples.items():
        assert np.array_equal(found.examples[name], terms, equal_nan=True)


@pytest.mark.parametrize(("lens", "data"), [(LENSES[1], "wine"), (LENSES[2], "wine"), (Boundary(side=8), "moons")])
def test_rows_on_a_gpu(tmp_path, lens, data):
    words = (f"dataset={data}", "model=mlp", "model.hidden=[8]", "aug=mixup")
    run = run_with_weights(tmp_path, *words, "trainer.device=cpu", arm="mixup")
    expected = values(lens.measure(run, []).scores)
    with PretendedCuda():
        assert values(lens.measure(on_gpu(run, config_of(*words, "trainer.device=cuda")), []).scores) == expected


@pytest.mark.parametrize("lens", LENSES[:4], ids=lambda lens: lens.title)
def test_sounds(tmp_path, lens):
    rng = np.random.default_rng(0)
    for i in range(60):
        path = tmp_path / "data" / "train" / ("low", "middle", "high")[i % 3] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.sin(2 * np.pi * (300, 600, 900)[i % 3] * np.arange(1600) / 8000)
        soundfile.write(path, 0.3 * wave + 0.05 * rng.normal(size=1600), 8000)
    run = run_with_weights(
        tmp_path, "dataset=audio_folder", f"dataset.root={tmp_path / 'data'}", "dataset.cache=false",
        "dataset.workers=0", "model=audio_cnn", "model.width=4", "trainer.device=cpu",
    )  # fmt: skip
    found = lens.measure(run, [])
    assert all(np.isfinite(score.value) for score in found.scores.values())
    if isinstance(lens, Corruptions):
        assert list(found.scores) == ["corrupted", "clean", "noise", "blur", "shift"]
