"""One run: the training step, the loop around it, evaluation, checkpoints, precision and device."""
