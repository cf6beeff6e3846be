"""The answer in sentences: one for each block of the study, and the details that belong to it."""

import statistics as stats
from collections import Counter
from collections.abc import Mapping

from mixup_lab.runs.store import MIXING
from mixup_lab.study.formats import difference, interval, magnitude, value
from mixup_lab.study.results import Answer, Arm, Choice, Comparison, Honest, Metric

ORDINALS = {2: "second", 3: "third"}
FAR = 5  # standard deviations of a normal law, by the median absolute deviation
NORMAL_MAD = 1.4826  # times the median absolute deviation is the standard deviation of a normal law
FEWEST_FOR_MAD = 5
MOST_IN_ONE = 4  # blocks that the first sentence names one by one; more are only counted


def say(answer: Answer, blocks: Mapping[str, str], confirming: bool) -> tuple[str, tuple[str, ...]]:
    """The answer in a sentence, or in one for each block, and its details.

    Args:
        answer: all but these words.
        blocks: each baseline with the name of its block, in order; those without a choice too.
        confirming: whether these are the fresh runs of a confirmation, which did not choose an arm.
    """
    if not answer.choices:
        return _without_choice(answer)
    return _one(answer, confirming) if len(blocks) == 1 else _several(answer, blocks, confirming)


def say_by_score(answer: Answer) -> str:
    """The verdicts by a score of a lens on the arms that val chose, with numbers: a sentence for each block.

    Without a choice it is about the first arm that is compared. `answer` has the arms compared by this score.
    """
    by = "" if answer.metric.maximize is None else f"By {answer.metric.name}"
    if len(answer.choices) > MOST_IN_ONE and answer.metric.maximize is not None:
        summary = _summary(answer, {choice.baseline: choice.block for choice in answer.choices})
        return f"{by}, {summary[0].lower()}{summary[1:]}"
    chosen = [(choice.block, _compared(answer, choice)[0], f" ({_role(choice, False)})") for choice in answer.choices]
    chosen = chosen or [("", arm, "") for arm in answer.arms if arm.comparison is not None][:1]
    if not chosen:
        return "There is no arm to compare with the baseline."
    heads = [", ".join(filter(None, (by, f"with {block}" if block else ""))) for block, _, _ in chosen]
    clauses = [_judged(arm, f"{arm.name}{role}", answer) for _, arm, role in chosen]
    return " ".join(
        f"{head[:1].upper()}{head[1:]}{', ' * bool(head)}{clause}." for head, clause in zip(heads, clauses, strict=True)
    )


def _judged(arm: Arm, subject: str, answer: Answer) -> str:
    comparison = arm.comparison
    assert comparison is not None
    numbers = "" if comparison.mean is None else _numbers(comparison, comparison.mean, answer.metric)
    if answer.metric.maximize is None:
        return f"{subject}: {numbers or 'no complete pair'}"
    why = answer.obstacles.get(arm.baseline or "")
    clause = f"no verdict on {subject}, since {why}" if why else _clause(subject, comparison)
    return f"{clause}; {numbers}" if numbers else clause


def _one(answer: Answer, confirming: bool) -> tuple[str, tuple[str, ...]]:
    """For a study of one block."""
    (choice,) = answer.choices
    if choice.baseline in answer.obstacles:
        return f"No verdict: {answer.obstacles[choice.baseline]}.", ()
    arm, comparison = _compared(answer, choice)
    sentence = f"{_capital(_clause(f'{arm.name} ({_role(choice, confirming)})', comparison))}."
    if comparison.mean is None:
        return sentence, ()
    details = [f"{_numbers(comparison, comparison.mean, answer.metric, choice.honest)}.", *_common_details(answer)]
    if not confirming:
        details += [*_optimism(choice, answer.metric), *_trials(answer)]
    return sentence, tuple(details)


def _without_choice(answer: Answer) -> tuple[str, tuple[str, ...]]:
    """Where no arm can be chosen: there are no val scores, as in many tables of other trainers."""
    compared = [(arm, arm.comparison) for arm in answer.arms if arm.comparison and arm.comparison.mean is not None]
    if not compared:
        return "There is no answer yet: no arm besides the baseline has finished a run.", ()
    if answer.obstacles:
        return " ".join(f"No verdict: {why}." for why in dict.fromkeys(answer.obstacles.values())), ()
    clauses = {arm.name: _clause(arm.name, one) for arm, one in compared}
    numbers = {arm.name: _numbers(one, one.mean or 0.0, answer.metric) for arm, one in compared}
    if len(compared) == 1:
        return f"{_capital(*clauses.values())}.", (f"{numbers[compared[0][0].name]}.", *_common_details(answer))
    helping, hurting = (
        [arm.name for arm, one in compared if one.code in (code, f"{code}_here")] for code in ("helps", "hurts")
    )
    verdicts = [
        f"{' and '.join(names)} {word if len(names) > 1 else f'{word}s'}"
        for names, word in ((helping, "help"), (hurting, "hurt"))
        if names
    ]
    sentence = "; ".join(verdicts) or f"None of {len(compared)} arms is shown to help or to hurt"
    details = [f"{_capital(clauses[name])}; {numbers[name]}." for name in clauses]
    details.append("There are no val scores, so no arm is chosen as the best one.")
    return f"{sentence}.", (*details, *_folds(answer), *_looks(answer), *_far_out(answer))


def _several(answer: Answer, blocks: Mapping[str, str], confirming: bool) -> tuple[str, tuple[str, ...]]:
    """For a study of several blocks: each has its own answer."""
    clauses = _clauses(answer, blocks, confirming)
    choices = {choice.baseline: choice for choice in answer.choices}
    compared = {base: _compared(answer, choice)[1] for base, choice in choices.items()}
    numbers = {
        base: _numbers(one, one.mean, answer.metric, choices[base].honest)
        for base, one in compared.items()
        if one.mean is not None and base not in answer.obstacles
    }
    if len(blocks) <= MOST_IN_ONE:
        sentence = " ".join(f"With {blocks[base]}: {clause}." for base, clause in clauses.items())
        details = [f"With {blocks[base]}: {words}." for base, words in numbers.items()]
    else:
        sentence = _summary(answer, blocks)
        whole = {base: f"{clause}; {numbers[base]}" if base in numbers else clause for base, clause in clauses.items()}
        details = [f"With {blocks[base]}: {words}." for base, words in whole.items()]
    details += _common_details(answer)
    if not confirming:
        details += [*_best_unmixed(answer, blocks), *_optimism_of_several(answer), *_trials(answer)]
    return sentence, tuple(details)


def _clauses(answer: Answer, blocks: Mapping[str, str], confirming: bool) -> dict[str, str]:
    """The verdict of each block by its baseline. How an arm was chosen is repeated only where it changes."""
    choices = {choice.baseline: choice for choice in answer.choices}
    clauses, last = {}, ""
    for base in blocks:
        choice = choices.get(base)
        if choice is None:
            clauses[base] = "no arm besides the baseline has finished a run"
            continue
        if base in answer.obstacles:
            clauses[base] = f"no verdict, since {answer.obstacles[base]}"
            continue
        arm, comparison = _compared(answer, choice)
        role, name = _role(choice, confirming), name_in_block(arm, answer)
        clauses[base] = _clause(name if role == last else f"{name} ({role})", comparison)
        last = role
    return clauses


def _summary(answer: Answer, blocks: Mapping[str, str]) -> str:
    """How many blocks have each verdict."""
    counts = Counter(_compared(answer, choice)[1].code for choice in answer.choices)
    found = [f"{phrase} in {counts[code]}" for code, phrase in effects(answer).items()
             if counts[code] or code in ("helps", "hurts")]  # fmt: skip
    open_ones = {
        "cannot tell": counts["cannot_tell"],
        "no verdict": counts["no_verdict"],
        "no answer yet": len(blocks) - len(answer.choices),
    }
    ends = [f"{phrase} in {number}" for phrase, number in open_ones.items() if number]
    return "; ".join([f"Of {len(blocks)} settings, mixing {', '.join(found)}", *ends]) + "."


def effects(answer: Answer) -> dict[str, str]:
    """The verdicts that name an effect, by their codes, as predicates."""
    place = "these data" if answer.carved else "this test set"
    return {
        "helps": "helps",
        "hurts": "hurts",
        "helps_here": f"helps on {place} alone",
        "hurts_here": f"hurts on {place} alone",
        "no_difference": f"makes no difference larger than {magnitude(answer.min_effect, answer.metric)}",
    }


# ---- parts of sentences ---------------------------------------------------------------------------------------------


def _compared(answer: Answer, choice: Choice) -> tuple[Arm, Comparison]:
    arm = next(arm for arm in answer.arms if arm.id == choice.arm)
    assert arm.comparison is not None
    return arm, arm.comparison


def _clause(subject: str, comparison: Comparison) -> str:
    """The fixed words of the verdict with their subject, without a full stop."""
    words = comparison.words
    if comparison.code == "cannot_tell":
        reason = words.removeprefix("cannot tell").removeprefix(": ")
        return f"cannot tell whether {subject} helps: {'it ' if reason.startswith('probably') else ''}{reason}"
    return f"{subject} makes {words}" if comparison.code == "no_difference" else f"{subject} {words}"


def _capital(clause: str) -> str:
    """The clause as the beginning of a sentence; the name of an arm keeps its first letter."""
    return f"C{clause[1:]}" if clause.startswith("cannot tell") else clause


def _role(choice: Choice, confirming: bool) -> str:
    if confirming:
        return "the arm to confirm"
    return f"best on val of {choice.candidates} arms" if choice.candidates > 1 else "the only arm"


def name_in_block(arm: Arm, answer: Answer) -> str:
    """An arm's name without the settings in the name of its block, if it is still unique there."""
    keys = {axis.rpartition(".")[2] for axis in answer.axes if axis.partition(".")[0] not in MIXING}

    def short(name: str) -> str:
        # After " (" comes the folder of an arm with the same name as an arm in another block.
        parts = name.partition(" (")[0].split(",")
        return ",".join(part for part in parts if part.partition("=")[0] not in keys)

    base = arm.baseline or arm.id
    names = [short(other.name) for other in answer.arms if base in (other.id, other.baseline)]
    return short(arm.name) if names.count(short(arm.name)) == 1 else arm.name


def _numbers(comparison: Comparison, mean: float, metric: Metric, honest: Honest | None = None) -> str:
    """The difference and its interval, and both without the luck of choosing; without a full stop."""
    n = len(comparison.seeds)
    unit = " points" if metric.percent else ""
    ends = comparison.new_data or comparison.retraining
    kind = "95 % interval for new data" if comparison.new_data else "95 % interval over seeds"
    if ends is None:
        spread = "no interval"
    elif any(_shows(end, metric) for end in ends):
        spread = f"{kind} {interval(ends, metric)}{unit}"
    else:
        spread = f"the {kind} holds no other value"
    lower = " (lower is better)" if metric.maximize is False else ""
    change = f"{metric.label} {difference(mean, metric)} against the baseline{lower}"
    if not _shows(mean, metric):
        change = f"{metric.label} equal to the baseline's{' to two decimals' * metric.percent}"
    luck = ""
    if honest is not None and difference(honest.mean, metric) != difference(mean, metric):
        bounds = interval(honest.new_data or honest.retraining, metric)
        left = difference(honest.mean, metric) if _shows(honest.mean, metric) else "nothing is left of it"
        luck = f"; without the luck of choosing this arm {left} ({bounds})"
    return f"{change}, paired over {n} seed{'s' * (n != 1)}; {spread}{luck}"


def _common_details(answer: Answer) -> list[str]:
    return [*_other_effects(answer), *_folds(answer), *_looks(answer), *_far_out(answer)]


def _other_effects(answer: Answer) -> list[str]:
    """Arms that help or hurt although val did not choose them; the sentences of a trend name them better."""
    if answer.trend is not None:
        return []
    chosen = {choice.arm for choice in answer.choices}
    others = [(arm.name, arm.comparison) for arm in answer.arms if arm.comparison and arm.id not in chosen]
    return [f"{name}: {comparison.words}." for name, comparison in others if comparison.code in ("helps", "hurts")]


def _folds(answer: Answer) -> list[str]:
    """How a cross-validation was judged."""
    counts = sorted({arm.comparison.folds for arm in answer.arms if arm.comparison and arm.comparison.folds})
    if not counts:
        return []
    return [
        f"Cross-validation with {' and '.join(map(str, counts))} folds: the training sets of the folds overlap, so the"
        " interval for new data is that of Nadeau and Bengio (2003)."
    ]


def _looks(answer: Answer) -> list[str]:
    """A later look has to show more."""
    latest = max((arm.comparison for arm in answer.arms if arm.comparison), key=lambda one: one.look, default=None)
    if latest is None or latest.look == 1:
        return []
    name = ORDINALS.get(latest.look, f"{latest.look}th")
    return [
        f"This is the {name} look at this study: p must be at most {latest.level:g}, since whoever adds seeds until"
        " something shows finds something sooner or later."
    ]


def _far_out(answer: Answer) -> list[str]:
    """Seeds whose difference lies far from the others, as after a training that collapsed."""
    lines = []
    for arm in answer.arms:
        if arm.comparison is None or len(arm.comparison.differences) < FEWEST_FOR_MAD:
            continue
        values = arm.comparison.differences
        middle = stats.median(values)
        mad = stats.median(abs(value - middle) for value in values) * NORMAL_MAD
        # Scores of few examples come in steps, so that half of the differences may be equal.
        step = 1 / (arm.comparison.test_examples or 1000) if answer.metric.percent else 1e-6 * abs(middle)
        far = [k for k, value in enumerate(values) if abs(value - middle) > FAR * max(mad, step)]
        if far:
            which = ", ".join(f"seed {arm.comparison.seeds[k]} ({_zero(values[k], answer.metric)})" for k in far)
            verb = "lies" if len(far) == 1 else "lie"
            lines.append(
                f"{arm.name}: {which} {verb} far from the median {_zero(middle, answer.metric)}. The test takes a"
                " gain and a loss of the same size to be equally likely, and 8 seeds often miss a collapse that one"
                " training in 20 suffers."
            )
    return lines


# ---- what choosing does ---------------------------------------------------------------------------------------------


def _optimism(choice: Choice, metric: Metric) -> list[str]:
    sentences = []
    if choice.best_of_arms is not None and choice.candidates > 1 and _shows(choice.best_of_arms, metric):
        sentences.append(
            f"Choosing the best of {choice.candidates} arms made its val {metric.name} look better by about"
            f" {_size(choice.best_of_arms, metric)}."
        )
    if choice.best_epoch is not None and _shows(choice.best_epoch, metric):
        sentences.append(
            "The last epoch counts; the best epoch on val would have changed test by"
            f" {difference(choice.best_epoch if metric.maximize else -choice.best_epoch, metric)}."
        )
    return sentences


def _optimism_of_several(answer: Answer) -> list[str]:
    gains = [abs(one.best_of_arms) for one in answer.choices if one.best_of_arms is not None and one.candidates > 1]
    if not gains or not _shows(max(gains), answer.metric):
        return []
    return [
        f"Choosing the best arms made their val {answer.metric.name} look better by up to about"
        f" {_size(max(gains), answer.metric)}."
    ]


def _shows(change: float, metric: Metric) -> bool:
    """Whether a difference is more than zero as it is written."""
    return any(digit in "123456789" for digit in difference(change, metric))


def _zero(change: float, metric: Metric) -> str:
    """The difference, or a plain 0."""
    return difference(change, metric) if _shows(change, metric) else "0"


def _size(change: float, metric: Metric) -> str:
    return difference(abs(change), metric).lstrip("+")


def _best_unmixed(answer: Answer, blocks: Mapping[str, str]) -> list[str]:
    """The best setting without any mixing: a gain over a worse one need not be a gain over this one."""
    sign = 1 if answer.metric.maximize else -1
    scores = [(arm.val.mean, arm.id) for arm in answer.arms if arm.id in blocks and arm.val.mean is not None]
    if len(scores) < 2:
        return []
    mean, best = max(scores, key=lambda pair: sign * pair[0])
    score = f"{answer.metric.name} {value(mean, answer.metric)}"
    return [f"Without mixing, {blocks[best]} is best on val of {len(scores)} settings, with {score}."]


def _trials(answer: Answer) -> list[str]:
    unmixed = next(arm.trials for arm in answer.arms if arm.baseline is None)
    mixed = len(answer.arms) - unmixed
    if mixed in (0, unmixed):
        return []
    return [
        f"Configurations tried: {unmixed} without mixing, {mixed} with it; the test of each arm counts them (Holm)."
    ]
