"""Ensembles: the runs of an arm combined, against single ones.

M: members, P: problems, n: rows, C: outcomes, as in `forecasts`; T: numbers of each example.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls
from scipy.special import log_softmax, logsumexp

from mixup_lab.evaluation.finished import Finished
from mixup_lab.evaluation.forecasts import (
    Floats,
    Forecasts,
    calibration_error,
    equal_widths,
    forecasts,
    kept,
    mean_iou,
)
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.runs.findings import Score
from mixup_lab.types import UserError

ECE_BINS = 15
STEPS, CLOSE = 500, 1e-6  # at most, and change of a weight at which the fit of weights ends
PIECE = 2**22  # probabilities that are combined at a time
SINGLE = "_single"


@dataclass
class Ensembles(Lens):
    """See `about`.

    Args:
        rounds: of the greedy selection, each of which adds one member.
    """

    title = "Ensembles"
    about = (
        "Runs of one arm combined, which the tutorials call model fusion, against single ones. The numbers of a seed"
        " are those of the ensemble of all other seeds of its arm, so that arms are paired by the seed that is left"
        " out. These ensembles share most of their members. So an interval over seeds is far too narrow (by the"
        " jackknife a standard error is seeds - 1 times as large), and there are no verdicts. Scores with _logits"
        " average logits instead of probabilities; _weighted has one weight for each member and _greedy selects members"
        " with repetition (Caruana et al., 2004), both by the loss on val; _single is the mean over the members by"
        " themselves. Masks are combined at the pixels whose predictions a run keeps."
    )
    rounds: int = 30

    def __post_init__(self) -> None:
        if not isinstance(self.rounds, int) or self.rounds < 1:
            raise UserError(f"lens.ensembles.rounds must be a whole number, at least 1, got {self.rounds}")

    def companions(self, run: Finished, others: Sequence[Finished]) -> Sequence[Finished]:
        return [*_members(run, others), *_other_arms(run, others)]

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        if run.kind not in _COMBINE:
            raise Unsuited(f"the predictions of {run.kind} that a run keeps cannot be averaged")
        members, combine = _members(run, others), _COMBINE[run.kind]
        if len(members) < 2:
            raise Unsuited("an ensemble without this seed needs two other finished seeds of its arm")
        if not _same(members, "test"):
            raise Unsuited(
                "the seeds of its arm have different test examples, so that members were trained on test examples of"
                " others; dataset.split_seed=0 gives all seeds the same"
            )
        same_val = _same(members, "val")
        found = Found(combine(members, self.rounds if same_val else 0))
        if not same_val:
            found.notes.append(
                "The seeds of its arm have different val examples, so that no weights are fitted;"
                " dataset.split_seed=0 gives all seeds the same."
            )
        needed = _truth(run, "test")
        arms = [run, *(arm for arm in _other_arms(run, others) if needed <= (arm.predictions or {}).keys())]
        if len(arms) > 1 and _same(arms, "test"):
            found.notes.append(_across(arms, combine(arms, 0)))
        return found


def _members(run: Finished, others: Sequence[Finished]) -> list[Finished]:
    """The other runs of its arm, by seed."""
    seeds = {other.seed: other for other in others if other.arm == run.arm and other.seed != run.seed}
    return [seeds[seed] for seed in sorted(seeds)]


def _other_arms(run: Finished, others: Sequence[Finished]) -> list[Finished]:
    """For a baseline: the run of its seed in each other arm with the same kind of targets."""
    arms = {other.arm: other for other in others if (other.seed, other.kind) == (run.seed, run.kind)}
    return [other for arm, other in arms.items() if arm != run.arm] if run.is_baseline else []


def _same(runs: Sequence[Finished], split: str) -> bool:
    """Whether runs have the same examples in a split, with the same targets."""
    names = _truth(runs[0], split)
    first, *rest = ([kept(run)[name] for name in names] for run in runs)
    return all(np.array_equal(a, b) for arrays in rest for a, b in zip(first, arrays, strict=True))


def _truth(run: Finished, split: str) -> set[str]:
    """The names of the arrays that hold the examples of a split and their targets."""
    return {f"{split}_{key}" for key in ("id", "target", "pixel_target")} & kept(run).keys()


def _across(arms: Sequence[Finished], scores: dict[str, Score]) -> str:
    """A sentence on the ensemble of one run of each arm."""
    single = {name.removesuffix(SINGLE): score for name, score in scores.items() if name.endswith(SINGLE)}
    listed = ", ".join(f"{name} {_shown(scores[name])} (single runs {_shown(one)})" for name, one in single.items())
    return f"The runs of this seed of {len(arms)} arms ({', '.join(run.name for run in arms)}), averaged: {listed}."


def _shown(score: Score) -> str:
    return f"{100 * score.value:.2f} %" if score.percent else f"{score.value:.4g}"


# ---- probabilities --------------------------------------------------------------------------------------------------


def _probabilities(members: Sequence[Finished], rounds: int) -> dict[str, Score]:
    """Of classes, tags and pixels; with `rounds` > 0 also what is fitted on val."""
    test = forecasts(members[0], "test")
    log_p = np.stack([forecasts(member, "test").log_p for member in members])
    even = np.full(len(members), 1 / len(members))
    scores = _scores("", replace(test, log_p=_mixture(log_p, even)), "the mean of probabilities")
    scores |= _scores("_logits", replace(test, log_p=log_softmax(log_p.mean(0), 2)), "the mean of logits")
    if rounds:
        own = np.exp([-forecasts(member, "val").log_loss.ravel() for member in members])
        fits = {"_weighted": likeliest_weights(own), "_greedy": greedy_weights(own, _log_loss, rounds)}
        for suffix, weights in fits.items():
            about = "the mean of probabilities with weights fitted on val"
            scores |= _scores(suffix, replace(test, log_p=_mixture(log_p, weights)), about)
    each = [_scores(SINGLE, replace(test, log_p=own), "members by themselves") for own in log_p]
    scores |= {name: _mean([one[name] for one in each]) for name in each[0]}
    votes = (log_p.argmax(3)[..., None] == np.arange(log_p.shape[3])).sum(0)
    pairs = len(members) * (len(members) - 1)
    scores["disagreement"] = Score(
        float(1 - (votes * (votes - 1)).sum(2).mean() / pairs), maximize=None, percent=True,
        about="how often two members decide differently, the mean over pairs",
    )  # fmt: skip
    return scores


def _mixture(log_p: Floats, weights: Floats) -> Floats:
    """Logarithms (P, n, C) of the weighted mean of probabilities, from (M, P, n, C) and (M,)."""
    pieces = np.array_split(log_p, -(-log_p.size // PIECE), axis=2)  # logsumexp needs many times their memory
    return np.concatenate([logsumexp(piece, axis=0, b=weights[:, None, None, None]) for piece in pieces], axis=1)


def _scores(suffix: str, test: Forecasts, about: str) -> dict[str, Score]:
    error = calibration_error(test.confidence, test.hit, equal_widths(test.confidence, ECE_BINS), ECE_BINS)
    scores = {
        f"accuracy{suffix}": Score(float(test.hit.mean()), None, True, f"accuracy of {about}"),
        f"nll{suffix}": Score(float(test.log_loss.mean()), None, False, f"negative log-likelihood of {about}"),
        f"ece{suffix}": Score(error, None, True, f"expected calibration error of {about}, {ECE_BINS} bins"),
    }
    if test.pixels is not None:
        scores = {f"miou{suffix}": Score(mean_iou(test), None, True, f"mean IoU of {about}")} | scores
    return scores


def _mean(scores: Sequence[Score]) -> Score:
    first = scores[0]
    return Score(float(np.mean([score.value for score in scores])), first.maximize, first.percent, first.about)


def likeliest_weights(own: Floats) -> Floats:
    """Weights (M,) >= 0 that sum to 1, of the mixture with the largest likelihood, by expectation maximisation.

    Args:
        own: (M, n), the probability that each member gives to what came.
    """
    own = np.maximum(own, np.finfo(np.float64).tiny)
    weights: Floats = np.full(len(own), 1 / len(own))
    for _ in range(STEPS):
        share = weights[:, None] * own
        before, weights = weights, (share / share.sum(0)).mean(1)
        if np.abs(weights - before).max() < CLOSE:
            break
    return weights


def _log_loss(own: Floats) -> Floats:
    loss: Floats = -np.log(np.maximum(own, np.finfo(np.float64).tiny)).mean(-1)
    return loss


def greedy_weights(values: Floats, loss: Callable[[Floats], Floats], rounds: int) -> Floats:
    """Weights (M,) of a greedy selection with repetition (Caruana et al., 2004): the best of all rounds.

    Each round adds the member with which the mean of the selected ones has the smallest loss.

    Args:
        values: (M, n), of each member.
        loss: of means (M, n) to (M,).
        rounds: at least 1.
    """
    total, counts = np.zeros(values.shape[1]), np.zeros(len(values))
    best, chosen = np.inf, counts
    for number in range(1, rounds + 1):
        losses = loss((total + values) / number)
        member = int(losses.argmin())
        total, counts = total + values[member], counts + (np.arange(len(values)) == member)
        if losses[member] < best:
            best, chosen = float(losses[member]), counts / number
    return chosen


# ---- numbers --------------------------------------------------------------------------------------------------------


def _numbers(members: Sequence[Finished], rounds: int) -> dict[str, Score]:
    """Of numbers, in their own units; with `rounds` > 0 also what is fitted on val."""
    errors = np.stack([_errors(member, "test") for member in members])  # (M, n, T)

    def score(error: Floats, about: str) -> Score:
        return Score(float(np.sqrt((error**2).mean(-2)).mean()), None, False, f"root mean squared error of {about}")

    scores = {"rmse": score(errors.mean(0), "the mean of predictions")}
    if rounds:
        val = np.stack([_errors(member, "val") for member in members])
        spread = np.std(kept(members[0])["val_target"].astype(np.float64), axis=0)
        scaled = (val / np.where(spread > 0, spread, 1)).reshape(len(members), -1)
        fits = {"_weighted": least_squares_weights(scaled), "_greedy": greedy_weights(scaled, _square, rounds)}
        for suffix, weights in fits.items():
            combined = np.tensordot(weights, errors, 1)
            scores[f"rmse{suffix}"] = score(combined, "the mean of predictions with weights fitted on val")
    scores[f"rmse{SINGLE}"] = _mean([score(error, "members by themselves") for error in errors])
    scores["disagreement"] = Score(
        float(np.sqrt(errors.var(0).mean(0)).mean()), None, False,
        "distance of members from their mean, the root of the mean square",
    )  # fmt: skip
    return scores


def _errors(run: Finished, split: str) -> Floats:
    arrays = kept(run)
    error: Floats = arrays[f"{split}_prediction"].astype(np.float64) - arrays[f"{split}_target"]
    return error


def least_squares_weights(errors: Floats) -> Floats:
    """Weights (M,) >= 0 that sum to 1, with the smallest square of the weighted errors (M, n)."""
    # The length of a non-negative solution makes up for the row of ones; its direction minimises the errors.
    system = np.vstack([errors.T / np.sqrt(errors.shape[1]), np.ones(len(errors))])
    weights = nnls(system, np.append(np.zeros(errors.shape[1]), 1.0))[0]
    total: Floats = weights / weights.sum()
    return total


def _square(errors: Floats) -> Floats:
    loss: Floats = (errors**2).mean(-1)
    return loss


# Kind of target -> the scores of the ensemble of some runs with the same test examples.
_COMBINE: dict[str, Callable[[Sequence[Finished], int], dict[str, Score]]] = {
    "classes": _probabilities, "tags": _probabilities, "masks": _probabilities, "numbers": _numbers,
}  # fmt: skip
