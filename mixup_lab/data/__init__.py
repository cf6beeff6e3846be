"""From sources to batches: splits, resident and streaming feeds."""
