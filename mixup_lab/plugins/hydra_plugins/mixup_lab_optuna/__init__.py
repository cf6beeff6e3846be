"""`hydra/sweeper=optuna`: a search over settings for the best val metric."""
