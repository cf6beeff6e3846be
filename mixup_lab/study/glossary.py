"""The columns of the table and the words of the verdicts, explained."""

from mixup_lab.study import shown
from mixup_lab.study.formats import magnitude, p_value
from mixup_lab.study.results import Answer
from mixup_lab.study.statistics.p_values import FIRST_LOOK

MEANS = ("accuracy", "subset_accuracy", "loss", "mae")  # metrics that are means over examples


def explanation(answer: Answer) -> dict[str, str]:
    """The meaning of the columns and verdicts, by term, for readers without training in statistics."""
    metric = answer.metric
    against = [arm.comparison for arm in answer.arms if arm.comparison]
    better = "above zero is better" if metric.maximize else "below zero is better"
    point = " A point is one hundredth: from 97 % to 98 % is one point." if metric.percent else ""
    basis = f" It rests on {shown.basis(answer)}." if shown.basis(answer) else ""
    if any(comparison.test_groups for comparison in against):
        basis += " New data means new groups: the examples of one group are right or wrong together."
    if any(comparison.folds for comparison in against):
        basis += (
            " The folds of a cross-validation are trained on overlapping data, so that their differences are not"
            " independent; the interval is wider to allow for that (Nadeau and Bengio, 2003)."
        )
    elif not answer.carved:
        basis += " It does not allow for another training set."
    if against and not shown.knows_new_data(answer):
        basis = " There is none here: it needs a score of the metric for each test example of every run."
    elif metric.name not in MEANS:
        basis += " This metric is not a mean over examples; leaving out each example shows what it contributes."
    reach = min((comparison.smallest_p for comparison in against), default=1.0)
    least = f" The smallest p that this study can reach for its best arm is {p_value(reach)}." if against else ""
    again = "other splits of these data included" if answer.carved else "test on the very same examples"
    place = "these data" if answer.carved else "this test set"
    level = min((comparison.level for comparison in against), default=FIRST_LOOK)
    effect = magnitude(answer.min_effect, metric) if answer.min_effect else "that number"
    return {
        "Difference": (
            "The arm minus its baseline, on test, seed by seed. Two runs of one seed share the split of the data, the "
            "first weights and the order of the examples, so only the compared settings differ. "
            f"Here {better}.{point}"
        ),
        "Interval for retraining": (
            f"Train again with other seeds, {again}, and the mean difference comes out a little different. "
            "This interval allows for that luck alone. Of 100 intervals made in this way, about 95 contain the true "
            "value."
        ),
        "Interval for new data": (
            "It allows for the luck of training and for the luck of which examples happen to be in the test set. "
            f"Look at this one if the model will be used on data that it was not tested on.{basis}"
        ),
        "p after Holm": (
            "If the arm made no difference at all, each seed would come out ahead or behind as a coin falls. p is how "
            "often coins alone give a mean difference as large as the one seen. Try many arms, and one of them will "
            "look good by luck; Holm's correction raises p to make up for that. Few seeds cannot give a small p, "
            f"whatever they show.{least} Where an arm fails badly once in a while, coins are a poor picture: 8 seeds "
            "often miss a failure that happens once in 20 trainings."
        ),
        "Helps, hurts": (
            f"Both for other trainings and for other data, p after Holm is at most {level:g}. "
            "These words and their rules were fixed before any run. The first look at a study has the level 0.04, the "
            "second 0.005, and so on: all looks together are wrong in at most 5 % of studies."
        ),
        f"Helps (hurts) on {place}": (
            f"p is at most {level:g} for other trainings, {again}. For new data these runs do not show it."
        ),
        "No difference larger than …": (
            f"Whatever the difference is, gain or loss, it is shown to be smaller than {effect}, "
            "the smallest difference that counts as one."
        ),
        "Cannot tell": (
            "These runs are compatible with a gain and with none. That is not the same as no difference. "
            "Where more seeds would probably settle it, if the true difference is what these seeds show, the table "
            f"gives about how many. Where the {'data' if answer.carved else 'test'} set is called too small, only more "
            "test examples would settle it."
        ),
        "No verdict": (
            "The models have not learnt enough: the baseline is not better than an answer that ignores the input, or "
            "its score on val was still getting better in most runs when training ended. The difference of two such "
            "models says nothing about mixing."
        ),
        "Trials": (
            "How many configurations were tried with mixing and how many without. "
            "The side that was tried more often had more chances to look good."
        ),
    }
