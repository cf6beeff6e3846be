"""Encoders: from stored pictures, rows of a table, texts and sounds to the inputs of a model."""
