"""Predictions for new files equal those that the runs made of the same examples, whatever the kind."""

import csv
import shutil
import wave
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import in_this_process
from helpers.data_examples import picture, write_folder
from PIL import Image
from scipy.optimize import brentq
from scipy.special import expit, softmax

from mixup_lab.sources.digits import Digits

ALWAYS = (
    "trainer.epochs=2", "trainer.batch_size=8", "trainer.device=cpu", "trainer.threads=1", "trainer.progress=none",
)  # fmt: skip


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return in_this_process(monkeypatch, capsys, tmp_path)


def train(run, folder: str, *words: str) -> None:
    code, _, err = run("train", *ALWAYS, f"hydra.run.dir={folder}", *words)
    assert code == 0, err


def kept(folder: str) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / "predictions.npz") as arrays:
        return dict(arrays)


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shares(path: str) -> np.ndarray:
    return np.array([[float(v) for k, v in row.items() if k.startswith("p_")] for row in rows(path)])


def predict(run, *words: str) -> list[dict[str, str]]:
    code, out, err = run("predict", *words, "overwrite=true")
    assert code == 0, err
    assert out.startswith("predictions.csv: ")
    return rows("predictions.csv")


def digits(count: int, run_dir: str) -> list[str]:
    """The test digits of a run as files, in their order."""
    images = Digits().load().train.load()[kept(run_dir)["test_id"][:count], 0].numpy()
    return [str(path) for path in written(Path("new"), images)]


def written(folder: Path, images: np.ndarray) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:03}.png" for i in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


def test_pictures_in_files_and_the_average_of_the_weights(run):
    write_folder(
        Path("data"),
        {
            f"{split}/{name}/{i}.png": picture((9 + i, 8), seed=100 * s + 10 * k + i)
            for s, split in enumerate(("train", "test"))
            for k, name in enumerate(("cat", "dog"))
            for i in range(8)
        },
    )
    train(run, "R", "dataset=image_folder", "dataset.root=data", "model=small_cnn", "trainer.ema_decay=0.5")
    found = predict(run, "R", "data/test")
    expected = softmax(kept("R")["test_logits"], axis=1)
    assert [row["input"] for row in found] == [f"data/test/{name}/{i}.png" for name in ("cat", "dog") for i in range(8)]
    assert list(found[0]) == ["input", "prediction", "p_cat", "p_dog"]
    np.testing.assert_allclose(shares("predictions.csv"), expected, atol=1e-6)
    assert [row["prediction"] for row in found] == [("cat", "dog")[k] for k in expected.argmax(1)]


def test_arrays_ensembles_and_calibration(run):
    for seed in (0, 1):
        train(run, f"arm/{seed}", "dataset.split_seed=0", f"seed={seed}", "aug=mixup", "trainer.batch_size=32")
    new = digits(20, "arm/0")
    each = [softmax(kept(f"arm/{seed}")["test_logits"][:20], axis=1) for seed in (0, 1)]
    predict(run, "arm/1", *new)
    np.testing.assert_allclose(shares("predictions.csv"), each[1], atol=1e-6)
    predict(run, "arm", "new")
    np.testing.assert_allclose(shares("predictions.csv"), sum(each) / 2, atol=1e-6)
    predict(run, "arm/0", "arm/1", *new)
    np.testing.assert_allclose(shares("predictions.csv"), sum(each) / 2, atol=1e-6)

    def scaled(arrays: dict[str, np.ndarray]) -> np.ndarray:
        logits, target = arrays["val_logits"].astype(float), arrays["val_target"]
        true = logits[np.arange(len(target)), target]

        def slope(inverse: float) -> float:  # of the log-likelihood
            return float((true - (softmax(inverse * logits, axis=1) * logits).sum(1)).mean())

        best = brentq(slope, 1 / 20, 20)
        assert not 0.9 < best < 1.1, "the test sees no difference"
        return softmax(arrays["test_logits"][:20] * best, axis=1)

    predict(run, "arm", "new", "calibrated=true")
    expected = sum(scaled(kept(f"arm/{seed}")) for seed in (0, 1)) / 2
    np.testing.assert_allclose(shares("predictions.csv"), expected, atol=1e-4)


def test_a_picture_of_another_size_is_resized_as_the_source_does(run):
    train(run, "R")
    small = Digits().load().train.load()[0, 0].numpy()
    paths = written(Path("new"), small.repeat(4, 0).repeat(4, 1)[None])
    predict(run, "R", str(paths[0]))
    large = shares("predictions.csv")
    predict(run, "R", str(written(Path("same"), small[None])[0]))
    np.testing.assert_allclose(large, shares("predictions.csv"), atol=0.05)


def test_sounds(run):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for k, name in enumerate(("high", "low")):
            for i in range(6):
                path = Path("clips", split, name, f"{i}.wav")
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = 9000 * np.sin(np.arange(1600 + 40 * i) * (1.5 - k)) + rng.normal(0, 900, 1600 + 40 * i)
                with wave.open(str(path), "wb") as sound:
                    sound.setparams((1, 2, 8000, 0, "NONE", ""))
                    sound.writeframes(tone.astype(np.int16).tobytes())
    train(run, "R", "dataset=audio_folder", "dataset.root=clips", "model=audio_cnn")
    found = predict(run, "R", "clips/test")
    np.testing.assert_allclose(shares("predictions.csv"), softmax(kept("R")["test_logits"], axis=1), atol=1e-5)
    assert found[7]["input"] == "clips/test/low/1.wav"


def table(path: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = ["name,size,colour,price,y,red,round"]
    for i in range(count):
        size = "" if i % 5 == 0 else f"{rng.normal():.4f}"
        colour = ("blue", "green", "?", "red")[rng.integers(4)]
        lines.append(f"n{i},{size},{colour},{rng.normal(50, 20):.3f},{['no', 'yes'][i % 2]},{i % 2},{i // 2 % 2}")
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n")


def tables(run, target: str, drop: str, task: str = "auto") -> None:
    table("data/train.csv", 60, 0)
    table("data/test.csv", 20, 1)
    words = (f"dataset.target={target}", f"dataset.drop=[{drop}]", f"dataset.task={task}", "optimizer.lr=0.01")
    train(run, "R", "dataset=table", "dataset.root=data", "model=mlp", *words)


def test_rows_with_categories_and_missing_values(run):
    tables(run, "y", "name,red,round")
    found = predict(run, "R", "data/test.csv")
    np.testing.assert_allclose(shares("predictions.csv"), softmax(kept("R")["test_logits"], axis=1), atol=1e-6)
    assert [row["input"] for row in found[:2]] == ["data/test.csv:1", "data/test.csv:2"]

    # Columns in another order and without the target; a category that training did not have is a missing one.
    Path("a.csv").write_text("price,colour,size\n40,purple,1\n40,?,1\n40,red,1\n")
    unknown, missing, red = [row["p_yes"] for row in predict(run, "R", "a.csv")]
    assert unknown == missing != red

    code, out, _ = run("predict", "R", "a.csv", "out=sub/mission.csv", "columns=[id,label]")
    assert (code, out) == (0, "sub/mission.csv: 3 predictions\n")
    lines = Path("sub/mission.csv").read_text().splitlines()
    assert lines[0] == "id,label"
    assert lines[1] == f"1,{'yes' if float(unknown) > 0.5 else 'no'}"


def test_numbers_in_their_own_units(run):
    tables(run, "price", "name,y")
    found = predict(run, "R", "data/test.csv")
    assert list(found[0]) == ["input", "prediction"]
    expected = kept("R")["test_prediction"][:, 0]
    np.testing.assert_allclose([float(row["prediction"]) for row in found], expected, rtol=1e-5)
    code, _, err = run("predict", "R", "data/test.csv", "out=b.csv", "calibrated=true")
    said = "calibrated=true: the predictions of numbers that a run keeps are not probabilities of examples"
    assert (code, err.splitlines()[-1]) == (2, f"mixup-lab predict: {said}")


def test_tags(run):
    tables(run, "[red,round]", "name,y")
    found = predict(run, "R", "data/test.csv")
    expected = expit(kept("R")["test_logits"])
    np.testing.assert_allclose(shares("predictions.csv"), expected, atol=1e-6)
    names = [[name for name, p in zip(("red", "round"), row, strict=True) if p > 0.5] for row in expected]
    assert [row["prediction"] for row in found] == ["|".join(tags) for tags in names]


def test_several_numbers_have_a_column_each(run):
    rng = np.random.default_rng(0)
    lines = [f"{a:.3f},{a * 2:.3f},{-a:.3f}" for a in rng.normal(size=60)]
    Path("rows.csv").write_text("\n".join(["x,a,b", *lines]) + "\n")
    train(run, "R", "dataset=table", "dataset.root=rows.csv", "dataset.target=[a,b]", "model=mlp")
    Path("new.csv").write_text("x,z\n0.5,1\n")
    (found,) = predict(run, "R", "new.csv")
    assert list(found) == ["input", "prediction_a", "prediction_b"]
    code, _, err = run("predict", "R", "new.csv", "out=b.csv", "columns=[id,label]")
    assert code == 2
    assert err.splitlines()[-1].endswith(
        "columns=[id,label] must be 3 names: of the id, and of prediction_a, prediction_b"
    )
    assert run("predict", "R", "new.csv", "out=b.csv", "columns=[id,a,b]")[0] == 0
    assert Path("b.csv").read_text().splitlines()[0] == "id,a,b"


def test_texts(run):
    rng = np.random.default_rng(0)
    words = ["good", "bad", "Book", "film", "plot", "long", "short", "dull"]
    Path("data").mkdir()
    texts = {}
    for split, count in (("train", 60), ("test", 20)):
        texts[split] = [" ".join(rng.choice(words, rng.integers(2, 20))) for _ in range(count)]
        lines = [f"{text},{('no', 'yes')['good' in text]}" for text in texts[split]]
        Path("data", f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    train(run, "R", "dataset=text_table", "dataset.root=data", "model=text_cnn", "optimizer=adam")
    predict(run, "R", "data/test.csv")
    expected = softmax(kept("R")["test_logits"], axis=1)
    np.testing.assert_allclose(shares("predictions.csv"), expected, atol=1e-6)

    # The same texts in a column without others, and as files.
    Path("alone.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts["test"]))
    Path("new").mkdir()
    for i, text in enumerate(texts["test"][:3]):
        Path("new", f"{i}.txt").write_text(text + "\n")
    found = predict(run, "R", "alone.csv", "new")
    np.testing.assert_allclose(shares("predictions.csv"), np.concatenate([expected, expected[:3]]), atol=1e-6)
    assert [row["input"] for row in found[19:21]] == ["alone.csv:20", "new/0.txt"]

    for content, said in (
        ('text\n"a"\nb,c\n', "alone.csv, row 2: text has 2 values; quote texts with commas"),
        ("text\n", "alone.csv has no rows"),
        ("words,label\na,b\n", "dataset.text_column=text is not a column of alone.csv; it has words, label"),
        ("text,label\n,b\n", "alone.csv, line 2: text is empty"),
    ):
        Path("alone.csv").write_text(content)
        code, _, err = run("predict", "R", "alone.csv", "out=b.csv")
        assert (code, err.splitlines()[-1]) == (2, f"mixup-lab predict: {said}")


def test_mistakes_are_one_sentence_and_nothing_is_written(run):
    tables(run, "y", "name,red,round")
    train(run, "D")
    Path("other.csv").write_text("size,price\n1,2\n")
    Path("wrong.csv").write_text("size,colour,price\n1,red,2\nx,red,2\n")
    Path("damaged.png").write_bytes(b"no picture")
    Path("empty").mkdir()
    Path("old.csv").write_text("mine")
    shutil.copytree("R", "U")
    Path("U/summary.json").unlink()
    before = sorted(path for path in Path().rglob("*"))
    for words, said in (
        ((), "predict needs a run and an input: mixup-lab predict RUN_DIR FILE_OR_FOLDER"),
        (("R",), "predict needs a run and an input: mixup-lab predict RUN_DIR FILE_OR_FOLDER"),
        (
            ("nowhere", "a.csv"),
            "nowhere has no runs: there is no record.jsonl below it; the runs come before the inputs",
        ),
        (("U", "other.csv"), "U: there is no finished run"),
        (("R", "nowhere.csv"), "nowhere.csv does not exist"),
        (("R", "empty"), "empty has no tables (.csv .tsv .txt .data .dat .parquet)"),
        (("R", "other.csv"), "other.csv has no column colour, which training had; it has size, price"),
        (("R", "wrong.csv"), "wrong.csv, line 3: column size holds 'x', which is not a finite number"),
        (("D", "damaged.png"), "damaged.png cannot be read as a picture (cannot identify image file; it is a text"),
        (("R", "other.csv", "out=old.csv"), "out=old.csv exists; choose another name, or add overwrite=true"),
        (("R", "other.csv", "out=a.txt"), "out a.txt has another ending; it must be a file *.csv"),
        (("R", "other.csv", "columns=[id]"), "columns must be names such as [id,label], got [id]"),
        (("R", "other.csv", "calibrated=1"), "calibrated must be true or false, got 1"),
        (
            ("R", "other.csv", "epochs=1"),
            "unknown key 'epochs'; choose one of: out, calibrated, columns, overwrite, trainer.device",
        ),
        (("R", "other.csv", "--fast"), "predict has no flag --fast; see mixup-lab predict --help"),
        (
            ("R", "D", "other.csv"),
            "R predicts classes (no, yes), and D classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9): there is no mean of them",
        ),
    ):
        code, out, err = run("predict", *words)
        assert (code, out) == (2, ""), words
        assert err.splitlines()[-1].startswith(f"mixup-lab predict: {said}")
    assert sorted(path for path in Path().rglob("*")) == before
    assert Path("old.csv").read_text() == "mine"

    Path("data").rename("moved")
    code, _, err = run("predict", "R", "moved/test.csv")
    assert (code, err.splitlines()[-1]) == (
        2, "mixup-lab predict: dataset.root=data does not exist; it must be a file or a folder",
    )  # fmt: skip
    assert run("predict", "R", "moved/test.csv", "dataset.root=moved")[0] == 0
