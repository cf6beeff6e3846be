"""Names of metrics: the split that a name contains, whether more is better, and whether it is a fraction."""

import re

from mixup_lab.files.keys import SPLIT_NAMES

# Fractions between 0 and 1: shown in percent, differences in points.
PERCENT = (
    "accuracy", "balanced_accuracy", "subset_accuracy", "pixel_accuracy", "macro_recall", "recall", "precision",
    "specificity", "sensitivity", "auroc", "auc", "f1", "micro_f1", "macro_f1", "map", "map50", "map75", "iou", "miou",
    "dice", "ece", "top1", "top5",
)  # fmt: skip
# Words of names, as in "log_loss", "Top1Error" or "hd95".
SMALLER = {
    "loss", "logloss", "mlogloss", "cost", "error", "err", "errors", "rmse", "mae", "mse", "mape", "smape", "wape",
    "msle", "rmsle", "rmsd", "mase", "nll", "ece", "mce", "ace", "brier", "entropy", "perplexity", "ppl", "bpc", "bpb",
    "wer", "cer", "ter", "eer", "der", "fid", "kid", "fad", "lpips", "distance", "distances", "dist", "hd",
    "hausdorff", "assd", "asd", "emd", "fpr", "fnr", "far", "frr", "deviance", "divergence", "kl", "regret",
}  # fmt: skip
LARGER = {
    "accuracy", "acc", "recall", "precision", "specificity", "sensitivity", "auroc", "auc", "auprc", "ap", "map", "mar",
    "f1", "f2", "fbeta", "iou", "miou", "jaccard", "dice", "r2", "bleu", "rouge", "meteor", "chrf", "psnr", "ssim",
    "mcc", "kappa", "correlation", "pearson", "spearman", "kendall", "score", "reward", "ndcg", "mrr", "tpr", "tnr",
    "top1", "top5",
}  # fmt: skip
_PREFIX = re.compile(r"^(metrics|summary|scalars|logs?)[./]", re.IGNORECASE)  # MLflow and wandb
_SUFFIX = re.compile(r"(/dataloader_idx_\d+|[/_]epoch(_end)?)$", re.IGNORECASE)  # Lightning
_SPLIT = "|".join(SPLIT_NAMES)
_FIRST = re.compile(rf"({_SPLIT})[/_.\- ]+(.+)", re.IGNORECASE)
_LAST = re.compile(rf"(.+?)[/_.\- ]+({_SPLIT})", re.IGNORECASE)


def tag(name: str) -> str:
    """A metric's name as the records of this program spell it: "test/accuracy" for "metrics.test_acc".

    A name without a split stays without one; see `metric.of` for its meaning.
    """
    plain = _SUFFIX.sub("", _PREFIX.sub("", name.strip()))
    split = ""
    if match := _FIRST.fullmatch(plain):
        split, plain = SPLIT_NAMES[match[1].lower()], match[2]
    elif match := _LAST.fullmatch(plain):
        split, plain = SPLIT_NAMES[match[2].lower()], match[1]
    plain = re.sub(r"(?<![^\W_])acc(?![^\W_])", "accuracy", plain, flags=re.IGNORECASE)
    return f"{split}/{plain}" if split else plain


def words(name: str) -> list[str]:
    """The words of a name in lower case: "Top1Error" has "top1", "top" and "error"; "mIoU" has "miou"."""
    parts = re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*", name) + re.findall(r"[^\W_]+", name)
    lower = [part.lower() for part in parts]
    return [*lower, *(part.rstrip("0123456789") for part in lower if part[-1].isdigit())]


def more_is_better(name: str) -> bool | None:
    """The direction of a metric by its name; None where the name does not tell it.

    >>> more_is_better("accuracy"), more_is_better("val_RMSLE"), more_is_better("dice_loss"), more_is_better("gizmo")
    (True, False, False, None)
    """
    parts = words(name)
    if {"neg", "negative", "inverse", "minus"} & {*parts}:  # neg_mean_squared_error of scikit-learn
        return None
    if SMALLER & {*parts}:
        return False
    return True if LARGER & {*parts} else None


def is_percent(name: str) -> bool:
    """Whether a metric is a fraction between 0 and 1."""
    return name.lower() in PERCENT
