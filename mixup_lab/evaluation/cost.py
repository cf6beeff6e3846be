"""Cost: time and memory of an epoch, and time until a run is as good on val as its baseline is at the end."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mixup_lab.evaluation.finished import Finished, baseline
from mixup_lab.evaluation.lens import Found, Lens, Unsuited
from mixup_lab.runs.findings import Score
from mixup_lab.runs.record import read_epochs


@dataclass
class Cost(Lens):
    """See `about`."""

    title = "Cost"
    about = (
        "Whether mixing makes an epoch longer, and whether a run needs more epochs to be as good: the first epoch whose"
        " val score is at least the last val score of the baseline of the same seed. For a baseline this is its own"
        " last score, which it may reach before the end. A run that never reaches it has no such time and is left out,"
        " so that the mean over seeds flatters an arm that often fails to: the notes say which do. Times are comparable"
        " where runs had the same machine and the same neighbours. Memory is recorded on CUDA devices alone."
    )

    def companions(self, run: Finished, others: Sequence[Finished]) -> Sequence[Finished]:
        base = baseline(run, others)
        return [] if base is None else [base]

    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        epochs = read_epochs(run.run_dir)
        seconds = [float(s) for event in epochs if (s := event["scalars"].get("time/epoch_seconds")) is not None]
        if not seconds:
            raise Unsuited("its record has no times of epochs")
        median = statistics.median(seconds)
        about = f"median of {len(seconds)} epochs, with the evaluation on train and val"
        found = Found({"seconds_per_epoch": Score(median, maximize=False, about=about)})
        if (peak := run.scalars.get("memory/peak_gib")) is not None:
            about = "largest memory of tensors on the CUDA device"
            found.scores["peak_gib"] = Score(peak, maximize=False, about=about)
        base = run if run.is_baseline else baseline(run, others)
        if base is None:
            found.notes.append("There is no baseline of this seed, whose val score this run could reach.")
            return found
        if base.start.get("device") != run.start.get("device"):
            found.notes.append(f"It ran on {run.start.get('device')}, its baseline on {base.start.get('device')}.")
        primary, sign = str(run.start["primary"]), 1 if run.start["maximize"] else -1
        goal = base.scalars[f"val/{primary}"]
        scores = [(event, float(event["scalars"].get(f"val/{primary}", "nan"))) for event in epochs]
        reached = next((event for event, score in scores if sign * score >= sign * goal), None)
        if reached is None:
            found.notes.append(f"It never reaches the last val {primary} of its baseline, {goal:.4g}.")
            return found
        about = f"until val {primary} is first as good as that of the baseline of this seed at the end"
        found.scores |= {
            "epochs_to_baseline": Score(float(reached["epoch"]), maximize=False, about=f"epochs {about}"),
            "seconds_to_baseline": Score(float(reached["seconds"]), maximize=False, about=f"seconds {about}"),
        }
        return found
