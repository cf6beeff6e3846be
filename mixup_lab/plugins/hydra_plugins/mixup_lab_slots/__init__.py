"""`hydra/launcher=slots`: the runs of a sweep side by side on one machine, each in a fresh process."""
