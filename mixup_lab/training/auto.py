"""`trainer.batch_size=auto` and `trainer.epochs=auto`: the rule. No torch here.

It depends on the number of training examples alone, so a run has the same length on every machine. Small data need
small batches and more epochs, since a model learns by steps: 150 rows in batches of 128 make one step an epoch.
"""

AUTO = "auto"
BATCH_SIZES = (8, 128)  # the smallest and the largest
STEPS_PER_EPOCH = 16  # at least, where the batch size is free to be that small
EPOCHS = (20, 100)
STEPS = 500  # in all, if the most epochs are enough for that


def batch_size(examples: int) -> int:
    """The largest power of two up to `examples` / 16, but from 8 to 128.

    >>> [batch_size(n) for n in (5, 150, 270, 1293, 50_000)]
    [8, 8, 16, 64, 128]
    """
    least, most = BATCH_SIZES
    power = 1 << (examples // STEPS_PER_EPOCH).bit_length() >> 1
    return min(most, max(least, power))


def epochs(examples: int, batch_size: int) -> int:
    """20 epochs, or as many as make 500 steps, but at most 100; incomplete batches are left out.

    >>> [epochs(n, batch_size(n)) for n in (30, 150, 270, 1293, 50_000)]
    [100, 28, 32, 25, 20]
    """
    least, most = EPOCHS
    needed = -(-STEPS // max(1, examples // batch_size))
    return min(most, max(least, needed))
