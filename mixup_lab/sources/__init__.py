"""Data sets: one file for each option of `conf/dataset`."""
