"""A run on disk: record, summary, files, TensorBoard, progress."""
