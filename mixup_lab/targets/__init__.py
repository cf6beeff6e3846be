"""Kinds of targets: for each its checks, its loss per example, and its metrics."""
