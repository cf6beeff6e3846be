"""Examples on their way into the model, chosen from the first batches of a training."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mixup_lab.mixing.mixer import Draw, at_step
from mixup_lab.mixing.schedules import Constant
from mixup_lab.preview.shares import blank
from mixup_lab.targets.target import Target
from mixup_lab.training.batches import Batches, EpochPlan
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch, Mixed

COUNT = 8  # examples that are shown
LOOKED = 48  # batches that they are chosen from
SEEN = 1e-6  # a share of a label above rounding errors


@dataclass(frozen=True)
class Example:
    """One example of a batch, (...); all but `stored` are encoded."""

    stored: Tensor  # before the transform
    own: Tensor
    others: tuple[Tensor, ...]  # the partners
    mixed: Tensor
    targets: tuple[Tensor, ...]  # own, then those of the partners
    answer: tuple[Tensor, Tensor, Tensor]  # labels of the mixed one: own, partner, and lam, () or (H, W)
    lam: float
    label: tuple[str, ...]  # the label of the mixed one as lines of text
    layer: str | None  # inside the model, where the mixing happens


class Beginning:
    """The first batches of a run, drawn and transformed as training does it; a schedule of mixing is left out.

    Raises:
        UserError: if the training split is smaller than one batch.
    """

    def __init__(self, parts: Ingredients) -> None:
        self.parts = parts
        settings = replace(parts.settings, epochs=LOOKED)  # a short run has fewer batches, and no mixing after its end
        self._batches = Batches(replace(parts, mix_schedule=Constant(), settings=settings))
        epochs = -(-LOOKED // self._batches.steps)
        plans = [self._batches.plan(epoch) for epoch in range(epochs)]
        self.steps = [(plan, step) for plan in plans for step in range(len(plan.order))][:LOOKED]

    def draw(self, plan: EpochPlan, step: int) -> Draw:
        """The mixer's draw for a step."""
        return at_step(plan.mixing, step)

    def batch(self, plan: EpochPlan, step: int) -> tuple[Batch, Batch]:
        """The batch of a step: as it is stored, and ready to be mixed."""
        _, prepared = next(self._batches.prepared(plan, step))
        return self._batches.stored(plan, step), self._batches.encoded(prepared.batch)

    def examples(self) -> list[Example]:
        """At most COUNT examples, from the largest lam to the smallest."""
        chosen = self._chosen()
        numbers = sorted({number for number, _ in chosen})
        examples: dict[tuple[int, int], Example] = {}
        for number in numbers:  # one batch at a time: they may be large
            raw, batch = self.batch(*self.steps[number])
            rows = [row for n, row in chosen if n == number]
            draw = self.draw(*self.steps[number])
            examples |= {(number, row): example for row, example in self._shown(raw, batch, draw, rows).items()}
        return sorted((examples[place] for place in chosen), key=lambda example: -example.lam)

    def _shown(self, raw: Batch, batch: Batch, draw: Draw, rows: Sequence[int]) -> dict[int, Example]:
        mixer = self.parts.mixer
        draw = mixer.find_partners(draw, batch.inputs)
        mixed = mixer.apply(batch, draw).last(len(batch.target))
        perms, note, layer = mixer.partners(draw), mixer.note(draw), mixer.layer(draw)
        shown = {}
        for i in rows:
            partners = [int(perm[i]) for perm in perms]
            targets = tuple(batch.target[j].clone() for j in (i, *partners))
            shown[i] = Example(
                stored=raw.inputs[i].clone(),  # a view would keep the whole batch
                own=self.parts.data.encode.whole(batch.inputs[i]),
                others=tuple(self.parts.data.encode.whole(batch.inputs[j]) for j in partners),
                mixed=self.parts.data.encode.whole(mixed.inputs[i]),
                targets=targets,
                answer=(mixed.target[i].clone(), mixed.partner[i].clone(), mixed.lam[i].clone()),
                lam=float(mixed.lam[i].mean()),
                label=(*label_lines(mixed, i, targets, self.parts.data.kind), *([note] if note else [])),
                layer=layer,
            )
        return shown

    def _chosen(self) -> list[tuple[int, int]]:
        """The step and row of each example: lam spread over its range, different classes and kinds of mixing."""
        lam = np.stack([self._lam(self.draw(*place)) for place in self.steps])  # (steps, B)
        strata = self.parts.data.kind.strata(self.parts.data.train.target)
        own = np.stack([strata[plan.order[step]] for plan, step in self.steps])
        partner = np.stack([self._partner(k, own[k]) for k in range(len(own))])
        if np.ptp(lam) < 1e-6:  # one batch shows as much as many
            lam, own, partner = lam[:1], own[:1], partner[:1]
        kinds = [self.parts.mixer.variety(self.draw(*place)) for place in self.steps[: len(lam)]]
        one_each = bool((np.ptp(lam, axis=1) < 1e-6).all())
        cost = 0.2 * (own == partner)
        chosen: list[tuple[int, int]] = []
        for wanted in np.linspace(min(lam.max(), 0.97), max(lam.min(), 0.03), min(COUNT, lam.size)):
            place = np.unravel_index(np.argmin(np.abs(lam - wanted) + cost), lam.shape)
            step, row = int(place[0]), int(place[1])
            chosen.append((step, row))
            cost = cost + 0.05 * (own == own[step, row])
            cost[[kind == kinds[step] for kind in kinds]] += 0.08 * (len(set(kinds)) > 1)
            if one_each:
                cost[step] += 0.1
            cost[step, row] = np.inf
        return chosen

    def _lam(self, draw: Draw) -> np.ndarray:
        """lam of a batch, without reading its pictures; where it depends on the model, lam as drawn."""
        parts, size = self.parts, self.parts.settings.batch_size
        if parts.mixer.asks_model:
            return np.asarray(draw["lam"].cpu())
        target = torch.from_numpy(parts.data.train.target[:1]).to(parts.device)
        draw = {"perm": torch.arange(size, device=parts.device), **draw}
        lam = parts.mixer.apply(blank(size, parts.data.input_shape, (8, 8), target), draw).last(size).lam
        return np.asarray(lam.flatten(1).mean(1).cpu() if lam.dim() > 1 else lam.cpu())

    def _partner(self, number: int, own: np.ndarray) -> np.ndarray:
        """Strata of the partners; -1 without partners, or if distances will choose them."""
        perms = self.parts.mixer.partners(self.draw(*self.steps[number]))
        return own[perms[0].cpu().numpy()] if perms else np.full_like(own, -1)


def label_lines(mixed: Mixed, i: int, targets: Sequence[Tensor], kind: Target) -> tuple[str, ...]:
    """The label of example `i` of a batch: `0.70 * three` and `0.30 * eight`; soft labels by their parts.

    Args:
        mixed: the batch.
        i: number of the example.
        targets: of the example itself, and of its partners.
        kind: of the targets.
    """
    own, partner, lam = mixed.target[i], mixed.partner[i], float(mixed.lam[i].mean())
    parts = kind.label_parts(own.cpu().numpy(), partner.cpu().numpy(), lam)
    if torch.equal(own, targets[0]) and torch.equal(partner, targets[-1 if len(targets) < 2 else 1]):
        return tuple(f"{share:.2f} * {words}" for share, words in parts)
    shares: dict[str, float] = {}
    for share, words in parts:
        shares[words] = shares.get(words, 0.0) + share
    if len(shares) == 1:  # the label is not mixed as the inputs are
        return f"1.00 * {parts[0][1]}", f"(lam {lam:.2f})"
    pictures = dict.fromkeys(kind.describe_one(target.cpu().numpy()) for target in targets)
    rest = max((share for words, share in shares.items() if words not in pictures), default=0.0)
    digits = 3 if rest > SEEN else 2  # all other classes have the same share
    lines = [f"{shares[words]:.{digits}f} * {words}" for words in pictures if shares.get(words, 0.0) > 0.005]
    return (*lines, f"{rest:.{digits}f} * each other") if rest > SEEN else tuple(lines)
