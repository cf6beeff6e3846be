"""Average precision of boxes as COCO defines it, computed by COCO's own code (pycocotools).

N: pictures, K: boxes found, M: true boxes, both padded with class -1.
"""

import contextlib
import importlib.util
import io

import numpy as np

from mixup_lab.types import UserError


def require_pycocotools() -> None:
    """Raise UserError with the remedy if pycocotools is missing: at the start of a run, not at its end."""
    if importlib.util.find_spec("pycocotools") is None:
        raise UserError("detection measures average precision with pycocotools: pip install 'mixup-lab[detection]'")


def coco_average_precision(found: np.ndarray, target: np.ndarray, num_classes: int, most: int) -> dict[str, float]:
    """`map` over IoU 0.50:0.05:0.95 and `map50`, in [0, 1]: the mean over the classes that have boxes.

    Args:
        found: (N, K, 6) of class, score, left, top, right, bottom.
        target: (N, M, 5) of class, left, top, right, bottom.
        num_classes: classes are 0..num_classes - 1.
        most: how many of the boxes found in a picture count, the highest scores first.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    picture, row = np.nonzero(target[..., 0] >= 0)
    true = target[picture, row]
    sides = true[:, 3:5] - true[:, 1:3]
    where, rank = np.nonzero(found[..., 0] >= 0)
    answers = found[where, rank]
    if not len(true) or not len(answers):
        return {"map": 0.0, "map50": 0.0}
    corners = [answers[:, 2:4], answers[:, 4:6] - answers[:, 2:4]]
    results = np.column_stack([where, *corners, answers[:, 1], answers[:, 0]])  # in COCO's form: x, y, width, height
    with contextlib.redirect_stdout(io.StringIO()):  # COCO's code prints its progress
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number} for number in range(len(target))],
            "categories": [{"id": number} for number in range(num_classes)],
            "annotations": [
                {"id": n, "image_id": i, "category_id": int(k), "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                for n, (i, k, box) in enumerate(
                    zip(picture.tolist(), true[:, 0], np.hstack([true[:, 1:3], sides]).tolist(), strict=True), 1
                )
            ],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]  # all sizes together
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][..., 0, 0]  # (IoU, recall, class), -1 for classes without boxes
    seen = precision[0, 0] > -1
    return {"map": float(precision[..., seen].mean()), "map50": float(precision[0][:, seen].mean())}
