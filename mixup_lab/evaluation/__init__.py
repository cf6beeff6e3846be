"""Lenses: closer looks at finished runs. One file here and one yaml in `conf/lens` for each."""
