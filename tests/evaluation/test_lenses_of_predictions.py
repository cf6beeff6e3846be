"""The lenses that need no weights, by their options, over a study on disk."""

import numpy as np
import pytest
from helpers.finished_runs import finished_run

from mixup_lab.commands.evaluate import main
from mixup_lab.runs.findings import read_finding

LENSES = ("calibration", "gap", "cost", "ensembles")
SCALARS = {f"{split}/{key}": 0.5 for split in ("train_clean", "val", "test") for key in ("accuracy", "rmse", "loss")}


def arrays_of(kind, seed):
    rng = np.random.default_rng(seed)
    arrays = {}
    for split in ("val", "test"):
        truth = np.random.default_rng(9)
        arrays |= {
            "classes": {"logits": rng.normal(size=(40, 3)), "target": truth.integers(0, 3, 40)},
            "tags": {"logits": rng.normal(size=(40, 3)), "target": truth.integers(0, 2, (40, 3)).astype(np.float32)},
            "numbers": {"prediction": rng.normal(size=(40, 3)), "target": truth.normal(size=(40, 3))},
            "masks": {
                "confusion": rng.integers(0, 9, (40, 3, 3)),
                "loss_sum": rng.random(40),
                "pixel_logits": rng.normal(size=(40, 6, 3)).astype(np.float16),
                "pixel_target": truth.choice(np.array([0, 1, 2, 255], np.uint8), (40, 6)),
            },
            "boxes": {"each_loss": rng.random(40)},
        }[kind]
        arrays = {key if key[:4] in ("val_", "test") else f"{split}_{key}": values for key, values in arrays.items()}
        arrays[f"{split}_id"] = np.arange(40)
    return arrays


@pytest.mark.parametrize(
    ("kind", "unsuited"),
    [
        ("classes", ()),
        ("tags", ()),
        ("numbers", ()),
        ("masks", ()),
        ("boxes", ("calibration", "ensembles")),
    ],
)
def test_every_kind_is_measured_or_refused_in_one_sentence(tmp_path, capsys, kind, unsuited):
    epoch = {"seconds": 1.0, "scalars": {"time/epoch_seconds": 1.0, "val/accuracy": 0.5, "val/rmse": 0.5}}
    primary = ("rmse", False) if kind == "numbers" else ("accuracy", True)
    runs = [
        finished_run(tmp_path, arm=arm, seed=seed, kind=kind, arrays=arrays_of(kind, seed), scalars=SCALARS,
                     epochs=(epoch,), primary=primary)
        for arm in ("baseline", "mixup") for seed in range(3)
    ]  # fmt: skip
    assert main([str(tmp_path), f"lens=[{','.join(LENSES)}]"]) == (1 if unsuited else 0)
    said = capsys.readouterr().err
    for lens in LENSES:
        findings = [read_finding(run.run_dir, lens) for run in runs]
        assert all((finding is None) == (lens in unsuited) for finding in findings)
        assert said.count(f"{lens}: ") == (lens in unsuited)
        for finding in findings:
            if finding is not None:
                assert all(np.isfinite(score.value) for score in finding.scores.values())
                assert all(len(line.x) == len(line.y) for line in finding.lines)
                assert all(note.endswith(".") for note in finding.notes)
