"""Calibration: whether the probabilities that a model gives are the shares in which it is right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.runs.findings import Score


@dataclass
class Calibration(Lens):
    """See `about`.

    Args:
        bins: of equal width for the expected calibration error.
    """

    title = "Calibration"
    about = "Whether the probabilities that a model gives are the shares in which it is right."
    bins: int = 15

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        if run.kind != "classes":
            raise Unsuited(f"calibration is for classes, tags and masks, and these targets are {run.kind}")
        if run.predictions is None or "test_logits" not in run.predictions:
            raise Unsuited("calibration needs predictions.npz; train with trainer.save_predictions=true")
        log_p = log_softmax(run.predictions["test_logits"].astype(np.float64), axis=1)
        target = run.predictions["test_target"]
        nll = -log_p[np.arange(len(target)), target]
        return Found({"nll": Score(float(nll.mean()), maximize=False)}, examples={"nll": nll})
