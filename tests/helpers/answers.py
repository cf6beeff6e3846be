"""Synthetic answers: what the analysis would say about runs that never were."""

from dataclasses import replace
from statistics import mean, stdev

import numpy as np
from scipy.special import stdtrit

from mixup_lab.runs.findings import Surface
from mixup_lab.study.results import (
    Answer,
    Arm,
    Cell,
    Choice,
    ClassDifference,
    Comparison,
    Curve,
    LensCurve,
    LensMap,
    LensScore,
    LensSection,
    Metric,
    Moments,
)
from mixup_lab.study.trend import trend_of

ACCURACY = Metric("accuracy", maximize=True, percent=True)
RMSE = Metric("rmse", maximize=False, percent=False)
HOSTILE = """<b>&"'|`$x$\n]]>--><script>alert(1)</script>{{ 7 * 7 }} id="x" 学习 \x00"""
WORDS = {
    "helps": "helps",
    "hurts": "hurts",
    "helps_here": "helps on this test set, too small to tell for new data",
    "hurts_here": "hurts on this test set, too small to tell for new data",
    "no_difference": "no difference larger than 0.5 points",
    "cannot_tell": "cannot tell",
}


def moments(values):
    values = [value for value in values if value is not None]
    return Moments(len(values), mean(values) if values else None, stdev(values) if len(values) > 1 else None)


def t_interval(values):
    if len(values) < 2:
        return None
    half = float(stdtrit(len(values) - 1, 0.975)) * stdev(values) / len(values) ** 0.5
    return mean(values) - half, mean(values) + half


def comparison(own, base, arms, min_effect, sign):
    seeds = tuple(seed for seed in own if own[seed] is not None and base.get(seed) is not None)
    differences = tuple(own[seed] - base[seed] for seed in seeds)
    retraining = t_interval(differences)
    smallest = min(1.0, arms * 2 / 2 ** len(seeds)) if seeds else 1.0
    if retraining is None:
        return Comparison(
            seeds, differences, moments(differences).mean, None, None, None, None, None, None, 1.0, "cannot_tell",
            WORDS["cannot_tell"], None,
        )  # fmt: skip
    center, extra = mean(differences), 0.002
    new_data = retraining[0] - extra, retraining[1] + extra
    p = 2 / 2 ** len(seeds) * (1 if retraining[0] * retraining[1] > 0 else 5)
    good, bad = ("helps", "hurts") if center * sign > 0 else ("hurts", "helps")
    del bad
    if new_data[0] * new_data[1] > 0:
        code = good
    elif retraining[0] * retraining[1] > 0:
        code = f"{good}_here"
    else:
        code = "no_difference" if max(map(abs, new_data)) < min_effect else "cannot_tell"
    return Comparison(
        seeds, differences, center, stdev(differences), retraining, new_data, 1797, min(1.0, p), min(1.0, p * arms),
        smallest, code, WORDS[code], 7 if code == "cannot_tell" else None,
    )  # fmt: skip


def score(metric, alpha, decay, seed, rng):
    gain = 0.012 * np.exp(-((np.log10(alpha) + 0.4) ** 2) / 0.18) - 0.004 * (alpha > 1.5) if alpha else 0.0
    level = 0.95 + 0.004 * np.sin(7.0 * seed) + (0.006 if decay else 0.0) + gain + rng.normal(0, 0.0018)
    return float(level) if metric.percent else float(12.4 - 10 * level)


def curves(arms, metric, epochs, rng):
    found = []
    t = np.arange(1, epochs + 1)
    for k, arm in enumerate(arms):
        end = arm.val.mean if arm.val.mean is not None else 0.9
        for split, lag in (("train_clean", 6), ("val", 8)):
            rise = 1 - np.exp(-t / (epochs / lag))
            noise = rng.normal(0, 0.002, epochs)
            for name, line in (
                ("loss", 2.2 - 2.1 * rise + 0.03 * k + noise),
                (metric.name, end * (0.3 + 0.7 * rise) + noise if metric.percent else end / (0.2 + 0.8 * rise) + noise),
            ):
                band = 0.004 + 0.02 * np.exp(-t / (epochs / 5))
                lines = [tuple(map(float, x)) for x in (line, line - band, line + band)]
                found.append(Curve(arm.id, f"{split}/{name}", tuple(map(int, t)), *lines))
    return tuple(found)


def build(
    *, alphas=(0.1, 0.2, 0.4, 1.0), seeds=5, first_seed=0, epochs=40, classes=10, decays=(None,), metric=ACCURACY,
    min_effect=0.005, lost=(), has_alpha=True, mark="", finished=True, confirmed=None,
):  # fmt: skip
    """An answer of `len(decays)` blocks of a baseline and an arm for each alpha.

    Args:
        lost: (alpha, seed) of runs that failed.
        mark: put into every text that comes from a user.
    """
    rng = np.random.default_rng(seeds * 1000 + epochs)
    arms, baselines = [], {}
    for decay in decays:
        scores = {}
        for alpha in (0.0, *alphas):
            cells, identity = [], f"arm-{alpha:g}-{decay}"
            for seed in range(first_seed, first_seed + seeds):
                ok = finished and (alpha, seed) not in lost
                test, val = (score(metric, alpha, decay, seed, rng) for _ in range(2))
                path = f"runs/{identity}/seed={seed}"
                cells.append(
                    Cell(
                        identity,
                        seed,
                        "ok" if ok else "failed" if finished else "missing",
                        val if ok else None,
                        test if ok else None,
                        test + 0.001 if ok else None,
                        path,
                        None if ok else f"loss is nan {mark}",
                        None if ok else f"{path}/error.log{mark}",
                        {f"val/{metric.name}": val, f"test/{metric.name}": test, "test/loss": 0.1 * seed} if ok else {},
                    )
                )
            scores[alpha] = {cell.seed: cell.test for cell in cells}
            name = ("baseline" if alpha == 0 else f"mixup-a{alpha:g}" if has_alpha else f"method {alpha:g}") + mark
            name += f",weight_decay={decay:g}" if decay is not None else ""
            settings = {"aug": "mixup" if alpha else "none", "aug.alpha": alpha if alpha and has_alpha else None}
            settings |= {"optimizer.weight_decay": decay} if len(decays) > 1 else {}
            against = (
                comparison(scores[alpha], scores[0.0], len(alphas), min_effect, 1 if metric.maximize else -1)
                if alpha
                else None
            )
            arms.append(
                Arm(
                    identity,
                    name,
                    baselines.setdefault(decay, identity) if alpha else None,
                    alpha if has_alpha else None,
                    settings,
                    tuple(cells),
                    moments([cell.val for cell in cells]),
                    moments([cell.test for cell in cells]),
                    against,
                    1.234 + alpha if finished else None,
                    (1.234 + alpha) / 1.234 if alpha and finished else None,
                    431.5 * seeds,
                    len(alphas) if alpha else 1,
                )
            )
            baselines.setdefault(decay, identity)
    arms.sort(key=lambda arm: arm.baseline is not None)
    best = [
        next((arm for arm in arms if arm.baseline == base and arm.alpha == 0.4), None)
        or [arm for arm in arms if base in (arm.id, arm.baseline)][-1]
        for base in baselines.values()
    ]
    first = best[0]
    words = first.comparison.words if first.comparison else "cannot tell"
    per_class = []
    for arm in best:
        for k in range(classes):
            change = float(rng.normal(0.004, 0.012))
            band = None if seeds < 2 else (change - 0.01, change + 0.01)
            per_class.append(ClassDifference(arm.id, f"class {k}{mark}", change, band, 36.4))
    keys = ("aug", "aug.alpha", *(("optimizer.weight_decay",) if len(decays) > 1 else ()))
    answer = Answer(
        study=f"digits{mark}",
        metric=metric,
        min_effect=min_effect,
        sentence=f"{first.name} {words}: {metric.name} differs from the baseline's.",
        details=(f"Of {len(alphas)} arms, val chooses {first.name}.", f"Test was read once{mark}."),
        arms=tuple(arms),
        axes={key: tuple(dict.fromkeys(arm.settings[key] for arm in arms)) for key in keys},
        choices=tuple(
            Choice(
                arm.id, base, f"optimizer.weight_decay={decay}" if len(decays) > 1 else "", len(alphas), 0.0004, 0.0021
            )
            for arm, (decay, base) in zip(best, baselines.items(), strict=True)
            if finished
        ),
        confirmed=confirmed,
        curves=curves(arms, metric, epochs, rng) if epochs else (),
        classes=tuple(per_class),
        problems=tuple(f"seed {seed} of alpha {alpha} failed{mark}" for alpha, seed in lost),
        settings={"trainer.epochs": epochs, "model.width": [64, 128], "optimizer.lr": 0.1, f"dataset.root{mark}": mark},
        facts={"mixup-lab": "0.1.0", "torch": "2.15.0", "device": f"cpu{mark}", "data": "digits: 1078 / 359 / 360"},
        commands={"repeat": f"mixup-lab compare aug.alpha=0,0.1 {mark}", "look": "tensorboard --logdir outputs/x"},
    )
    return replace(answer, trend=trend_of(answer))


def with_confirmation(**settings):
    """An answer with a verdict from fresh seeds."""
    fresh = build(alphas=(0.4,), first_seed=100, **{"seeds": 6, **settings})
    return replace(build(**settings), confirmed=replace(fresh, sentence="Confirmed: mixup-a0.4 helps by 1.2 points."))


def lens_score(answer, metric, rng):
    """A score of every arm of an answer."""
    values = {arm.id: {cell.seed: float(rng.normal(0.3, 0.02)) for cell in arm.cells} for arm in answer.arms}
    compared = [arm for arm in answer.arms if arm.baseline]
    sign = 1 if metric.maximize else -1
    return LensScore(
        metric, f"What {metric.name} is.", 0.003, {arm: moments(list(own.values())) for arm, own in values.items()},
        {arm.id: comparison(values[arm.id], values[arm.baseline], len(compared), 0.003, sign) for arm in compared},
    )  # fmt: skip


def lens_surface(rng, mark=""):
    """A map of three classes with straight boundaries."""
    y, x = np.mgrid[-1:1:12j, -1:1:10j]
    logits = np.stack([3 * x, 3 * y, rng.normal(size=x.shape) / 10])
    p = np.exp(logits) / np.exp(logits).sum(0)
    names = np.array([f"class {k}{mark}" for k in range(3)])
    ends = np.array([-1.0, 1.0])
    return Surface(ends, ends, p, rng.uniform(-1, 1, (40, 2)), rng.integers(0, 3, 40), names)


def with_lenses(scores=10, **settings):
    """An answer with the sections of two lenses: one with many scores and curves, one that judges nothing."""
    answer, rng, mark = build(**settings), np.random.default_rng(3), settings.get("mark", "")
    names = ["nll", "accuracy", *(f"expected_error_{k}" for k in range(2, scores))]
    metrics = [Metric(f"{name}{mark}", name == "accuracy", name == "accuracy", "") for name in names]
    x = tuple(np.linspace(0, 1, 15).tolist())
    curves = tuple(
        LensCurve(arm.id, f"{name}{mark}", f"confidence{mark}", f"share{mark}", x,
                  *(tuple(k / 50 + shift + power for power in np.power(x, 2)) for shift in (0, -0.05, 0.05)))
        for k, arm in enumerate(answer.arms) for name in ("Reliability", "Histogram")
    )  # fmt: skip
    drawn = [(arm, 0) for arm in answer.arms[:2]] + [(answer.arms[0], None)]
    maps = tuple(LensMap(arm.id, seed, lens_surface(np.random.default_rng(4), mark)) for arm, seed in drawn)
    notes = (f"1 of 20 runs were not looked at: baseline{mark} seed 3.", f"A note{mark}.")
    many = LensSection(
        f"calibration{mark}", f"Calibration{mark}", f"Whether probabilities hold{mark}.", {f"bins{mark}": mark or 15},
        f"By nll, mixup helps; nll -0.02 against the baseline{mark}.",
        tuple(lens_score(answer, metric, rng) for metric in metrics), curves, notes, maps,
    )  # fmt: skip
    neither = lens_score(answer, Metric("shift", None, False, ""), rng)
    neither = replace(
        neither, comparisons={arm: replace(one, code="no_verdict") for arm, one in neither.comparisons.items()}
    )
    shift = LensSection("shift", "Shift", "Neither is better.", {}, "mixup: shift +0.1.", (neither,), (), ())
    return replace(answer, lenses=(many, shift))
