"""How long a run trains, in words. No torch."""

from mixup_lab.runs.record import Event

ENOUGH_STEPS = 200  # of a run; with fewer most models have not learnt anything when it ends


def about_length(facts: Event) -> str:
    """How long a run trains, in words, from its `start` event; with the remedy if that is hardly enough to learn.

    >>> chosen = {"trainer.batch_size": 64, "trainer.epochs": 25}
    >>> about_length({"chosen": chosen, "epochs": 25, "steps_per_epoch": 20, "data": {"train": 1293}})
    'auto: batch size 64, 25 epochs (n = 1,293 training examples); 20 steps an epoch, 500 in all'
    """
    steps, epochs = facts["steps_per_epoch"], facts["epochs"]
    pace = f"{steps:,} step{'s' * (steps != 1)} an epoch, {steps * epochs:,} in all"
    if steps * epochs < ENOUGH_STEPS:
        pace += ": lower trainer.batch_size or raise trainer.epochs"
    words = {"trainer.batch_size": "batch size {}", "trainer.epochs": "{} epochs"}
    chosen = ", ".join(words[key].format(value) for key, value in facts["chosen"].items())
    return f"auto: {chosen} (n = {facts['data'].get('train', 0):,} training examples); {pace}" if chosen else pace
