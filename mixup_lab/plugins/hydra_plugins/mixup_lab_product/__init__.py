"""`hydra/sweeper=product`: a run for each combination of values; what runs share is composed once."""
