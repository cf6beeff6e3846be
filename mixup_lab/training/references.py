"""Scores that a model which has learnt should beat: the best constant output, and a linear model fitted in a moment.

n: examples, F: values of one that the linear model sees, T: outputs, B: examples of a batch.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from mixup_lab.data.prepare import Split
from mixup_lab.inputs.encoder import Encoder
from mixup_lab.inputs.vocabulary import PADDING
from mixup_lab.seeding import stream
from mixup_lab.targets.target import Task
from mixup_lab.training.ingredients import Ingredients

WIDEST = 4096  # values of an example
TOKENS = 1024  # the most frequent ones, of texts: more of them would leave room for fewer examples
MOST = 20_000  # training examples
PRODUCTS = 1e10  # of X'X or XX', the smaller one: about a second on two cores
STRENGTHS = (0.1, 0.01, 1.0, 0.001, 10.0, 100.0)  # of the penalty, see `Ridge.weights`; of equally good ones the first
ELEMENTS = 2**22  # numbers at a time

Features = Callable[[Tensor], Tensor]  # stored (B, ...) to float64 (B, F) on the CPU


def reference_scalars(parts: Ingredients) -> dict[str, float]:
    """`trivial/METRIC` and, of a run that does not mix, `linear/METRIC`, on test; none where there is no such score.

    No stream and no part of the run changes. A mistake in a kind of target of the user's own leaves a score out: a
    training of hours must not fail at its very end.
    """
    scalars: dict[str, float] = {}
    scores = (("trivial", trivial_metrics), ("linear", linear_metrics))
    for name, score in scores if not parts.mixer.prob else scores[:1]:
        with suppress(Exception), torch.inference_mode():
            scalars |= {f"{name}/{key}": value for key, value in score(parts).items() if math.isfinite(value)}
    return scalars


def trivial_metrics(parts: Ingredients) -> dict[str, float]:
    """The metrics on test of `Task.constant`, whatever the input is; empty if the task has none."""
    task, test = parts.task, parts.data.test
    constant = task.constant(parts.data.train.target)
    if constant is None:
        return {}
    output = constant.float().to(parts.device)

    def outputs() -> Iterator[tuple[Tensor, Tensor]]:
        size = max(1, ELEMENTS // output.numel())  # masks are large
        for start in range(0, len(test), size):
            target = torch.from_numpy(test.target[start : start + size]).to(parts.device)
            yield output.expand(len(target), *output.shape), target

    return _metrics(task, outputs())


def linear_metrics(parts: Ingredients) -> dict[str, float]:
    """The metrics on test of a ridge regression on `Task.regressed`; empty for data that it cannot take in a moment.

    Inputs are standardised as they are encoded; of texts they are log(1 + count) of their tokens, less the mean. The
    intercept has no penalty, and the strength is the one of STRENGTHS with the best primary metric on val.
    """
    data, task = parts.data, parts.task
    texts = data.encode.tokens
    width = min(TOKENS, data.encode.offers()["num_tokens"]) if texts else math.prod(data.encode.shape)
    if data.storage != "resident" or width > WIDEST:
        return {}
    most = min(MOST, int(max(PRODUCTS / width**2, math.sqrt(PRODUCTS / width))))
    chosen = stream(parts.seed, "linear").permutation(len(data.train))[:most]
    wanted = task.regressed(torch.from_numpy(data.train.target[chosen]).to(parts.device))
    if wanted is None:
        return {}
    features = _token_counts(data.train, chosen, width) if texts else _flat(data.encode)
    inputs = torch.cat([features(stored) for stored, _ in _batches(data.train, chosen, width)])
    models = Ridge(inputs, wanted.double().cpu(), scaled=not texts)

    def metrics(split: Split, weights: Tensor) -> list[dict[str, float]]:
        """With each of these weights (K, F, T)."""
        every = _batches(split, np.arange(len(split)), width)
        answers = [(models.answer(features(stored), weights).float().to(y.device), y) for stored, y in every]
        return [_metrics(task, ((output[k], y) for output, y in answers)) for k in range(len(weights))]

    weights = torch.stack(list(map(models.weights, STRENGTHS)))
    if not torch.isfinite(weights).all():
        return {}
    scores = [found[task.primary] for found in metrics(data.val, weights)]
    best = scores.index(max(scores) if task.maximize else min(scores))
    (found,) = metrics(data.test, weights[best : best + 1])
    return {name: value for name, value in found.items() if name not in task.probabilistic}


class Ridge:
    """Least squares with a penalty on the squared weights.

    Args:
        inputs: float64 (n, F).
        wanted: float64 (n, T).
        scaled: whether inputs are divided by their standard deviation.
    """

    def __init__(self, inputs: Tensor, wanted: Tensor, scaled: bool = True) -> None:
        self.mean, self.intercept = inputs.mean(0), wanted.mean(0)
        self.inputs, self.wanted = inputs - self.mean, wanted - self.intercept
        std = self.inputs.square().mean(0).sqrt()
        constant = std <= 1e-9 * (1 + self.mean.abs())  # up to rounding
        self.scale = torch.where(constant, 0.0, 1 / std if scaled else 1.0)
        self.inputs *= self.scale
        self.unit = float(self.inputs.square().sum()) / max(1, int((~constant).sum()))
        n, width = inputs.shape
        self.by_example = n < width  # the smaller system: one unknown for each example, or for each input
        self.products = self.inputs @ self.inputs.T if self.by_example else self.inputs.T @ self.inputs

    def weights(self, strength: float) -> Tensor:
        """(F, T) that minimise the squared error plus strength * n * mean variance * squared weights."""
        system = self.products.clone()
        system.diagonal().add_(strength * self.unit)
        factor = torch.linalg.cholesky(system)
        if self.by_example:
            return self.inputs.T @ torch.cholesky_solve(self.wanted, factor)
        return torch.cholesky_solve(self.inputs.T @ self.wanted, factor)

    def answer(self, inputs: Tensor, weights: Tensor) -> Tensor:
        """Outputs (K, B, T) for inputs (B, F) and K models' weights (K, F, T)."""
        centred = (inputs - self.mean).mul_(self.scale)
        together = centred @ weights.movedim(0, 1).flatten(1)  # (B, K * T): one product of matrices
        return together.reshape(len(inputs), len(weights), -1).movedim(1, 0) + self.intercept


def _metrics(task: Task, outputs: Iterator[tuple[Tensor, Tensor]]) -> dict[str, float]:
    kept = [task.observe(output, target) for output, target in outputs]
    return task.metrics({name: torch.cat([part[name] for part in kept]) for name in kept[0]})


def _batches(split: Split, positions: np.ndarray, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, ELEMENTS // width)
    return iter(split.batches(np.split(positions, range(size, len(positions), size))))


def _flat(encode: Encoder) -> Features:
    return lambda stored: encode(stored).flatten(1).double().cpu()


def _token_counts(train: Split, positions: np.ndarray, width: int) -> Features:
    """log(1 + count) of the most frequent tokens of these examples."""
    ids = torch.cat([stored.flatten().long().cpu() for stored, _ in _batches(train, positions, width)])
    counts = torch.bincount(ids[ids != PADDING])
    place = torch.full((len(counts) + 1,), width)  # of every other token, larger ids among them, which is left out
    frequent = counts.argsort(descending=True, stable=True)[:width]
    place[frequent] = torch.arange(len(frequent))

    def features(stored: Tensor) -> Tensor:
        columns = place[stored.long().cpu().clamp_max(len(counts))]
        found = torch.zeros(len(columns), width + 1, dtype=torch.float64)
        found.scatter_add_(1, columns, torch.ones_like(columns, dtype=torch.float64))
        return found[:, :width].log1p()

    return features
