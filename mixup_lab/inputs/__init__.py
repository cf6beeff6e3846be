"""What a model is given: pictures, rows of a table, tokens, spectrograms."""
