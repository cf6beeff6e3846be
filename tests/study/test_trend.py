"""The answer over a numeric setting: which arms make a line, what is said of it, and where it is drawn."""

import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from helpers import answers
from helpers.studies import config_of, write_run

from mixup_lab.study import plots
from mixup_lab.study.analysis import Options, analyse
from mixup_lab.study.markdown import markdown
from mixup_lab.study.reading import read
from mixup_lab.study.results import TrendLine
from mixup_lab.study.trend import trend_of

SEEDS, EXAMPLES = 8, 60


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Noise 0, 2 and 10 in another order; alpha 1 was not trained at noise 2. Hits by (noise, alpha)."""
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(5)
    rates = {(10, 0): 0.4, (10, 0.4): 0.9, (10, 1): 0.8, (0, 0): 0.8, (0, 0.4): 0.75, (0, 1): 0.8, (2, 0): 0.5,
             (2, 0.4): 0.95}  # fmt: skip
    hits = {}
    for (noise, alpha), rate in rates.items():
        hits[noise, alpha] = rng.random((SEEDS, EXAMPLES)) < rate
        name = f"{'mixup-a' + str(alpha) if alpha else 'baseline'},noise={noise}"
        for seed, row in enumerate(hits[noise, alpha]):
            write_run(
                folder / name / f"seed={seed}", arm=name, name=name, seed=seed, config=config_of(alpha, noise=noise),
                choices={}, hits=row,
            )  # fmt: skip
    return folder, hits


def test_a_line_is_compared_with_the_baseline_of_the_same_value(study):
    folder, hits = study
    answer = analyse(read([folder]), "study", Options(), {})
    trend = answer.trend
    assert (trend.axis, trend.values) == ("optimizer.noise", (0, 2, 10))
    assert [line.name for line in trend.lines] == ["baseline", "mixup-a0.4", "mixup-a1"]
    assert trend.lines[2].arms == ("mixup-a1,noise=0", None, "mixup-a1,noise=10")
    arms = {arm.id: arm for arm in answer.arms}
    p_values = {}
    for line, alpha in zip(trend.lines[1:], (0.4, 1), strict=True):
        for arm, noise in zip(line.arms, trend.values, strict=True):
            if arm is None:
                continue
            differences = hits[noise, alpha].mean(1) - hits[noise, 0].mean(1)
            np.testing.assert_allclose(arms[arm].comparison.differences, differences, atol=1e-12)
            signs = 1 - 2 * ((np.arange(2**SEEDS)[:, None] >> np.arange(SEEDS)) & 1)
            p_values[arm] = float(np.mean(abs(signs @ differences) >= abs(differences.sum()) - 1e-9))
    # Holm over all arms of the study, not over those of a value or of a line.
    ascending = sorted(p_values, key=p_values.__getitem__)
    raised = np.maximum.accumulate([p_values[arm] * (len(ascending) - k) for k, arm in enumerate(ascending)])
    assert len(ascending) == 5
    assert [arms[arm].comparison.p_holm for arm in ascending] == pytest.approx(np.minimum(raised, 1).tolist())
    assert trend.sentences[0] == "mixup-a0.4 helps from noise 2 on; below it, the study cannot tell."
    assert trend.sentences[1] == "mixup-a1 helps at noise 10; below it, the study cannot tell."
    said = [line for line in markdown(answer).splitlines() if line.startswith(("| optimizer.noise |", "| 2 |"))]
    mean = 100 * (hits[2, 0.4].mean(1) - hits[2, 0].mean(1)).mean()
    assert said[0].startswith("| optimizer.noise | baseline, test accuracy | mixup-a0.4 (points) | mixup-a1 (points) |")
    assert f"| ▲ +{mean:.2f} (" in said[1]
    assert said[1].endswith("): helps |  |"), "a value without this arm is an empty cell"


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ("helps helps helps", "x helps at every weight_decay of the study (0.1, 0.2 and 0.3)."),
        ("cannot_tell helps helps", "x helps from weight_decay 0.2 on; below it, the study cannot tell."),
        ("cannot_tell cannot_tell helps", "x helps at weight_decay 0.3; below it, the study cannot tell."),
        ("helps_here helps_here no_difference",
         "x helps on this test set alone up to weight_decay 0.2; above it, it makes no difference larger than 0.5"
         " points."),
        ("hurts helps helps", "x helps from weight_decay 0.2 on; below it, it hurts."),
        ("helps no_verdict no_verdict", "x helps at weight_decay 0.1; above it, there is no verdict."),
        ("helps cannot_tell helps", "x helps at weight_decay 0.1 and 0.3; at 0.2, the study cannot tell."),
        ("hurts cannot_tell helps", "x hurts at weight_decay 0.1; at 0.3, it helps; at 0.2, the study cannot tell."),
        ("cannot_tell cannot_tell cannot_tell",
         "The study cannot tell whether x helps at any weight_decay of the study (0.1, 0.2 and 0.3)."),
        ("no_verdict cannot_tell cannot_tell",
         "The study cannot tell whether x helps from weight_decay 0.2 on; below it, there is no verdict."),
    ],
)  # fmt: skip
def test_a_sentence_says_what_the_verdicts_say_and_no_more(codes, words):
    answer = answers.build(alphas=(0.4,), decays=(0.3, 0.1, 0.2), seeds=2, epochs=0, classes=0)
    code_of = dict(zip((0.1, 0.2, 0.3), codes.split(), strict=True))
    arms = tuple(
        replace(
            arm, name=arm.name.replace("mixup-a0.4", "x"),
            comparison=replace(arm.comparison, code=code_of[arm.settings["optimizer.weight_decay"]]),
        ) if arm.comparison else arm
        for arm in answer.arms
    )  # fmt: skip
    assert trend_of(replace(answer, arms=arms)).sentences == (words,)


def test_studies_without_a_trend(study):
    folder, _ = study
    runs = read([folder])
    assert analyse(runs, "study", Options(baseline="baseline,noise=2"), {}).trend is None
    assert analyse(runs, "study", Options(confirm=True), {}).trend is None
    answer = analyse(runs, "study", Options(), {})

    def with_values(change, **axes):
        arms = tuple(replace(arm, settings=change(arm)) for arm in answer.arms)
        return trend_of(replace(answer, arms=arms, axes=answer.axes | axes))

    for odd in (None, True, "much", (1, 2), float("inf")):  # in the place of 10
        changed = with_values(
            lambda arm, odd=odd: arm.settings | ({"optimizer.noise": odd} if arm.name.endswith("=10") else {}),
            **{"optimizer.noise": (0, 2, odd)},
        )
        assert changed is None, odd
    assert with_values(lambda arm: arm.settings | {"model.width": 3}, **{"model.width": (3, 4)}) is None
    assert with_values(lambda arm: arm.settings | {"variant": "none"}, variant=("none",)) is not None
    bases = tuple(arm for arm in answer.arms if arm.baseline is None)
    assert trend_of(replace(answer, arms=bases)) is None


@pytest.mark.parametrize(
    ("decays", "place", "label"),
    [
        ((0.2, 0.5, 0.9, 1.9), lambda x: x, "optimizer.weight_decay"),
        ((0.01, 0.05, 0.1, 1.0), np.log10, "optimizer.weight_decay, logarithmic"),
        ((-1.0, 0.5, 8.0, 20.0), lambda x: x, "optimizer.weight_decay"),
    ],
)
def test_a_line_is_drawn_at_its_values_and_scores(decays, place, label):
    answer = answers.build(alphas=(0.4,), decays=decays, epochs=0, classes=0)
    svg = plots.trend(answer)
    assert f">{label}</text>" in svg
    ticks = re.findall(r"<text [^>]*text-anchor:middle[^>]*>(−?-?[\d.]+)</text>", svg)
    assert [float(tick) for tick in ticks[: len(decays)]] == list(decays)
    paths = [
        np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path), float)
        for path in re.findall(r'<path [^>]*d="([^"]+)"[^>]*fill:none[^>]*stroke-width:1.5', svg)
    ]
    lines = [path for path in paths if len(path) == len(decays)]
    arms = {arm.id: arm for arm in answer.arms}
    assert len(lines) == 2
    drawn = np.concatenate(lines)
    scores = [arms[arm].test.mean for line in answer.trend.lines for arm in line.arms]
    for pixels, numbers in ((drawn[:, 0], place(np.array(2 * decays))), (drawn[:, 1], scores)):
        fit = scipy.stats.linregress(numbers, pixels)
        assert abs(fit.rvalue) > 0.9999
    # The band is the interval of the mean over seeds (t).
    bands = re.findall(r'<path [^>]*d="([^"]+)"[^>]*opacity:0.13', svg)
    tests = [cell.test for cell in arms[answer.trend.lines[0].arms[0]].cells]
    expected = scipy.stats.t.interval(0.95, len(tests) - 1, np.mean(tests), scipy.stats.sem(tests))
    heights = np.array(re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", bands[0]), float)
    at_first = heights[np.isclose(heights[:, 0], lines[0][0, 0], atol=0.2), 1]
    assert [at_first.max(), at_first.min()] == pytest.approx(
        [fit.slope * end + fit.intercept for end in expected], abs=0.3
    )


def test_only_so_many_lines_are_drawn_and_all_are_in_the_tables():
    alphas = tuple(0.1 * k for k in range(1, 11))
    answer = answers.build(alphas=alphas, decays=(0.1, 0.2), seeds=2, epochs=0, classes=0)
    lines, left_out = plots.trend_lines(answer)
    assert (len(lines), left_out) == (7, 4)
    chosen = {choice.arm for choice in answer.choices}
    assert lines[0].name == "baseline"
    assert any(chosen & set(line.arms) for line in lines)
    rows = [line for line in markdown(answer).splitlines() if line.startswith("| optimizer.weight_decay |")]
    names = [cell for row in rows for cell in re.findall(r"mixup-a[\d.]+", row)]
    assert names == [f"mixup-a{alpha:g}" for alpha in alphas]
    empty = replace(answer, trend=replace(answer.trend, lines=(TrendLine("baseline", (None, None)),)))
    assert plots.trend(empty) == ""
