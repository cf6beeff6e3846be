"""Intrusion: how often a mixed example lies among those of a third class (Guo, Mao and Zhang, AAAI 2019)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.evaluation.looks import need_classes, need_numbers
from mixup_lab.mixing.features import features, last_linear
from mixup_lab.mixing.mixer import Request, at_step, upload
from mixup_lab.runs.findings import Line, Score
from mixup_lab.types import Batch

LAMS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHOWN = 3  # pairs of classes that notes name
FEWEST = 3  # cases that such a note needs


@dataclass
class Intrusion(Lens):
    """See `about`.

    Args:
        examples: of train that are mixed, at most, in whole batches of the training; at least 1.
    """

    title = "Intrusion"
    about = (
        "Where mixed training examples lie in the feature space of the model, the inputs of its last linear layer. An"
        " intrusion is a mixture of parents of different classes that lies nearer to the mean of a third class than to"
        " those of its parents: there its label misleads. half_way mixes random pairs with lam = 0.5, in all runs"
        " alike; own_mixing mixes as the training did at its full strength, without its transform. unmixed is the"
        " share of training examples that lie nearest to another class than their own, without any mixing. More"
        " intrusions are neither good nor bad by themselves."
    )
    needs_weights = True
    examples: int = 2000

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        need_classes(run, "intrusion")
        need_numbers(run, "intrusion")
        if len(run.class_names) < 3:
            raise Unsuited("intrusion needs at least three classes: with two there is no third one")
        try:
            last_linear(run.model)
        except ValueError as error:
            raise Unsuited("intrusion needs a model with a linear layer, and this one has none") from error
        space = _Space(run)
        half = self._half_way(run, space)
        found = Found({"half_way": _score(half[0.5], "share of intrusions at lam = 0.5, with random partners")})
        own = _Cases()
        if run.mixes and not run.parts.mixer.mixed_layers():
            for inputs, parents in self._own_mixing(run):
                own.add(space.nearest(inputs), parents)
        if own.count:
            found.scores["own_mixing"] = _score(own, "share of intrusions in mixtures as in the training")
        unmixed = Score(space.unmixed, maximize=None, percent=True, about="share of train nearest to another class")
        found.scores["unmixed"] = unmixed
        values = tuple(cases.share for cases in half.values())
        found.lines.append(Line("Intrusion", "lam", "share nearest to a third class", LAMS, values))
        found.notes += (own if own.count else half[0.5]).notes(run.class_names)
        return found

    def _positions(self, run: Finished) -> np.ndarray:
        """Positions in train, (S, B): batches as in the training."""
        count = len(run.split("train"))
        size = min(run.parts.settings.batch_size, count)
        steps = max(1, min(self.examples, count) // size)
        return run.stream("intrusion").permutation(count)[: steps * size].reshape(steps, size)

    def _half_way(self, run: Finished, space: _Space) -> dict[float, _Cases]:
        """Intrusions for each of LAMS, of pairs that depend on the seed alone."""
        data, rng = run.parts.data, run.stream("intrusion partners")
        cases = {lam: _Cases() for lam in LAMS}
        for positions in self._positions(run):
            inputs, _ = run.encoded(data.clean, positions)
            partner = rng.permutation(len(positions))
            classes = data.clean.target[positions]
            parents = np.stack([classes, classes[partner]])
            other = inputs[torch.from_numpy(partner).to(inputs.device)]
            mixed = torch.cat([torch.lerp(other, inputs, lam) for lam in LAMS])
            for one, nearest in zip(cases.values(), np.split(space.nearest(mixed), len(LAMS)), strict=True):
                one.add(nearest, parents)
        return cases

    def _own_mixing(self, run: Finished) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Mixed inputs (B, ...) of each step, and the classes of all parents, (1 + partners, B)."""
        parts, positions = run.parts, self._positions(run)
        labels = parts.data.train.target[positions] if parts.mixer.needs_labels else None
        steps, size = positions.shape
        request = Request(steps, size, labels, parts.data.input_shape)
        draws = upload(parts.mixer.draw(run.stream("intrusion mixing"), request), parts.device)
        for step, rows in enumerate(positions):
            inputs, target = run.encoded(parts.data.train, rows)
            draw = parts.mixer.find_partners(at_step(draws, step), inputs)
            mixed = parts.mixer.apply(Batch(inputs, target), draw).last(len(rows))
            classes = parts.data.clean.target[rows]
            yield mixed.inputs, np.stack([classes, *(classes[p.cpu().numpy()] for p in parts.mixer.partners(draw))])


class _Cases:
    """Mixtures of parents of different classes, and those that lie nearest to a third class."""

    def __init__(self) -> None:
        self.count = 0
        self._mixed: Counter[tuple[int, ...]] = Counter()  # by the classes of the parents
        self._intruded: Counter[tuple[tuple[int, ...], int]] = Counter()  # and by the third class

    def add(self, nearest: np.ndarray, parents: np.ndarray) -> None:
        """Count mixtures: the nearest class (B,) of each, and the classes of its parents (P, B)."""
        for third, classes in zip(nearest.tolist(), parents.T.tolist(), strict=True):
            pair = tuple(sorted(set(classes)))
            if len(pair) > 1:
                self.count += 1
                self._mixed[pair] += 1
                if third not in pair:
                    self._intruded[pair, third] += 1

    @property
    def share(self) -> float:
        """Of intrusions; NaN without mixtures."""
        return self._intruded.total() / self.count if self.count else float("nan")

    def notes(self, names: Sequence[str]) -> list[str]:
        """A sentence for each of the pairs of classes with most intrusions."""
        ordered = sorted(self._intruded.items(), key=lambda item: (-item[1], item[0]))
        return [
            f"Mixtures of {' and '.join(names[k] for k in pair)} lie nearest to {names[third]} in {count} of"
            f" {self._mixed[pair]} cases."
            for (pair, third), count in ordered[:SHOWN]
            if count >= FEWEST
        ]


class _Space:
    """The feature space of a run, with the means of the classes of train.

    `unmixed` is the share of train that lies nearer to the mean of another class. Sums are taken on the CPU, so that
    they repeat bit for bit.
    """

    def __init__(self, run: Finished) -> None:
        self._run = run
        clean, size = run.parts.data.clean, run.evaluator.batch_size
        parts = np.split(np.arange(len(clean)), range(size, len(clean), size))
        every = torch.cat([self._features(run.encoded(clean, part)[0]) for part in parts])
        target = torch.from_numpy(clean.target)
        counts = torch.bincount(target, minlength=len(run.class_names)).double()
        sums = every.new_zeros(len(counts), every.shape[1]).index_add_(0, target, every)
        self._means = sums / counts.unsqueeze(1)  # NaN for a class without examples
        self.unmixed = float((self._nearest(every) != target).double().mean())

    def _features(self, inputs: Tensor) -> Tensor:
        with self._run.evaluator.precision.autocast():
            return features(self._run.model, inputs).flatten(1).cpu().double()

    def _nearest(self, rows: Tensor) -> Tensor:
        return torch.cdist(rows, self._means).nan_to_num_(torch.inf).argmin(1)

    def nearest(self, inputs: Tensor) -> np.ndarray:
        """The class (B,) whose mean is nearest to the features of inputs (B, ...)."""
        return self._nearest(self._features(inputs)).numpy()


def _score(cases: _Cases, about: str) -> Score:
    return Score(cases.share, maximize=None, percent=True, about=about)
