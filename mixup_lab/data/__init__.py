"""Examples: sources, splits, resident and streaming batches, transforms."""
