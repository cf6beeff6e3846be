"""Unfamiliar data: whether a model is less certain of examples that are of another kind than those of its training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.data.source import Loaded
from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.evaluation.looks import chosen, need_classes
from mixup_lab.runs.findings import Score
from mixup_lab.types import UserError

FOUND = 0.95  # share of the familiar examples that are accepted, for the false positives
# Name -> from logits (n, C) to a number that is larger for familiar examples, and what it is.
SIGNS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "max_softmax": (lambda z: z.log_softmax(1).amax(1), "the largest probability"),
    "energy": (lambda z: z.logsumexp(1), "the energy, the negative log of the summed exponentials of the logits"),
    "entropy": (lambda z: (z.log_softmax(1) * z.softmax(1)).sum(1), "the entropy of the probabilities"),
}


@dataclass
class Unfamiliar(Lens):
    """See `about`.

    Args:
        dataset: an option of the group dataset, or a list of an option and `key=value` for keys of it; None: not set.
        examples: of test and of the other data set, at most; at least 1.
        load_data: from the words of `dataset` to the data.
    """

    title = "Unfamiliar data"
    about = (
        "Whether the model is less certain of examples of another data set than of its own test examples, by three"
        " signs: the largest probability (Hendrycks and Gimpel, 2017), the energy (Liu et al., 2020) and the entropy."
        " AUROC is the probability that a test example is more certain than an unfamiliar one; 50 % is chance. FPR95 is"
        " the share of unfamiliar examples that are accepted where 95 % of the test examples are. Pictures are brought"
        " to the size of the run's own, which may give them away by itself: other data of the same size are a fairer"
        " test."
    )
    needs_weights = True
    dataset: str | list[str] | None = None
    examples: int = 1000
    load_data: InitVar[Callable[[Sequence[str]], Loaded] | None] = None

    def __post_init__(self, load_data: Callable[[Sequence[str]], Loaded] | None) -> None:
        if self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")
        if self.dataset == []:
            raise ValueError("dataset must name an option of the group dataset, got []")
        self._load = load_data
        self._loaded: Loaded | None = None  # kept for the next run

    def prepare(self) -> None:
        """Load the other data set."""
        if self.dataset is None or self._load is None:
            raise UserError("lens=unfamiliar needs another data set, such as lens.unfamiliar.dataset=svhn")
        try:
            self._loaded = self._loaded or self._load(self._words)
        except UserError as error:
            raise UserError(f"lens.unfamiliar.dataset: {error}") from error

    @property
    def _words(self) -> list[str]:
        return [self.dataset] if isinstance(self.dataset, str) else list(self.dataset or ())

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        self.prepare()
        need_classes(run, "unfamiliar")
        encode = run.parts.data.encode
        if not encode.planar:
            raise Unsuited(f"unfamiliar is for pictures and sounds, and the examples are {encode.noun}")
        found = Found({})
        unknown = run.parts.encoded(self._other(run, found))
        inputs, _ = run.encoded(run.split("test"), chosen(run, "unfamiliar", self.examples))
        own, other = (run.outputs(x).cpu().double() for x in (inputs, unknown))
        for measure, maximize, function in (("auroc", True, auroc), ("fpr95", False, false_positives)):
            for name, (sign, what) in SIGNS.items():
                value = function(sign(own).numpy(), sign(other).numpy())
                about = f"{measure.upper()} of test against the other data set, by {what}"
                found.scores[f"{measure}_{name}"] = Score(value, maximize=maximize, percent=True, about=about)
        return found

    def _other(self, run: Finished, found: Found) -> Tensor:
        """Examples of the other data set as the run's own are stored, (n, ...), on the device."""
        assert self._loaded is not None
        words, loaded, encode = self._words, self._loaded, run.parts.data.encode
        pool = loaded.train if loaded.test is None else loaded.test
        if loaded.fit is not None or (loaded.encoder is None) != encode.pictures:
            raise Unsuited(f"the examples of {words[0]} are not {encode.noun}, as those of this run are")
        size = len(pool.target)
        rows = np.sort(run.stream("unfamiliar other").choice(size, min(size, self.examples), replace=False))
        stored = pool.rows(rows).to(run.parts.device)
        shape = run.parts.data.input_shape
        if tuple(stored.shape[1:]) == tuple(shape):
            return stored
        sizes = " to ".join(" x ".join(map(str, one)) for one in (stored.shape[1:], shape))
        if not encode.pictures or not {stored.shape[1], shape[0]} <= {1, 3}:
            raise Unsuited(f"examples of {words[0]} cannot be brought from {sizes}")
        found.notes.append(f"The pictures of {words[0]} were brought from {sizes}.")
        return fitted(stored, shape)


def fitted(pictures: Tensor, shape: Sequence[int]) -> Tensor:
    """Pictures uint8 (n, 1 or 3, H, W) in another shape (1 or 3, H, W): scaled, repeated in colour, or made grey."""
    channels, *size = shape
    x = F.interpolate(pictures.float(), size, mode="bilinear", antialias=True)
    if channels == 1:
        luma = x.new_tensor([0.299, 0.587, 0.114] if x.shape[1] == 3 else [1.0])  # ITU-R BT.601
        x = (x * luma.view(-1, 1, 1)).sum(1, keepdim=True)
    return x.expand(-1, channels, -1, -1).round().clamp(0, 255).byte()


def auroc(own: np.ndarray, other: np.ndarray) -> float:
    """The probability that a value of `own` (n,) is larger than one of `other` (m,); equal ones count half."""
    ordered = np.sort(other)
    below = np.searchsorted(ordered, own) + np.searchsorted(ordered, own, side="right")
    return float(below.mean() / (2 * len(other)))


def false_positives(own: np.ndarray, other: np.ndarray) -> float:
    """The share of `other` (m,) at or above the largest threshold that at least 95 % of `own` (n,) reach."""
    threshold = np.sort(own)[::-1][int(np.ceil(FOUND * len(own))) - 1]
    return float((other >= threshold).mean())
