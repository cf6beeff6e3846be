"""`trainer.batch_size=auto` and `trainer.epochs=auto`: the rule, and runs that follow it."""

import math

import pytest
import torch
from helpers.cases import each
from helpers.command_line import in_this_process
from helpers.processes import board_of, lines_of, summary_of
from helpers.trainings import QUIET, Training, config_of, without_time
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mixup_lab.config.assemble import ingredients
from mixup_lab.config.identity import fingerprint
from mixup_lab.training import auto
from mixup_lab.training.batches import Batches
from mixup_lab.types import UserError

FAKE = ("dataset=fake", "dataset.shape=[1,4,4]", "model=mlp", "model.hidden=[4]", *QUIET)


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def test_the_rule_by_its_words():
    """Trying every candidate, from the sentences of the guide."""
    for n in [*range(1, 3000), 12_345, 10**6]:
        powers = [2**k for k in range(30) if 2**k <= n / 16]
        size = min(max(powers[-1] if powers else 0, 8), 128)
        assert auto.batch_size(n) == size, n
        for given in {size, 1, 128}:
            steps = math.floor(n / given)
            enough = [epochs for epochs in range(20, 101) if epochs * steps >= 500]
            assert auto.epochs(n, given) == (enough[0] if enough else 100), (n, given)


@each(
    "words, chosen",
    [
        ((), {"trainer.batch_size": 8, "trainer.epochs": 46}),  # 90 examples: 11 steps an epoch
        (("trainer.batch_size=30",), {"trainer.epochs": 100}),
        (("trainer.epochs=2",), {"trainer.batch_size": 8}),
        (("trainer.epochs=2", "trainer.batch_size=30"), {}),
    ],
)
def test_numbers_are_printed_recorded_and_followed(words, chosen, line, tmp_path):
    run = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
    code, out, _ = line(
        "train", *FAKE, "dataset.train_size=90", "trainer.progress=plain", *words, f"hydra.run.dir={run}"
    )
    assert code == 0
    typed = {key: int(value) for key, _, value in (word.partition("=") for word in words)}
    numbers = {**typed, **chosen}
    size, epochs = numbers["trainer.batch_size"], numbers["trainer.epochs"]
    start, *events, _ = lines_of(run)
    assert start["chosen"] == chosen
    assert (start["epochs"], start["steps_per_epoch"]) == (epochs, 90 // size)
    assert [event["step"] for event in events] == [k * (90 // size) for k in range(1, epochs + 1)]
    shown = [f"batch size {size}"] * ("trainer.batch_size" in chosen) + [f"{epochs} epochs"] * (
        "trainer.epochs" in chosen
    )
    auto_part = f"auto: {', '.join(shown)} (n = 90 training examples); " if chosen else ""
    steps = 90 // size
    pace = f"{steps} steps an epoch, {steps * epochs:,} in all"
    remedy = ": lower trainer.batch_size or raise trainer.epochs" if steps * epochs < 200 else ""
    assert out.splitlines()[0] == f"baseline seed=0: {auto_part}{pace}{remedy}"
    assert f"  epoch {epochs}/{epochs}  " in out
    assert f"trainer:\n  epochs: {typed.get('trainer.epochs', 'auto')}\n" in (run / "config.yaml").read_text()
    content = board_of(run).summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(content).session_start_info.hparams
    assert (hparams["epochs"].number_value, hparams["batch_size"].number_value) == (epochs, size)


def test_auto_trains_like_its_numbers_and_is_another_run(tmp_path):
    base = (*FAKE, "dataset.train_size=90")
    typed = ("trainer.batch_size=8", "trainer.epochs=46")
    by_rule, by_hand = (
        Training(tmp_path / name, *words, base=base) for name, words in (("auto", ()), ("typed", typed))
    )
    assert without_time(by_rule.run()) == without_time(by_hand.run())
    prints = {fingerprint(config_of(*base, *words).resolved, {}) for words in ((), typed, typed[:1], typed[1:])}
    assert len(prints) == 4


@each(
    "word, sentence",
    [
        ("trainer.epochs=0", "trainer.epochs must be auto or a whole number, at least 1, got 0"),
        ("trainer.batch_size=many", "trainer.batch_size must be auto or a whole number, at least 1, got many"),
        ("trainer.epochs=2.5", "trainer.epochs must be auto or a whole number, at least 1, got 2.5"),
        ("trainer.epochs=true", "trainer.epochs must be auto or a whole number, at least 1, got True"),
        ("trainer.batch_size=null", "trainer.batch_size must be auto or a whole number, at least 1, got null"),
    ],
)
def test_other_values_are_refused(word, sentence):
    with pytest.raises(UserError) as caught:
        config_of(word)
    assert str(caught.value) == sentence


def test_what_the_number_does_not_suit(tmp_path):
    with pytest.raises(UserError, match=r"trainer.accumulate=9 cuts .* than trainer.batch_size=8 has"):
        Training(tmp_path, "trainer.accumulate=9", "dataset.train_size=90", base=FAKE)
    with pytest.raises(UserError, match=r"trainer.batch_size=8 is larger than the training split \(5 examples\)"):
        Training(tmp_path, "dataset.train_size=5", "dataset.num_classes=2", base=FAKE)


def test_a_run_does_not_go_on_with_other_numbers(line, tmp_path):
    words = [word for word in FAKE if not word.startswith("trainer.progress")]
    assert line("train", *words, "dataset.train_size=90", "trainer.max_seconds=1e-6", "hydra.run.dir=run")[0] == 0
    run = tmp_path / "run"
    (run / "summary.json").unlink()
    path = run / "checkpoint.pt"
    content = torch.load(path, weights_only=True)
    assert content["length"] == {"batch_size": 8, "epochs": 46}
    torch.save({**content, "length": {"batch_size": 16, "epochs": 50}}, path)
    before = path.read_bytes()
    code, _, err = line("train", "resume=run")
    assert code == 2
    assert err.endswith(
        "checkpoint.pt was begun with trainer.batch_size=16 trainer.epochs=50, and auto is"
        " trainer.batch_size=8 trainer.epochs=46 now\n"
    )
    assert err.count("\n") == 1
    assert path.read_bytes() == before
    assert not (run / "summary.json").exists()
    torch.save(content, path)
    assert line("train", "resume=run")[0] == 0
    assert summary_of(run)["status"] == "ok"


def test_a_preview_has_batches_of_the_number():
    parts = ingredients(config_of(*FAKE, "dataset.train_size=90"))
    assert Batches(parts).size == 8
