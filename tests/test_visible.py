"""Scores as one line shows them."""

from mixup_lab.visible import score


def test_scores_keep_their_digits():
    shown = {0.97222: "0.9722", 1.0: "1.0000", 0.0: "0.0000", -0.5: "-0.5000", 12.3456: "12.346", 48213.7: "48214",
             3.41251e-7: "3.4125e-07", -2e-9: "-2e-09", float("nan"): "nan"}  # fmt: skip
    assert {value: score(value) for value in shown} == shown
