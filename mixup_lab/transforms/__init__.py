"""Augmentation of single examples: one file for each option of `conf/transform`."""
