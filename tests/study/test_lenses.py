"""What lenses found, in the report: the numbers against independent ones, and what is missing, damaged or hostile."""

import base64
import io
import json
import math
import re
import statistics
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from helpers import answers
from helpers.studies import manifest, write_study
from PIL import Image
from rich.console import Console

from mixup_lab.commands import report
from mixup_lab.runs import store
from mixup_lab.runs.findings import Finding, Line, Score, Surface, read_finding, write_finding
from mixup_lab.study import plots
from mixup_lab.study.analysis import Options
from mixup_lab.study.export import as_json
from mixup_lab.study.lenses import by_score
from mixup_lab.study.markdown import markdown
from mixup_lab.study.page import page
from mixup_lab.study.results import Answer, LensMap, LensSection
from mixup_lab.study.sentences import say_by_score
from mixup_lab.study.statistics import crossed_interval

SEEDS, EXAMPLES = 8, 60
ARMS = {0.0: "baseline", 0.4: "mixup-a0.4", 1.0: "mixup-a1"}
GAINS = {0.0: 0.0, 0.4: -0.3, 1.0: 0.02}  # in nll; val prefers alpha 1 but where a test says otherwise


def finding(alpha: float, seed: int, terms: np.ndarray | None, **changes) -> Finding:
    """A finding of three scores: one with terms, one without, one that has no better or worse."""
    rng = np.random.default_rng([int(10 * alpha), seed])
    scores = {
        "ece": Score(0.1 + 0.1 * (alpha == 0.4) + 0.01 * rng.random(), False, percent=True),
        "shift": Score(rng.random(), None),
    }
    if terms is not None:
        scores = {"nll": Score(float(terms.mean()), False, about="The mean log loss."), **scores}
    lines = (Line("Reliability", "confidence", "share", (0.25, 0.5, 0.75), tuple(rng.random(3).tolist())),)
    made = Finding(
        "calibration", "Calibration", "Whether probabilities hold.", {"bins": 15}, f"id{alpha:g}-{seed}", scores,
        lines, (), {} if terms is None else {"nll": terms},
    )  # fmt: skip
    return replace(made, **changes)


def run_dir(study: Path, alpha: float, seed: int) -> Path:
    return study / ARMS[alpha] / f"seed={seed}"


def terms_of() -> dict[float, np.ndarray]:
    """Log losses (seeds, examples) of each arm."""
    rng = np.random.default_rng(1)
    easy = rng.random(EXAMPLES)
    return {alpha: 1 + easy + gain + 0.1 * rng.normal(size=(SEEDS, EXAMPLES)) for alpha, gain in GAINS.items()}


@pytest.fixture
def study(tmp_path) -> Path:
    """A study whose runs a lens has looked at."""
    rng = np.random.default_rng(0)
    write_study(tmp_path / "s", {alpha: rng.random((SEEDS, EXAMPLES)) < 0.8 for alpha in ARMS})
    for alpha, rows in terms_of().items():
        for seed, row in enumerate(rows):
            write_finding(run_dir(tmp_path / "s", alpha, seed), finding(alpha, seed, row))
    return tmp_path / "s"


def answer_of(study: Path) -> Answer:
    return report.answer_of([study], Options())


def section_of(study: Path) -> LensSection:
    (section,) = answer_of(study).lenses
    return section


def score_of(section: LensSection, name: str):
    return next(score for score in section.scores if score.metric.name == name)


def test_numbers_agree_with_scipy_and_with_the_interval_of_the_same_arrays(study):
    section, terms = section_of(study), terms_of()
    nll = score_of(section, "nll")
    assert [score.metric.name for score in section.scores] == ["nll", "ece", "shift"]
    assert nll.about == "The mean log loss."
    ps = []
    for alpha in (0.4, 1.0):
        difference = terms[alpha].mean(1) - terms[0.0].mean(1)
        found = nll.comparisons[f"id{alpha:g}"]
        np.testing.assert_allclose(found.differences, difference, atol=1e-12)
        test = scipy.stats.ttest_1samp(difference, 0).confidence_interval(0.95)
        np.testing.assert_allclose(found.retraining, (test.low, test.high), atol=1e-12)
        ids = np.arange(EXAMPLES)
        crossed = crossed_interval([(ids, row) for row in terms[alpha] - terms[0.0]], counted=False)
        np.testing.assert_allclose(found.new_data, (crossed.low, crossed.high), atol=1e-12)
        signs = np.array(np.meshgrid(*[[-1, 1]] * SEEDS)).reshape(SEEDS, -1)
        ps.append(np.mean(np.abs(difference @ signs) >= abs(difference.sum()) - 1e-9))
        assert found.p == pytest.approx(ps[-1])
        assert nll.means[f"id{alpha:g}"].mean == pytest.approx(terms[alpha].mean(), abs=1e-12)
        assert nll.means[f"id{alpha:g}"].sd == pytest.approx(statistics.stdev(terms[alpha].mean(1)), abs=1e-12)
    first, second = sorted(ps)
    holm = {0.4: min(1, 2 * first), 1.0: max(min(1, 2 * first), second)}
    assert ps[0] < ps[1]
    assert {alpha: nll.comparisons[f"id{alpha:g}"].p_holm for alpha in holm} == pytest.approx(holm)
    assert nll.comparisons["id0.4"].code == "helps", "less is better"
    assert nll.min_effect == pytest.approx(0.01 * terms[0.0].mean(), rel=0.05), "a hundredth of the baseline"


def test_the_sentence_is_about_the_arm_that_val_chose_for_the_study(study, tmp_path):
    section = section_of(study)
    assert section.sentence.startswith("By nll, cannot tell whether mixup-a1 (best on val of 2 arms) helps: ")
    rng = np.random.default_rng(0)
    vals = {0.0: [0.5] * SEEDS, 0.4: [0.9] * SEEDS, 1.0: [0.1] * SEEDS}
    write_study(tmp_path / "t", {alpha: rng.random((SEEDS, EXAMPLES)) < 0.8 for alpha in ARMS}, vals)
    for alpha, rows in terms_of().items():
        for seed, row in enumerate(rows):
            write_finding(run_dir(tmp_path / "t", alpha, seed), finding(alpha, seed, row))
    other = section_of(tmp_path / "t")
    assert other.sentence.startswith("By nll, mixup-a0.4 (best on val of 2 arms) helps; nll −0.3")
    assert "against the baseline (lower is better), paired over 8 seeds; 95 % interval for new data" in other.sentence


def test_every_block_has_its_sentence_and_many_are_counted():
    def said(blocks: int, **changes) -> str:
        answer = answers.with_lenses(decays=tuple(0.1 * k for k in range(1, blocks + 1)), epochs=0, classes=0)
        return say_by_score(by_score(replace(answer, **changes), answer.lenses[0].scores[0]))

    first, second = said(2).split(". By")
    assert first.startswith(
        "By nll, with optimizer.weight_decay=0.1, cannot tell whether mixup-a0.4,weight_decay=0.1 ("
    )
    assert second.startswith(" nll, with optimizer.weight_decay=0.2, ")
    assert said(5).startswith("By nll, of 5 settings, mixing helps in ")
    alone = said(1, choices=())
    assert "mixup-a0.1,weight_decay=0.1" in alone, "without a choice the first arm that is compared"
    assert "best on val" not in alone
    assert said(1, choices=(), arms=()) == "There is no arm to compare with the baseline."


def test_a_score_without_terms_or_without_a_direction_has_no_more_than_it_can_have(study):
    section = section_of(study)
    ece, shift = score_of(section, "ece"), score_of(section, "shift")
    for comparison in ece.comparisons.values():
        assert comparison.new_data is None
        assert comparison.retraining is not None
    assert ece.comparisons["id0.4"].words == (
        "hurts on this test set; since ece has no score of single examples, nothing is known about new data"
    )
    assert ece.min_effect == 0.001
    assert {comparison.code for comparison in shift.comparisons.values()} == {"no_verdict"}
    assert all(comparison.p is not None and comparison.retraining for comparison in shift.comparisons.values())
    alone = {
        (alpha, seed): replace(one, scores={"shift": one.scores["shift"]}, examples={})
        for alpha in ARMS for seed in range(SEEDS) for one in [finding(alpha, seed, None)]
    }  # fmt: skip
    for (alpha, seed), one in alone.items():
        write_finding(run_dir(study, alpha, seed), one)
    changed = section_of(study)
    assert changed.sentence.startswith("mixup-a1 (best on val of 2 arms): shift ")
    for words in ("helps", "hurts", "cannot tell", "better"):
        assert words not in changed.sentence
    html = page(replace(answer_of(study), lenses=(changed,)))
    assert ">difference to the baseline in shift</text>" in html, "no side of zero is the better one"


def test_the_percent_of_a_score_is_as_the_lens_says_whatever_its_name(study):
    for alpha in ARMS:
        for seed in range(SEEDS):
            scores = {"pgd-20 acc": Score(0.5 + alpha / 10, True, percent=True), "accuracy": Score(3.0, True)}
            write_finding(run_dir(study, alpha, seed), finding(alpha, seed, None, scores=scores))
    section = section_of(study)
    assert [(score.metric.name, score.metric.percent) for score in section.scores] == [
        ("pgd-20 acc", True), ("accuracy", False),
    ]  # fmt: skip
    assert "pgd-20 acc +10.00 points" in section.sentence


@pytest.mark.parametrize("percent", [True, False])
def test_whole_terms_are_counts_only_for_a_fraction(study, percent):
    """Few examples that ever differ make the interval of a share wider, not that of a number in a unit."""
    hits = np.ones((2, SEEDS, EXAMPLES), bool)
    hits[1, :, 3] = False
    for alpha in ARMS:
        for seed in range(SEEDS):
            terms = hits[int(alpha > 0), seed]
            score = {"kept": Score(float(terms.mean()), True, percent)}
            write_finding(
                run_dir(study, alpha, seed), finding(alpha, seed, terms, scores=score, examples={"kept": terms})
            )
    (score,) = section_of(study).scores
    pairs = [(np.arange(EXAMPLES), own.astype(float) - base) for own, base in zip(hits[1], hits[0], strict=True)]
    wide, narrow = (crossed_interval(pairs, counted=counted) for counted in (True, False))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    expected = wide if percent else narrow
    np.testing.assert_allclose(score.comparisons["id1"].new_data, (expected.low, expected.high), atol=1e-12)


def test_runs_without_a_finding_are_named_and_their_pairs_are_left_out(study):
    (run_dir(study, 0.0, 2) / "lens" / "calibration.json").unlink()
    (run_dir(study, 1.0, 3) / "lens" / "calibration.json").write_text('{"format": 1, "lens": "cal')
    stale = finding(1.0, 5, np.ones(EXAMPLES), fingerprint="another training")
    write_finding(run_dir(study, 1.0, 5), stale)
    section = section_of(study)
    assert section.notes == ("3 of 24 runs were not looked at: baseline seed 2; mixup-a1 seed 3, 5.",)
    seeds = {arm: one.seeds for arm, one in score_of(section, "nll").comparisons.items()}
    assert seeds == {"id0.4": (0, 1, 3, 4, 5, 6, 7), "id1": (0, 1, 4, 6, 7)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda score: {**score, "value": "high"},
        lambda score: {**score, "value": None},
        lambda score: {**score, "unit": "nats"},
        lambda score: [score],
    ],
)
def test_a_finding_that_was_changed_by_hand_does_not_count(study, damage):
    path = run_dir(study, 0.4, 1) / "lens" / "calibration.json"
    content = json.loads(path.read_text())
    content["scores"]["nll"] = damage(content["scores"]["nll"])
    path.write_text(json.dumps(content))
    assert section_of(study).notes == ("1 of 24 runs were not looked at: mixup-a0.4 seed 1.",)


def test_a_value_that_is_not_finite_is_no_result(study):
    one = finding(0.4, 1, None)
    write_finding(run_dir(study, 0.4, 1), replace(one, scores={**one.scores, "ece": Score(math.nan, False)}))
    ece = score_of(section_of(study), "ece")
    assert 1 not in ece.comparisons["id0.4"].seeds
    assert ece.means["id0.4"].n == SEEDS - 1


def test_a_lens_that_looked_at_some_examples_only_has_the_interval_of_these(study):
    terms, seen = terms_of(), [np.sort(np.random.default_rng(k).permutation(EXAMPLES)[:40]) for k in range(SEEDS)]
    for alpha, rows in terms.items():
        for seed, row in enumerate(rows):
            some = np.full(EXAMPLES, np.nan)
            some[seen[seed]] = row[seen[seed]]
            score = Score(float(np.nanmean(some)), False)
            write_finding(run_dir(study, alpha, seed), finding(alpha, seed, row, scores={"nll": score},
                                                               examples={"nll": some}))  # fmt: skip
    comparison = score_of(section_of(study), "nll").comparisons["id0.4"]
    differences = terms[0.4] - terms[0.0]
    crossed = crossed_interval([(ids, row[ids]) for ids, row in zip(seen, differences, strict=True)], counted=False)
    np.testing.assert_allclose(comparison.new_data, (crossed.low, crossed.high), atol=1e-12)


@pytest.mark.parametrize(
    "lost", ["npz", "predictions", "other terms", "another length", "texts", "nothing", "infinite"]
)
def test_terms_that_do_not_belong_to_a_score_give_no_interval_for_new_data(study, lost):
    path = run_dir(study, 0.4, 1)
    one = finding(0.4, 1, terms_of()[0.4][1])
    if lost == "npz":
        (path / "lens" / "calibration.npz").write_bytes(b"PK")
    elif lost == "predictions":
        (path / "predictions.npz").unlink()
    else:
        terms = {"other terms": np.zeros(EXAMPLES), "another length": np.ones(3), "texts": np.array(["a"] * EXAMPLES),
                 "nothing": np.full(EXAMPLES, np.nan), "infinite": np.full(EXAMPLES, np.inf)}  # fmt: skip
        write_finding(path, replace(one, examples={"nll": terms[lost]}))
    section = section_of(study)
    nll = score_of(section, "nll")
    assert nll.comparisons["id0.4"].new_data is None
    assert nll.comparisons["id0.4"].retraining is not None
    assert nll.comparisons["id1"].new_data is not None
    assert section.notes == (
        "1 of 24 runs lack the terms of nll for single test examples: their arms have no interval for new data.",
    )


def test_findings_with_other_settings_are_left_out(study):
    write_finding(run_dir(study, 0.4, 0), finding(0.4, 0, terms_of()[0.4][0], settings={"bins": 3}))
    section = section_of(study)
    assert section.settings == {"bins": 15}
    assert section.notes == ("1 of 24 runs were looked at with other settings, and are left out: mixup-a0.4 seed 0.",)
    assert score_of(section, "nll").comparisons["id0.4"].seeds == tuple(range(1, SEEDS))


def test_an_arm_without_a_partner_is_shown_without_a_difference(study):
    for seed in range(SEEDS):
        (run_dir(study, 1.0, seed) / "lens" / "calibration.json").unlink()
    answer = answer_of(study)
    (section,) = answer.lenses
    nll = score_of(section, "nll")
    assert (nll.comparisons["id1"].seeds, nll.comparisons["id1"].words) == ((), "cannot tell: no complete pair")
    assert "id1" not in nll.means
    assert section.sentence == (
        "By nll, cannot tell whether mixup-a1 (best on val of 2 arms) helps: no complete pair."
    )  # fmt: skip
    alone = nll.comparisons["id0.4"]
    assert alone.p_holm == alone.p, "Holm counts the arms that were looked at"
    for text in (page(answer), markdown(answer)):
        assert "mixup-a1" in text
    assert "| mixup-a1 | – | – | – |" in markdown(answer)
    for path in study.rglob("calibration.json"):
        if "baseline" in str(path):
            path.unlink()
    assert all(not one.seeds for one in score_of(section_of(study), "nll").comparisons.values())


def test_a_study_that_nobody_looked_at_has_no_section(study):
    for path in study.rglob("lens/*.json"):
        path.write_text("{}")
    answer = answer_of(study)
    assert answer.lenses == ()
    assert "Calibration" not in page(answer)


def test_a_block_without_a_verdict_has_none_by_a_lens_either(study):
    for path in study.rglob("summary.json"):
        content = json.loads(path.read_text())
        content["scalars"]["trivial/accuracy"] = 0.99
        path.write_text(json.dumps(content))
    answer = answer_of(study)
    assert answer.obstacles
    (section,) = answer.lenses
    assert {one.code for score in section.scores for one in score.comparisons.values()} == {"no_verdict"}
    assert section.sentence.startswith("By nll, no verdict on mixup-a1 (best on val of 2 arms), since ")


def test_curves_are_means_over_seeds_where_x_agrees(study):
    section = section_of(study)
    ys = np.array([finding(0.4, seed, None).lines[0].y for seed in range(SEEDS)])
    (curve,) = [curve for curve in section.curves if curve.arm == "id0.4"]
    assert (curve.name, curve.x_label, curve.y_label) == ("Reliability", "confidence", "share")
    assert curve.x == (0.25, 0.5, 0.75)
    np.testing.assert_allclose(curve.mean, ys.mean(0), atol=1e-12)
    test = scipy.stats.ttest_1samp(ys, 0).confidence_interval(0.95)
    np.testing.assert_allclose((curve.low, curve.high), (test.low, test.high), atol=1e-12)
    # Points of a single seed, and those without a value, are not on the mean.
    lines = (Line("Reliability", "confidence", "share", (0.25, 0.3, 0.5, 0.75), (0.1, 0.2, math.nan, 0.9)),)
    write_finding(run_dir(study, 0.4, 0), finding(0.4, 0, terms_of()[0.4][0], lines=lines))
    (curve,) = [curve for curve in section_of(study).curves if curve.arm == "id0.4"]
    assert curve.x == (0.25, 0.5, 0.75)
    ys[0] = (0.1, math.nan, 0.9)
    np.testing.assert_allclose(curve.mean, np.nanmean(ys, 0), atol=1e-12)
    for seed in range(SEEDS):
        own = (Line("Reliability", "confidence", "share", (0.1 * seed, 0.9 + seed), (0.0, 1.0)),)
        write_finding(run_dir(study, 1.0, seed), finding(1.0, seed, None, lines=own))
    curves = [curve for curve in section_of(study).curves if curve.arm == "id1"]
    assert [curve.x for curve in curves] == [(0.1 * seed, 0.9 + seed) for seed in range(SEEDS)]
    assert all(curve.low == curve.mean == curve.high == (0.0, 1.0) for curve in curves)
    assert "Single seeds." in page(answer_of(study))


def mapped(alpha: float, seed: int) -> Surface:
    return answers.lens_surface(np.random.default_rng([int(10 * alpha), seed]))


def test_maps_are_of_one_seed_and_means_over_the_seeds(study):
    for alpha in ARMS:
        for seed in range(3):
            made = finding(alpha, seed, None, surface=mapped(alpha, seed))
            write_finding(run_dir(study, alpha, seed), made)
    (run_dir(study, 0.4, 0) / "lens" / "calibration.map.npz").write_bytes(b"PK")
    odd = replace(mapped(1.0, 2), probabilities=np.full((3, 4, 5), 1 / 3))
    write_finding(run_dir(study, 1.0, 2), finding(1.0, 2, None, surface=odd))
    section = section_of(study)
    assert [(one.arm, one.seed) for one in section.maps] == [
        ("id0", 1), ("id0.4", 1), ("id1", 1), ("id0", None), ("id0.4", None),
    ]  # fmt: skip
    one, mean = section.maps[1].surface, section.maps[4].surface
    np.testing.assert_equal(vars(one), vars(mapped(0.4, 1)))
    np.testing.assert_allclose(mean.probabilities, (mapped(0.4, 1).probabilities + mapped(0.4, 2).probabilities) / 2)
    assert (len(mean.points), len(mean.classes)) == (0, 0)
    assert "maps" not in json.loads(as_json(replace(answers.build(seeds=1), lenses=(section,))))["lenses"][0]
    write_finding(run_dir(study, 0.0, 1), finding(0.0, 1, None))
    assert read_finding(run_dir(study, 0.0, 1), "calibration").surface is None, "the map of an older finding"


def test_arrays_that_are_not_a_map_give_none(tmp_path):
    good = mapped(0.4, 1)
    for change in (
        {"x": np.array([1.0, -1.0])}, {"y": np.array([0.0, np.nan])}, {"points": np.zeros((40, 3))},
        {"classes": np.full(40, 3)}, {"classes": np.zeros(40)}, {"names": np.array(["a", "b"])},
        {"names": np.arange(3)}, {"probabilities": np.ones((3, 4))}, {"probabilities": np.ones((3, 4, 1))},
        {"probabilities": np.full((3, 4, 4), np.inf)}, {"x": np.zeros(())}, {"names": np.array("a")},
    ):  # fmt: skip
        write_finding(tmp_path, finding(0.4, 1, None, surface=good))
        assert read_finding(tmp_path, "calibration").surface is not None
        np.savez(tmp_path / "lens" / "calibration.map.npz", **{**vars(good), **change})
        assert read_finding(tmp_path, "calibration").surface is None


def test_colours_of_a_map_are_those_of_the_most_probable_class():
    """The picture in the page, against probabilities; its first row is the last one of the grid."""
    answer = answers.build(alphas=(), seeds=1, epochs=0)
    surface = answers.lens_surface(np.random.default_rng(0))
    svg = plots.lens_maps(answer, [LensMap(answer.arms[0].id, 0, surface)])
    found = re.search(r'<image href="data:image/png;base64,\s*([^"]*)".*?transform="matrix\((.*?)\)', svg)
    data, matrix = found.groups()
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        pixels = np.array(picture)
    across, _, _, up, left, bottom = map(float, matrix.split())
    p = surface.probabilities if up < 0 else surface.probabilities[:, ::-1]
    blue, vermillion, green = (0, 114, 178), (213, 94, 0), (0, 158, 115)
    np.testing.assert_array_equal(pixels[..., :3], np.array([blue, vermillion, green])[p.argmax(0)])
    np.testing.assert_allclose(pixels[..., 3] / 255, 0.6 * (p.max(0) - 1 / 3) * 1.5, atol=1 / 255)
    marks = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', svg)
    assert len(marks) == 40 + 3, "test examples, and the key"
    # Where a point lies in the picture, cells being around the points of the grid.
    own = surface.points[np.argsort(surface.classes, kind="stable")]
    cells = (own + 1) / 2 * np.array([9, 11]) + 0.5
    expected = np.array([left, bottom]) + cells * np.array([across, up])
    np.testing.assert_allclose(np.array(marks[:40], float), expected, atol=0.06)
    many = replace(surface, points=np.tile(surface.points, (9, 1)), classes=np.tile(surface.classes, 9))
    svg = plots.lens_maps(answer, [LensMap(answer.arms[0].id, 0, many)])
    assert len(re.findall("<use ", svg)) == 100 + 3
    assert plots.lens_maps(answer, []) == plots.lens_maps(answer, [LensMap("another arm", 0, surface)]) == ""


def test_notes_of_runs_are_said_once(study):
    terms = terms_of()
    for alpha in ARMS:
        for seed in range(SEEDS):
            notes = ["fitted on val.", *(["odd"] if seed == 1 and alpha else []), *(["many"] if seed > 2 else [])]
            notes += [f"number {seed}"] if alpha == 1.0 else []
            notes += [f"seed {seed}"] if alpha == 0.4 else []
            made = finding(alpha, seed, terms[alpha][seed], notes=tuple(notes))
            write_finding(run_dir(study, alpha, seed), made)
    notes = section_of(study).notes
    assert notes[:3] == ("fitted on val.", "many (15 of 24 runs).", "seed 0 (mixup-a0.4 seed 0).")
    assert "odd (mixup-a0.4 seed 1; mixup-a1 seed 1)." in notes
    assert (len(notes), notes[-1]) == (13, "7 more notes are in lens/ of the runs.")


def test_every_view_shows_the_section(study):
    answer = answer_of(study)
    (section,) = answer.lenses
    html, md, data = page(answer), markdown(answer), json.loads(as_json(answer))
    assert ">Calibration</h2>" in html
    assert section.sentence.replace(" %", "\u00a0%") in unescape(html)
    assert "corrected (Holm) for the number of arms within one score, not for the number of scores" in html
    assert html.count(section.about) == md.count(section.about) == 1
    assert md.count("corrected (Holm) for the number of arms within one score") == 1
    for label in ("difference to the baseline in nll; left of zero is better", "confidence", "share"):
        assert f">{label}</text>" in html
    (row,) = [line for line in md.splitlines() if line.startswith("| mixup-a0.4 | 1.")]
    nll = score_of(section, "nll")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1].startswith(f"{nll.means['id0.4'].mean:.3f}; ▲ −0.3"), "mean, sign of the verdict, difference"
    assert cells[3].count("▲") == cells[3].count("?") == 0, "shift has no verdict"
    assert data["lenses"][0]["scores"][0]["comparisons"]["id0.4"]["code"] == "helps"
    assert data["lenses"][0]["sentence"] == section.sentence
    assert data["lenses"][0]["scores"][2]["metric"]["maximize"] is None


def test_a_line_on_the_terminal_and_nothing_new_in_csv(study, capsys):
    before = (study / "results.csv").read_text() if (study / "results.csv").exists() else None
    assert before is None
    for path in study.rglob("calibration.json"):
        path.rename(path.with_suffix(".away"))
    report.main([str(study)])
    without = (study / "results.csv").read_text()
    capsys.readouterr()
    for path in study.rglob("calibration.away"):
        path.rename(path.with_suffix(".json"))
    report.main([str(study)])
    out = capsys.readouterr().out
    assert (study / "results.csv").read_text() == without
    (section,) = answer_of(study).lenses
    assert [line for line in out.splitlines() if line.startswith("Calibration")] == [f"Calibration: {section.sentence}"]


def test_a_lens_is_not_a_look_at_the_study(study):
    (study / "study.json").write_text(manifest(looks=[4]))
    answer = answer_of(study)
    (section,) = answer.lenses
    assert {arm.comparison.look for arm in answer.arms if arm.comparison} == {2}
    assert store.read_looks(study) == (4,)
    for score in section.scores:
        assert {(one.look, one.level) for one in score.comparisons.values()} == {(1, 0.04)}


def test_hostile_words_of_a_finding_do_nothing(study, capsys):
    evil = "<script>alert(1)</script>|`*x*`[red]\x1b[31m{{ 7 * 7 }}\udcff"
    for path in study.rglob("calibration.json"):
        content = json.loads(path.read_text())
        content |= {"title": f"T{evil}", "about": f"A{evil}", "notes": [f"N{evil}"], "settings": {f"S{evil}": evil}}
        content["scores"] = {f"nll{evil}": {**content["scores"]["ece"], "about": evil}}
        for line in content["lines"]:
            line |= {"name": f"L{evil}", "x_label": f"X{evil}", "y_label": f"Y{evil}"}
        path.write_text(json.dumps(content))
    report.main([str(study)])
    out = capsys.readouterr().out
    html, md = ((study / name).read_text() for name in ("report.html", "report.md"))
    assert "<script" not in html.lower()
    assert "<script" not in md
    assert "{{ 7 * 7 }}" in unescape(html)
    assert not {"\x1b", "\udcff"} & {*html, *md, *out}
    assert "[red]" in out
    rows = [line for line in md.splitlines() if line.startswith("| mixup-a0.4 |")]
    assert len(rows) > 2
    Console(file=io.StringIO()).print(out, markup=False)
