"""Inputs and targets that the lenses with weights do not know."""

import pytest
from helpers.trained_runs import run_with_weights

from mixup_lab.evaluation.between import Between
from mixup_lab.evaluation.corruptions import Corruptions
from mixup_lab.evaluation.lens import Unsuited
from mixup_lab.evaluation.robustness import Robustness


@pytest.mark.parametrize("lens", [Robustness(), Between(), Corruptions()])
def test_texts_cannot_be_changed_a_little(tmp_path, lens):
    rows = [f"{'good fun' if i % 2 else 'bad film'} {i},{'yes' if i % 2 else 'no'}" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", *rows]))
    run = run_with_weights(
        tmp_path, "dataset=text_table", f"dataset.root={tmp_path / 't.csv'}", "model=text_cnn", "trainer.device=cpu"
    )
    name = type(lens).__name__.lower()
    with pytest.raises(Unsuited, match=f"{name} needs inputs that are numbers, such as pixels, and these are texts"):
        lens.measure(run, [])
