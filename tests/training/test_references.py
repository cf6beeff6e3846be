"""The trivial answer and the linear model of a run, against scikit-learn and against a plain count."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.data_examples import Given, prepared
from helpers.trainings import QUIET, config_of
from sklearn import metrics as sk
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import Ridge as SkRidge
from sklearn.preprocessing import StandardScaler

from mixup_lab.config.assemble import ingredients
from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.mixing.none import NoMixing
from mixup_lab.seeding import stream
from mixup_lab.targets.boxes import Boxes
from mixup_lab.targets.classes import Classes, Classification
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.pixels import Pixels
from mixup_lab.targets.tags import Tags
from mixup_lab.training import references
from mixup_lab.training.references import STRENGTHS, Ridge, linear_metrics, reference_scalars, trivial_metrics
from mixup_lab.types import VOID

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order_of_the_tests() -> None:
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def run(*words: str) -> Any:
    return ingredients(config_of(*QUIET, *words, "trainer.batch_size=16"))


def of(data: Any, **settings: Any) -> Any:
    """As much of a run as the references look at."""
    task = data.kind.task(data.train.target, CPU, **settings)
    return SimpleNamespace(data=data, task=task, seed=0, device=CPU, mixer=NoMixing())


def pictures(target: np.ndarray, kind: Any, side: int = 4, **settings: Any) -> Any:
    inputs = RNG.integers(0, 256, (len(target), 1, side, side), dtype=np.uint8)
    source = Given(Loaded(ArrayPool(inputs, target), None, None, kind))
    return of(prepared(source, val_fraction=0.3, test_fraction=0.3), **settings)


# ---- the trivial answer ---------------------------------------------------------------------------------------------


def test_of_classes_it_is_the_most_frequent_one() -> None:
    parts = pictures(RNG.choice(3, 100, p=[0.2, 0.7, 0.1]).astype(np.int64), Classes(("a", "b", "c")))
    train, test = parts.data.train.target, parts.data.test.target
    share = np.bincount(train, minlength=3) / len(train)
    found = trivial_metrics(parts)
    assert found["accuracy"] == pytest.approx((test == share.argmax()).mean())
    assert found["loss"] == pytest.approx(-np.log(share[test]).mean(), rel=1e-5)
    assert found["auroc"] == 0.5
    assert found["macro_f1"] == pytest.approx(sk.f1_score(test, np.full_like(test, share.argmax()), average="macro"))


def test_a_class_that_train_lacks_costs_a_finite_loss() -> None:
    task = Classes(("a", "b", "c")).task(np.array([0, 0, 1]), CPU)
    constant = task.constant(np.array([0, 0, 1]))
    np.testing.assert_allclose(constant.exp(), [2 / 3, 1 / 3, 1 / 6])


def test_of_numbers_it_is_the_mean() -> None:
    parts = pictures(RNG.normal(5, 3, (80, 2)).astype(np.float32), Numbers(("x", "y")))
    mean, test = parts.data.train.target.mean(0), parts.data.test.target
    found = trivial_metrics(parts)
    assert found["rmse"] == pytest.approx(np.sqrt(((test - mean) ** 2).mean(0)).mean(), rel=1e-5)
    assert found["mae"] == pytest.approx(np.abs(test - mean).mean(), rel=1e-5)
    assert -0.5 < found["r2"] <= 0


def test_of_tags_it_is_the_share_of_each() -> None:
    parts = pictures((RNG.random((120, 3)) < [0.8, 0.3, 0.1]).astype(np.float32), Tags(("p", "q", "r")))
    share, test = parts.data.train.target.mean(0), parts.data.test.target
    found = trivial_metrics(parts)
    assert found["map"] == pytest.approx(test.mean(0).mean(), rel=1e-5), "precision where all have one score"
    entropy = -(test * np.log(share) + (1 - test) * np.log(1 - share)).mean()
    assert found["loss"] == pytest.approx(entropy, rel=1e-5)
    assert found["subset_accuracy"] == pytest.approx((test == (share > 0.5)).all(1).mean())


def test_of_masks_it_is_the_largest_class_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = RNG.choice(np.array([0, 1, 2, VOID], dtype=np.uint8), (60, 4, 4), p=[0.5, 0.3, 0.1, 0.1])
    parts = pictures(masks, Pixels(("a", "b", "c")))
    train, test = parts.data.train.target, parts.data.test.target
    whole = trivial_metrics(parts)
    real = test[test != VOID]
    assert whole["pixel_accuracy"] == pytest.approx((real == 0).mean())
    assert whole["miou"] == pytest.approx((real == 0).mean() / 3), "two of three classes are never answered"
    share = np.bincount(train[train != VOID]) / (train != VOID).sum()
    assert whole["loss"] == pytest.approx(-np.log(share[real]).mean(), rel=1e-5)
    monkeypatch.setattr(references, "ELEMENTS", 100)  # two masks at a time
    assert trivial_metrics(parts) == pytest.approx(whole)


def test_other_kinds_have_none() -> None:
    pytest.importorskip("pycocotools")
    boxes = np.array([[[0, 0, 0, 2, 2]]] * 20, dtype=np.float32)
    assert reference_scalars(pictures(boxes, Boxes(("a",)), input_shape=(1, 4, 4))) == {}


# ---- the linear model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "width"), [(40, 7), (30, 90)], ids=["by input", "by example"])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_ridge_is_that_of_scikit_learn(n: int, width: int, strength: float) -> None:
    inputs, wanted, new = RNG.normal(3, 2, (n, width)), RNG.normal(1, 1, (n, 3)), RNG.normal(3, 2, (9, width))
    inputs[:, 2] = 0.1  # constant: it counts nowhere, whatever it is later
    fitted = Ridge(torch.from_numpy(inputs), torch.from_numpy(wanted))
    found = fitted.answer(torch.from_numpy(new), fitted.weights(strength)[None])[0]
    scaler = StandardScaler().fit(inputs)
    columns = [k for k in range(width) if k != 2]
    theirs = SkRidge(alpha=strength * n).fit(scaler.transform(inputs)[:, columns], wanted)
    np.testing.assert_allclose(found, theirs.predict(scaler.transform(new)[:, columns]), rtol=1e-6, atol=1e-8)
    plain = Ridge(torch.from_numpy(inputs), torch.from_numpy(wanted), scaled=False)
    theirs = SkRidge(alpha=strength * n * inputs[:, columns].var(0).mean()).fit(inputs[:, columns], wanted)
    found = plain.answer(torch.from_numpy(new), plain.weights(strength)[None])[0]
    np.testing.assert_allclose(found, theirs.predict(new[:, columns]), rtol=1e-6, atol=1e-8)


def chosen_by_val(parts: Any, split_inputs: Any, better: Any, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """scikit-learn's answers on test, with the strength that is best on val."""
    train, val, test = split_inputs
    models = [SkRidge(alpha=s * len(train)).fit(train, wanted) for s in STRENGTHS]
    scores = [better(parts.data.val.target, model.predict(val)) for model in models]
    return models[int(np.argmax(scores))].predict(test), max(scores)


def encoded(parts: Any) -> list[np.ndarray]:
    whole = [next(split.batches([np.arange(len(split))])).inputs for split in parts.data.splits]
    inputs = [parts.data.encode(stored).flatten(1).double().numpy() for stored in whole]
    scaler = StandardScaler().fit(inputs[0])
    return [scaler.transform(part) for part in inputs]


def hits(target: np.ndarray, scores: np.ndarray) -> float:
    return float((scores.argmax(1) == target).mean())


# The accuracies of linear models on these data, by what is known of them; iris suffers from its middle class.
@pytest.mark.parametrize(("name", "least"), [("iris", 0.75), ("wine", 0.94), ("breast_cancer", 0.9), ("digits", 0.9)])
def test_classes_of_rows_and_pictures(name: str, least: float) -> None:
    parts = run(f"dataset={name}", "model=mlp")
    answers, _ = chosen_by_val(parts, encoded(parts), hits, np.eye(parts.task.num_classes)[parts.data.train.target])
    found, test = linear_metrics(parts), parts.data.test.target
    assert set(found) == {"accuracy", "macro_recall", "macro_f1", "auroc"}
    assert found["accuracy"] == pytest.approx(hits(test, answers))
    assert found["macro_recall"] == pytest.approx(sk.balanced_accuracy_score(test, answers.argmax(1)))
    assert found["accuracy"] > least


def test_numbers_of_rows() -> None:
    parts = run("dataset=diabetes", "model=mlp")
    answers, _ = chosen_by_val(
        parts, encoded(parts), lambda y, p: -sk.root_mean_squared_error(y, p), parts.data.train.target
    )
    found, test = linear_metrics(parts), parts.data.test.target
    assert set(found) == {"rmse", "mae", "r2"}
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(test, answers), rel=1e-4)
    assert found["r2"] == pytest.approx(sk.r2_score(test, answers), rel=1e-3)
    assert 0.3 < found["r2"] < 0.6


def test_tags() -> None:
    inputs = RNG.normal(size=(300, 1, 6, 6))
    pixels = (128 + 40 * inputs).clip(0, 255).astype(np.uint8)
    tags = np.stack([inputs[:, 0, 0, 0] > 0.5, inputs[:, 0, 1, 1] > 0], 1).astype(np.float32)
    parts = of(prepared(Given(Loaded(ArrayPool(pixels, tags), None, None, Tags(("p", "q"))))))
    answers, _ = chosen_by_val(parts, encoded(parts), sk.average_precision_score, parts.data.train.target)
    found, test = linear_metrics(parts), parts.data.test.target
    assert set(found) == {"map", "micro_f1", "macro_f1", "subset_accuracy"}
    assert found["map"] == pytest.approx(sk.average_precision_score(test, answers), rel=1e-5)
    assert found["micro_f1"] == pytest.approx(sk.f1_score(test, answers > 0.5, average="micro"))
    assert found["map"] > trivial_metrics(parts)["map"]


def write_texts(path: Any) -> tuple[list[str], np.ndarray]:
    rng, words = np.random.default_rng(1), [f"w{k}" for k in range(60)]
    labels = rng.integers(0, 2, 200)
    texts = [
        " ".join([*rng.choice(words, rng.integers(5, 9)), *rng.choice([f"{'np'[y]}{k}" for k in range(9)], 2)])
        for y in labels
    ]
    path.write_text("text,label\n" + "".join(f"{text},{y}\n" for text, y in zip(texts, labels, strict=True)))
    return texts, labels


def test_texts_are_counts_of_tokens(tmp_path: Any) -> None:
    texts, _ = write_texts(tmp_path / "t.csv")
    parts = run("dataset=text_table", f"dataset.root={tmp_path / 't.csv'}", "dataset.max_length=10", "model=text_cnn")
    counter = CountVectorizer(token_pattern=r"\S+").fit([texts[i] for i in parts.data.train.ids])
    counts = [np.log1p(counter.transform([texts[i] for i in split.ids]).toarray()) for split in parts.data.splits]
    # Tokens that train lacks are one unknown token, which train does not have either.
    unit = np.square(counts[0] - counts[0].mean(0)).mean()
    scaled = [part / np.sqrt(unit) for part in counts]
    answers, _ = chosen_by_val(parts, scaled, hits, np.eye(2)[parts.data.train.target])
    found = linear_metrics(parts)
    assert found["accuracy"] == pytest.approx(hits(parts.data.test.target, answers))
    assert found["accuracy"] > 0.85


def test_rare_tokens_are_left_out_of_many(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path / "t.csv")
    parts = run("dataset=text_table", f"dataset.root={tmp_path / 't.csv'}", "model=text_cnn")
    features = references._token_counts(parts.data.train, np.arange(len(parts.data.train)), 5)
    stored = next(parts.data.train.batches([np.arange(len(parts.data.train))])).inputs
    ids, counts = np.unique(stored[stored > 0].numpy(), return_counts=True)
    expected = sorted(counts.tolist(), reverse=True)[:5]
    assert features(stored).expm1().sum(0).round().tolist() == expected
    assert features(torch.tensor([[10**6, 0]])).tolist() == [[0.0] * 5], "an id that these examples do not have"
    assert len(ids) > 5


def test_many_examples_are_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = run("dataset=digits", "model=mlp")
    monkeypatch.setattr(references, "MOST", 200)
    chosen = stream(0, "linear").permutation(len(parts.data.train))[:200]
    raw = [next(s.batches([np.arange(len(s))])).inputs.flatten(1).double().numpy() for s in parts.data.splits]
    raw[0] = raw[0][chosen]
    scaler = StandardScaler().fit(raw[0])
    wanted = np.eye(10)[parts.data.train.target[chosen]]
    answers, _ = chosen_by_val(parts, [scaler.transform(part) for part in raw], hits, wanted)
    assert linear_metrics(parts)["accuracy"] == pytest.approx(hits(parts.data.test.target, answers))


def test_what_is_too_large_or_not_in_memory_has_none() -> None:
    target = np.arange(60, dtype=np.int64) % 3
    assert linear_metrics(pictures(target, Classes(("a", "b", "c")), side=65)) == {}
    parts = run("dataset=digits", "model=mlp", "dataset.storage=streaming", "dataset.workers=0")
    assert linear_metrics(parts) == {}


# ---- in a run -------------------------------------------------------------------------------------------------------


def test_they_are_among_the_final_scalars(train: Any) -> None:
    baseline = train(name="none").scalars
    mixed = train("aug=mixup", name="mixup").scalars
    names = {name.partition("/")[2] for name in baseline if name.startswith("test/")}
    assert {name for name in baseline if name.startswith("trivial/")} == {f"trivial/{name}" for name in names}
    assert {name for name in baseline if name.startswith("linear/")} == {f"linear/{n}" for n in names - {"loss", "ece"}}
    assert baseline["trivial/accuracy"] == mixed["trivial/accuracy"]
    assert not [name for name in mixed if name.startswith("linear/")]


class Failing(Classification):
    """A kind of one's own whose trivial answer fails, and which a linear model cannot be fitted to."""

    def constant(self, target: np.ndarray) -> torch.Tensor:
        raise RuntimeError("no")

    def regressed(self, target: torch.Tensor) -> torch.Tensor:
        return torch.full((len(target), 3), torch.nan)


def test_a_mistake_costs_the_score_and_not_the_run() -> None:
    parts = pictures(np.arange(60, dtype=np.int64) % 3, Classes(("a", "b", "c")))
    assert reference_scalars(parts)
    parts.task = Failing(3)
    assert reference_scalars(parts) == {}
    with pytest.raises(RuntimeError, match="no"):
        trivial_metrics(parts)
    assert linear_metrics(parts) == {}


def test_they_leave_all_chance_alone() -> None:
    parts = run("dataset=iris", "model=mlp")
    before, weights = torch.get_rng_state(), [p.clone() for p in parts.model.parameters()]
    assert reference_scalars(parts)
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, weights, parts.model.parameters()))
