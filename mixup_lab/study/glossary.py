"""The columns of the table and the words of the verdicts, explained."""

from mixup_lab.study.formats import magnitude, p_value
from mixup_lab.study.results import Answer
from mixup_lab.study.shown import knows_new_data

MEANS = ("accuracy", "subset_accuracy", "loss", "mae")  # metrics that are means over examples


def explanation(answer: Answer) -> dict[str, str]:
    """The meaning of the columns and verdicts, by term, for readers without training in statistics."""
    metric = answer.metric
    against = [arm.comparison for arm in answer.arms if arm.comparison]
    better = "above zero is better" if metric.maximize else "below zero is better"
    point = " A point is one hundredth: from 97 % to 98 % is one point." if metric.percent else ""
    examples = max((comparison.test_examples or 0 for comparison in against), default=0)
    basis = f" It rests on {examples:,} different test examples." if examples else ""
    if against and not knows_new_data(answer):
        basis = " There is none here: it needs a score of the metric for each test example of every run."
    elif metric.name not in MEANS:
        basis += " This metric is not a mean over examples; leaving out each example shows what it contributes."
    reach = min((comparison.smallest_p for comparison in against), default=1.0)
    least = f" The smallest p that this study can reach for its best arm is {p_value(reach)}." if against else ""
    effect = magnitude(answer.min_effect, metric) if answer.min_effect else "that number"
    return {
        "Difference": (
            "The arm minus its baseline, on test, seed by seed. Two runs of one seed share the split of the data, the "
            "first weights and the order of the examples, so only the compared settings differ. "
            f"Here {better}.{point}"
        ),
        "Interval for retraining": (
            "Train again with other seeds, test on the very same examples, and the mean difference comes out a little "
            "different. This interval allows for that luck alone. Of 100 intervals made in this way, about 95 contain "
            "the true value."
        ),
        "Interval for new data": (
            "It allows for the luck of training and for the luck of which examples happen to be in the test set. "
            f"Look at this one if the model will be used on data that it was not tested on.{basis}"
        ),
        "p after Holm": (
            "If the arm made no difference at all, each seed would come out ahead or behind as a coin falls. p is how "
            "often coins alone give a mean difference as large as the one seen. Try many arms, and one of them will "
            "look good by luck; Holm's correction raises p to make up for that. Few seeds cannot give a small p, "
            f"whatever they show.{least}"
        ),
        "Helps, hurts": (
            "Both for other trainings and for other data, p after Holm is at most 0.05. "
            "These words and their rules were fixed before any run."
        ),
        "Helps (hurts) on this test set": (
            "p is at most 0.05 for other trainings on these test examples. For other test examples, these runs do not "
            "show it."
        ),
        "No difference larger than …": (
            f"Whatever the difference is, gain or loss, it is shown to be smaller than {effect}, "
            "the smallest difference that counts as one."
        ),
        "Cannot tell": (
            "These runs are compatible with a gain and with none. That is not the same as no difference. "
            "Where more seeds would probably settle it, the table gives about how many. "
            "Where the test set is called too small, only more test examples would settle it."
        ),
        "Trials": (
            "How many configurations were tried with mixing and how many without. "
            "The side that was tried more often had more chances to look good."
        ),
    }
