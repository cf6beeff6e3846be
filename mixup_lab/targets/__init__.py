"""What a target is: the loss per example, how outputs are read, the metrics."""
