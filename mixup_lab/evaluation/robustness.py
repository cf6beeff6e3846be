"""Robustness: accuracy on test examples that were changed a little, on purpose, to make the model wrong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from mixup_lab.evaluation.attacks import Attacked, Ball, attack
from mixup_lab.evaluation.finished import Finished, baseline
from mixup_lab.evaluation.lens import Found, Lens
from mixup_lab.evaluation.looks import Units, among_all, chosen, need_classes, need_numbers
from mixup_lab.runs.findings import Score

ATTACKS = {"fgsm": 1, "pgd20": 20, "pgd50": 50}  # name -> steps
TITLES = {"fgsm": "FGSM", "pgd20": "PGD-20", "pgd50": "PGD-50"}
NORMS = {"linf": "L-inf", "l2": "L2"}
TRANSFERRED = "pgd20", "linf"
CERTAIN = 2.0  # standard errors by which two numbers of hits must differ for a note


@dataclass
class Robustness(Lens):
    """See `about`. eps of a picture is a part of 255, eps of other inputs is in standard deviations.

    Args:
        examples: of test that are attacked, at most; at least 1.
        linf_pixels: largest change of one value of a picture, in 0..255.
        l2_pixels: largest root of the sum of the squared changes of a picture, each in 0..255.
        linf_deviations: as `linf_pixels`, for rows of tables and sounds.
        l2_deviations: as `l2_pixels`, for rows of tables and sounds.
        restarts: of PGD-50 from a random change, at least 0.
    """

    title = "Robustness"
    about = (
        "Accuracy on test examples that were changed a little, on purpose, to make the model wrong. FGSM is one step"
        " along the gradient of the loss; PGD-20 and PGD-50 are 20 and 50 steps, PGD-50 also from random starts. An"
        " example counts as right if the model is right at every point that was tried, the example itself included."
        " The attacks know the model; transferred ones were made by PGD-20 on the baseline of the same seed."
        " L-inf limits the largest change of one value and L2 the length of the change; for pictures they are measured"
        " in pixels, for rows of tables and sounds in standard deviations of all values that the model takes, those of"
        " categories included. FGSM alone proves nothing: judge by PGD-50."
    )
    needs_weights = True
    examples: int = 500
    linf_pixels: float = 8.0
    l2_pixels: float = 128.0
    linf_deviations: float = 0.1
    l2_deviations: float = 0.5
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")
        for name in ("linf_pixels", "l2_pixels", "linf_deviations", "l2_deviations", "restarts"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be a finite number >= 0, got {getattr(self, name)}")

    def companions(self, run: Finished, others: Sequence[Finished]) -> Sequence[Finished]:
        base = baseline(run, others)
        return () if base is None else (base,)

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        need_classes(run, "robustness")
        need_numbers(run, "robustness")
        own = self._victim(run)
        clean = own.right()
        right: dict[tuple[str, str], Tensor] = {}
        changes = torch.empty(0)
        for norm, name in product(NORMS, ATTACKS):
            outcome = own.attacked(self._ball(run, norm), name)
            right[name, norm] = outcome.right
            if (name, norm) == TRANSFERRED:
                changes = outcome.delta
        scores = {
            "pgd50_linf": _score(right["pgd50", "linf"], "accuracy under PGD-50, L-inf"),
            "clean": _score(clean, "accuracy on the same examples without a change"),
        }
        for (name, norm), values in right.items():
            scores.setdefault(f"{name}_{norm}", _score(values, f"accuracy under {TITLES[name]}, {NORMS[norm]}"))
        found = Found(scores, examples={f"{name}_{norm}": among_all(run, own.positions, _numbers(values))
                                        for (name, norm), values in right.items()})  # fmt: skip
        found.examples["clean"] = among_all(run, own.positions, _numbers(clean))
        pixels = run.parts.data.encode.pictures
        found.notes.append(
            "The largest change is "
            + " and ".join(f"{self._eps(run, n) * (255 if pixels else 1):g} for {NORMS[n]}" for n in NORMS)
            + (", of 255." if pixels else ", in standard deviations.")
        )
        base = baseline(run, others)
        if base is not None:
            self._compare(found, own, self._victim(base), right, changes)
            base.forget()
        return found

    def _compare(
        self, found: Found, own: _Victim, base: _Victim, right: dict[tuple[str, str], Tensor], changes: Tensor
    ) -> None:
        """Add what needs the baseline: transferred attacks, and signs that gradients are masked."""
        name, norm = TRANSFERRED
        ball = self._ball(base.run, norm)
        strong, weak = base.attacked(ball, name), base.attacked(ball, "fgsm")
        transferred, back = own.right(strong.delta), base.right(changes)
        made = f"examples that {TITLES[name]}, {NORMS[norm]}, made on"
        found.scores["transferred_linf"] = _score(transferred, f"accuracy on {made} the baseline of the same seed")
        found.examples["transferred_linf"] = among_all(own.run, own.positions, _numbers(transferred))
        about = f"accuracy of the baseline of the same seed on {made} this run"
        found.scores["baseline_on_transferred"] = replace(_score(back, about), maximize=None)
        holds = right[name, norm]
        if _clearly_more(right["fgsm", norm], weak.right) and not _clearly_more(holds, strong.right):
            found.notes.append(
                "FGSM hits this run less often than its baseline, and PGD does not: a sign of masked gradients, not of"
                " robustness."
            )
        if _clearly_more(holds, transferred):
            found.notes.append(
                "Attacks made on the baseline hit this run more often than attacks on itself do: a sign of masked"
                " gradients."
            )

    def _ball(self, run: Finished, norm: str) -> Ball:
        return Ball(norm, self._eps(run, norm))

    def _eps(self, run: Finished, norm: str) -> float:
        """In the units of the inputs as they are stored, where a picture has the range 1."""
        if run.parts.data.encode.pictures:
            return {"linf": self.linf_pixels, "l2": self.l2_pixels}[norm] / 255
        return {"linf": self.linf_deviations, "l2": self.l2_deviations}[norm]

    def _victim(self, run: Finished) -> _Victim:
        return _Victim(run, chosen(run, "robustness", self.examples), self.restarts)


class _Victim:
    """A run under attack: its model, and the examples in batches."""

    def __init__(self, run: Finished, positions: np.ndarray, restarts: int) -> None:
        self.run, self.positions, self._restarts = run, positions, restarts
        self.model = run.model
        self._units = Units.of(run.parts.data.encode, run.parts.device)
        self._size = run.evaluator.batch_size  # the evaluator allows TF32 or not, as the run did

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in np.split(self.positions, range(self._size, len(self.positions), self._size)):
            yield self.run.encoded(self.run.split("test"), part)

    @torch.inference_mode()
    def right(self, delta: Tensor | None = None) -> Tensor:
        """Whether the model is right on the examples after changes (n, ...), found on any model: (n,) bool."""
        out, done = [], 0
        for inputs, target in self._batches():
            if delta is not None:
                part = delta[done : done + len(inputs)]
                inputs = self._units.moved(inputs, self._units.clipped(inputs, part))
            out.append(self.model(inputs).argmax(1) == target)
            done += len(inputs)
        return torch.cat(out)

    def attacked(self, ball: Ball, name: str) -> Attacked:
        """The outcome for all examples, (n,) and (n, ...)."""
        restarts = self._restarts if name == "pgd50" else 0
        # A stream for each restart, so that the size of the batches changes nothing.
        streams = [self.run.stream(f"robustness {ball.norm} restart {number}") for number in range(restarts)]
        parts = []
        for inputs, target in self._batches():
            starts = [torch.zeros_like(inputs), *(ball.draw(rng, inputs) for rng in streams)]
            parts.append(attack(self.model, self._units, inputs, target, ball, ATTACKS[name], starts))
        return Attacked(torch.cat([part.right for part in parts]), torch.cat([part.delta for part in parts]))


def _score(right: Tensor, about: str) -> Score:
    return Score(float(right.cpu().double().mean()), maximize=True, percent=True, about=about)


def _numbers(right: Tensor) -> np.ndarray:
    return right.cpu().numpy().astype(np.float64)


def _clearly_more(right: Tensor, other: Tensor) -> bool:
    """Whether a model is right on more of the same examples, beyond chance (McNemar)."""
    gained, lost = int((right & ~other).sum()), int((other & ~right).sum())
    return gained - lost > CERTAIN * math.sqrt(gained + lost)
