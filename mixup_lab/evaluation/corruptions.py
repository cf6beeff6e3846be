"""Corruptions: how much a model loses on test examples that were spoilt by noise, blur, weather or gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixup_lab.evaluation.finished import Finished, baseline
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.evaluation.looks import among_all, chosen, need_numbers
from mixup_lab.evaluation.picture_corruptions import (
    BLUR,
    DIGITAL,
    NOISE,
    SEVERITIES,
    WEATHER,
    Corruption,
    as_bytes,
    gaussian,
)
from mixup_lab.runs.findings import Line, Score

CHUNK = 100  # examples that are corrupted at once; their random numbers depend on it
KEPT = 2**29  # bytes of corrupted examples that are kept for the other runs of a seed, at most
SIGMAS = (0.1, 0.2, 0.3, 0.5, 1.0)  # of noise, in standard deviations
MISSING = (0.05, 0.1, 0.2, 0.3, 0.5)  # share of the columns of a row
BLURS = (0.5, 1.0, 1.5, 2.0, 3.0)  # of a spectrogram: standard deviation in bands and frames
SHIFTS = (0.05, 0.1, 0.15, 0.2, 0.25)  # of the length of a sound


@dataclass
class Corruptions(Lens):
    """See `about`.

    Args:
        examples: of test that are corrupted, at most; at least 1.
    """

    title = "Corruptions"
    about = (
        "The metric of the study on test examples that were spoilt in several ways, each at 5 severities. For pictures"
        " these are the 15 kinds of Hendrycks and Dietterich (2019): noise (gaussian, shot, impulse), blur (defocus,"
        " glass, motion, zoom), weather (snow, frost, fog, brightness) and digital (contrast, elastic, pixelate, jpeg)."
        " The ice of frost is a generated texture, in place of their photographs. The parameters are those of"
        " CIFAR-10-C, with lengths in proportion to the side of the picture; the code is our own, so that numbers are"
        " close to published ones and not the same. For sounds: noise on the spectrogram, blur, and shifts in time. For"
        " rows of tables: noise on the encoded values, and missing values. The mean corruption error (mce) divides the"
        " errors of each kind, summed over severities, by those of the baseline of the same seed: below 100 % a run"
        " loses less than its baseline."
    )
    needs_weights = True
    examples: int = 500

    def __post_init__(self) -> None:
        if self.examples < 1:
            raise ValueError(f"examples must be at least 1, got {self.examples}")
        self._spoilt: _Spoilt | None = None  # of the last run, for the others of its seed

    def companions(self, run: Finished, others: Sequence[Finished]) -> Sequence[Finished]:
        base = baseline(run, others)
        return () if base is None else (base,)

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        need_numbers(run, "corruptions")
        if run.parts.data.kind.placed:
            raise Unsuited(
                f"corruptions move pixels, and targets with a place such as {run.kind} would have to move with them"
            )
        base = baseline(run, others)
        positions = chosen(run, "corruptions", self.examples)
        if self._spoilt is None or self._spoilt.of != _identity(run, positions):
            self._spoilt = _Spoilt(run, positions)
        spoilt, task = self._spoilt, run.parts.task
        clean = spoilt.looked(run, spoilt.clean())[0]
        own, terms = spoilt.scored(run)
        reference = {} if base is None else spoilt.scored(base)[0]
        if base is not None:
            base.forget()
        score = partial(Score, maximize=task.maximize, percent=task.maximize)
        found = Found({"corrupted": score(_mean(own), about=f"{task.primary}, mean over kinds and severities")})
        found.scores["clean"] = score(clean, about=f"{task.primary} on the same examples, not corrupted")
        for group, kinds in spoilt.groups.items():
            about = f"{task.primary}, mean over {', '.join(kinds)} and severities"
            found.scores[group] = score(_mean({kind: own[kind] for kind in kinds}), about=about)
        if reference:
            self._relate(found, own, reference, task.maximize)
        by_severity = np.mean(list(own.values()), axis=0)
        found.lines.append(
            Line(
                "Corruptions", "severity", f"{task.primary}, mean over kinds", (0, *map(float, SEVERITIES)),
                (clean, *by_severity.tolist()),
            )
        )  # fmt: skip
        if terms:
            mean = torch.stack(terms).cpu().double().mean(0).numpy()
            found.examples["corrupted"] = among_all(run, positions, mean)
        return found

    def _relate(
        self, found: Found, own: dict[str, list[float]], reference: dict[str, list[float]], maximize: bool
    ) -> None:
        """Add the mean corruption error."""
        errors, of_base = ({k: sum(1 - v if maximize else v for v in vs) for k, vs in one.items()}
                           for one in (own, reference))  # fmt: skip
        ratios = [errors[kind] / of_base[kind] for kind in errors if of_base[kind] > 0]
        if ratios:
            about = "mean corruption error: errors of a kind divided by those of the baseline, mean over kinds"
            found.scores["mce"] = Score(float(np.mean(ratios)), maximize=False, percent=True, about=about)
        if len(ratios) < len(errors):
            found.notes.append("Kinds on which the baseline makes no error are left out of mce.")


def _mean(scores: dict[str, list[float]]) -> float:
    return float(np.mean(list(scores.values())))


Scored = tuple[dict[str, list[float]], list[Tensor]]  # the metric of each kind at each severity; whether each is right


def _identity(run: Finished, positions: np.ndarray) -> tuple[Any, ...]:
    """Equal for runs whose corrupted examples are the same."""
    data = {key: value for key, value in run.unmixed_settings.items() if key.startswith("dataset")}
    return run.seed, run.start["data"]["digest"], data, run.parts.device, positions.tolist()


class _Spoilt:
    """The chosen test examples of a run, corrupted: the same for all runs of its seed.

    `groups` are the names of the kinds by group, and `kinds` all of them.
    """

    def __init__(self, run: Finished, positions: np.ndarray) -> None:
        self.of = _identity(run, positions)
        self._stream, encode = run.stream, run.parts.data.encode
        self._scored: dict[str, Scored] = {}  # by the fingerprints of runs
        self._made: dict[tuple[str, int], Tensor] = {}
        parts = np.split(positions, range(CHUNK, len(positions), CHUNK))
        batches = list(run.split("test").batches(parts))
        self.target = torch.cat([batch.target for batch in batches])
        if encode.pictures:
            self._ready: Callable[[Tensor], Tensor] = as_bytes
            self._chunks = [batch.inputs.float() / 255 for batch in batches]
            named = {"noise": NOISE, "blur": BLUR, "weather": WEATHER, "digital": DIGITAL}
        else:
            self._ready = _as_it_is
            self._chunks = [run.parts.encoded(batch.inputs).float() for batch in batches]
            own: dict[str, Corruption] = {"noise": noise}
            own |= {"blur": blur, "shift": shift} if encode.planar else {"missing": partial(missing, *_blanks(run))}
            named = {name: {name: kind} for name, kind in own.items()}
        self.groups = {group: tuple(kinds) for group, kinds in named.items()}
        self.kinds: dict[str, Corruption] = {name: kind for kinds in named.values() for name, kind in kinds.items()}

    def clean(self) -> Tensor:
        """The examples as they are."""
        return torch.cat([self._ready(chunk) for chunk in self._chunks])

    def __call__(self, kind: str, severity: int) -> Tensor:
        """The corrupted examples (n, ...): as they are stored for pictures, else as the model takes them."""
        if (inputs := self._made.get((kind, severity))) is None:
            rng = self._stream(f"corruptions {kind} {severity}")
            inputs = torch.cat([self._ready(self.kinds[kind](chunk, severity, rng)) for chunk in self._chunks])
            if inputs.nbytes * len(self.kinds) * len(SEVERITIES) <= KEPT:
                self._made[kind, severity] = inputs
        return inputs

    def looked(self, run: Finished, inputs: Tensor) -> tuple[float, list[Tensor]]:
        """The metric of a run, and for classes one tensor (n,): whether each example is right."""
        encoded = run.parts.encoded if run.parts.data.encode.pictures else _as_it_is
        outputs = torch.cat([run.outputs(encoded(part)) for part in torch.split(inputs, run.evaluator.batch_size)])
        if run.kind == "classes":
            right = outputs.argmax(1) == self.target
            return float(right.double().mean()), [right]
        task = run.parts.task
        return task.metrics(task.observe(outputs, self.target))[task.primary], []

    def scored(self, run: Finished) -> Scored:
        """What a run makes of each kind and severity; computed once for each run."""
        if (found := self._scored.get(run.fingerprint)) is None:
            own: dict[str, list[float]] = {}
            terms: list[Tensor] = []
            for kind in self.kinds:
                for severity in SEVERITIES:
                    value, right = self.looked(run, self(kind, severity))
                    own.setdefault(kind, []).append(value)
                    terms += right
            found = self._scored[run.fingerprint] = own, terms
        return found


def _as_it_is(inputs: Tensor) -> Tensor:
    return inputs


# ---- sounds and rows of tables, as the model takes them -------------------------------------------------------------


def noise(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Normal noise on every value, in standard deviations."""
    drawn = rng.standard_normal(tuple(x.shape), dtype=np.float32)
    return x + SIGMAS[severity - 1] * torch.from_numpy(drawn).to(x.device)


def blur(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Spectrograms (B, 1, M, T) whose bands and frames run into each other."""
    return gaussian(x, BLURS[severity - 1])


def shift(x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Spectrograms (B, 1, M, T) earlier or later by a part of their length; the gap is the quietest level."""
    frames = x.shape[-1]
    by = max(1, round(SHIFTS[severity - 1] * frames))
    later = torch.from_numpy(rng.random(len(x)) < 0.5).to(x.device).view(-1, 1, 1, 1)
    silence = x.amin((1, 2, 3), keepdim=True).expand(*x.shape[:-1], min(by, frames))
    return torch.where(later, torch.cat([silence, x[..., :-by]], -1), torch.cat([x[..., by:], silence], -1))


def missing(blank: Tensor, column: np.ndarray, x: Tensor, severity: int, rng: np.random.Generator) -> Tensor:
    """Rows (B, F) in which some columns are as if their values were missing.

    Args:
        blank: (F,) the values of a row in which everything is missing.
        column: (F,) int64, the column of each value: 0..K-1.
        x: rows.
        severity: 1..5.
        rng: random numbers.
    """
    gone = rng.random((len(x), int(column.max()) + 1)) < MISSING[severity - 1]
    return torch.where(torch.from_numpy(gone[:, column]).to(x.device), blank, x)


def _blanks(run: Finished) -> tuple[Tensor, np.ndarray]:
    """For `missing`: the median of train for a number; for a category the place of other values, the last one."""
    parts = run.parts
    widths = parts.data.encode.offers().get("blocks", (1,) * parts.data.input_shape[0])
    train = parts.data.train
    (batch,) = train.batches([np.arange(len(train))])
    blank = parts.encoded(batch.inputs).float().median(0).values
    ends = np.cumsum(widths)
    for end, width in zip(ends, widths, strict=True):
        if width > 1:
            blank[end - width : end] = 0.0
            blank[end - 1] = 1.0
    return blank, np.repeat(np.arange(len(widths)), widths)
