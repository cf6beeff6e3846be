"""Data sets: one file for each option of `conf/dataset`, and what several of them share."""
