"""The predictions that a run kept, `predictions.npz`: read again, and compared with what they must be."""

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from mixup_lab.npz import read_npz
from mixup_lab.runs.shapes import Damaged
from mixup_lab.types import VOID

NAME = "predictions.npz"
WHOLE = ("id", "group")  # arrays of whole numbers
DIMENSIONS = {
    "id": 1, "group": 1, "logits": 2, "prediction": 2, "confusion": 3, "loss_sum": 1, "each_loss": 1, "pixel_logits": 3,
}  # fmt: skip
OF_CLASSES = {"classes": "", "masks": "pixel_"}  # what the names of targets and logits of the classes begin with
LIKE_TARGET = {"tags": "logits", "numbers": "prediction"}  # arrays with the shape of the targets


def read_predictions(
    run_dir: Path, kind: str, splits: Collection[str] = ("val", "test"), keys: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """The arrays by name, such as `test_logits`: one row for each example of a split.

    Args:
        run_dir: of the run.
        kind: of its targets.
        splits, keys: those that are read; None: all keys.

    Raises:
        FileNotFoundError: if the run kept none.
        UserError: if the file is damaged, or its arrays do not fit each other.
    """
    path = run_dir / NAME

    def wanted(name: str) -> bool:
        split, _, key = name.partition("_")
        return split in splits and (keys is None or key in keys)

    arrays = read_npz(path, wanted)
    for split in splits:
        own = {key.removeprefix(f"{split}_"): a for key, a in arrays.items() if key.startswith(f"{split}_")}
        problem = _misfit(kind, own) if own else None
        if problem is not None:
            raise Damaged(f"{path} is damaged: {split}_{problem}")
    return arrays


def _misfit(kind: str, arrays: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the arrays of a split; None if nothing is."""
    if "id" not in arrays:
        return "id is missing"
    count = arrays["id"].shape[:1]
    for key, array in arrays.items():
        kinds, dimensions = "iu" if key in WHOLE else "biuf", DIMENSIONS.get(key, array.ndim)
        if array.dtype.kind not in kinds or array.ndim != dimensions or array.shape[:1] != count:
            return f"{key} cannot be {array.dtype} {array.shape}"
    prefix = OF_CLASSES.get(kind, "")
    classes, logits = arrays.get(f"{prefix}target"), arrays.get(f"{prefix}logits")
    if kind in OF_CLASSES and classes is not None and logits is not None and not _are_classes(classes, logits.shape):
        return f"{prefix}target must be classes of the logits"
    target, other = arrays.get("target"), arrays.get(LIKE_TARGET.get(kind, ""))
    if target is not None and other is not None and other.shape != target.shape:
        return f"target cannot be {target.shape}"
    return None


def _are_classes(target: np.ndarray, logits: tuple[int, ...]) -> bool:
    """Whether targets (n, ...) fit logits (n, ..., C): 0..C-1, or VOID for pixels."""
    if target.shape != logits[:-1] or target.dtype.kind not in "iu":
        return False
    real = target if target.ndim == 1 else target[target != VOID]
    return not real.size or bool(real.min() >= 0 and real.max() < logits[-1])
