"""A loaded run and an exported program give the outputs of the run, whatever the kind of input."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import detection_examples, mask_examples
from helpers.command_line import in_this_process
from PIL import Image
from torch import nn

import mixup_lab
from mixup_lab.commands.export import ONNX
from mixup_lab.sources.digits import Digits
from mixup_lab.types import UserError

ALWAYS = (
    "trainer.epochs=1", "trainer.batch_size=8", "trainer.device=cpu", "trainer.threads=1", "trainer.progress=none",
    "hydra.run.dir=R",
)  # fmt: skip


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return in_this_process(monkeypatch, capsys, tmp_path)


def train(run, *words: str) -> dict[str, np.ndarray]:
    """The predictions that the run kept."""
    code, _, err = run("train", *ALWAYS, *words)
    assert code == 0, err
    with np.load("R/predictions.npz") as arrays:
        return dict(arrays)


def exported(run) -> tuple[nn.Module, dict]:
    code, out, err = run("export", "R", "out=model.pt2")
    assert code == 0, err
    assert out.startswith("model.pt2: the largest difference from the run, on 16 examples of val, is ")
    assert float(out.split()[-1]) < 1e-3
    extra = {"mixup_lab.json": ""}
    program = torch.export.load("model.pt2", extra_files=extra)
    return program.module(), json.loads(extra["mixup_lab.json"])


def check(program: nn.Module, stored: torch.Tensor, expected: np.ndarray) -> None:
    for count in (1, 5, len(stored)):
        np.testing.assert_allclose(program(stored[:count]).numpy(), expected[:count], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model", ["mlp", "small_cnn"])
def test_pictures(run, model):
    kept = train(run, f"model={model}", "trainer.ema_decay=0.9", "trainer.channels_last=true", "trainer.batch_size=64")
    program, about = exported(run)
    images = Digits().load().train.load()
    check(program, images[kept["test_id"][:20]], kept["test_logits"])
    assert about["class_names"] == list("0123456789")
    assert (about["kind"], about["run"]["seed"]) == ("classes", 0)
    assert {key: about["input"][key] for key in ("noun", "dtype", "shape")} == {
        "noun": "pictures", "dtype": "uint8", "shape": ["batch", 1, 8, 8],
    }  # fmt: skip
    pixels = images[np.load("R/predictions.npz")["val_id"]].float() / 255
    assert about["input"]["mean"][0] == pytest.approx(float(pixels.mean()), abs=0.02)


@pytest.mark.parametrize("model", ["mlp", "ft_transformer"])
def test_rows_with_categories_and_missing_values(run, model):
    rng = np.random.default_rng(0)
    for split, count in (("train", 60), ("val", 16), ("test", 20)):
        lines = [
            f"{'' if i % 5 == 0 else rng.normal()},{('red', 'blue')[rng.integers(2)]},{rng.normal(50, 20)}"
            for i in range(count)
        ]
        Path("data").mkdir(exist_ok=True)
        Path("data", f"{split}.csv").write_text("\n".join(["size,colour,price", *lines]) + "\n")
    kept = train(
        run, "dataset=table", "dataset.root=data", "dataset.target=price", f"model={model}", "optimizer.lr=0.01"
    )
    program, about = exported(run)
    first = {column["name"]: column["categories"] for column in about["input"]["columns"]}
    assert first["size"] is None
    assert set(first["colour"]) == {"red", "blue"}
    rows = [line.split(",") for line in Path("data/test.csv").read_text().splitlines()[1:]]
    stored = torch.tensor([[float(a or "nan"), first["colour"].index(b)] for a, b, _ in rows])
    check(program, stored, kept["test_prediction"])

    names, read = mixup_lab.load("R").read(["data/test.csv"])
    assert names[0] == "data/test.csv:1"
    assert torch.equal(read.isnan(), stored.isnan())
    assert torch.allclose(read.nan_to_num(), stored.nan_to_num())


@pytest.mark.parametrize("model", ["text_cnn", "bilstm", "text_transformer"])
def test_texts(run, model):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["good", "bad", "book", "film", "plot"], rng.integers(2, 20))) for _ in range(80)]
    lines = [f"{text},{('no', 'yes')['good' in text]}" for text in texts]
    Path("texts.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    kept = train(run, "dataset=text_table", "dataset.root=texts.csv", f"model={model}", "dataset.val_fraction=0.3")
    program, about = exported(run)
    names, length = about["input"]["tokens"], about["input"]["shape"][1]
    words = [texts[i].split()[:length] for i in kept["test_id"]]
    ids = [[names.index(word) if word in names else 1 for word in text] + [0] * (length - len(text)) for text in words]
    check(program, torch.tensor(ids, dtype=torch.int32), kept["test_logits"])


def test_a_loaded_run_predicts_and_leaves_torch_alone(run):
    kept = train(run, "trainer.deterministic=true", "trainer.batch_size=64")
    torch.use_deterministic_algorithms(False)
    before = torch.get_rng_state(), torch.get_num_threads()
    model = mixup_lab.load("R")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()
    assert not model.training
    assert model.class_names == list("0123456789")
    images = Digits().load().train.load()[kept["test_id"]]
    with torch.no_grad():
        np.testing.assert_allclose(model(images).numpy(), kept["test_logits"], rtol=1e-4, atol=1e-4)
        assert torch.equal(model.model(model.preprocess(images)), model(images))
    model.source = replace(model.source, new=None)
    with pytest.raises(UserError, match="R was trained on a source that reads no other pictures"):
        model.read(["a.png"])
    train_images = Digits().load().train.load().float() / 255
    scaled = model.preprocess(Digits().load().train.load())
    shift, scale = np.polyfit(train_images.flatten().numpy(), scaled.flatten().numpy(), 1)[::-1]
    assert (-shift / scale, 1 / scale) == pytest.approx((model.encoder.mean[0], model.encoder.std[0]), rel=1e-4)


def test_masks_are_exported_and_predicted_as_pictures(run):
    for split, seed in (("train", 0), ("val", 1), ("test", 2)):
        mask_examples.write(Path("scans"), split, *mask_examples.shapes(16, seed=seed, size=16))
    train(run, "dataset=segmentation_folder", "dataset.root=scans", "model=unet", "model.width=4", "model.depth=1")
    program, about = exported(run)
    pictures = mask_examples.shapes(16, seed=2, size=16)[0][:3]
    stored = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    _, read = mixup_lab.load("R").read([f"scans/test/images/{i}.png" for i in range(3)])
    assert torch.equal(read, stored)
    maps = program(stored)
    assert maps.shape == (3, len(about["class_names"]), 16, 16)
    np.testing.assert_allclose(program(stored[1:2]).numpy(), maps[1:2].numpy(), atol=1e-4)

    shutil.copytree("scans/test/images", "new/sub")
    mask_examples.save(Path("new/wide.jpg"), np.zeros((20, 30, 3), np.uint8))
    code, out, err = run("predict", "R", "new", "out=a/masks")
    assert (code, out) == (0, "a/masks: 17 predictions\n"), err
    written = {str(path.relative_to("a/masks")) for path in Path("a/masks").rglob("*.*")}
    assert written == {"wide.png", *(f"sub/{i}.png" for i in range(16))}
    for i in range(3):
        assert np.array_equal(np.asarray(Image.open(f"a/masks/sub/{i}.png")), maps[i].argmax(0).numpy())
    assert np.asarray(Image.open("a/masks/wide.png")).shape == (20, 30)

    code, out, err = run("predict", "R", "new/wide.jpg", "scans/test/images/1.png", "out=masks", "columns=[id,mask]")
    said = "columns are those of a table, and predictions of masks are not rows of one"
    assert (code, err.splitlines()[-1]) == (2, f"mixup-lab predict: {said}")
    code, out, err = run("predict", "R", "new", "out=a/masks")
    said = "out=a/masks exists; choose another name, or add overwrite=true"
    assert (code, err.splitlines()[-1]) == (2, f"mixup-lab predict: {said}")
    train(
        run, "dataset=segmentation_folder", "dataset.root=scans", "dataset.image_size=8", "model=unet",
        "model.width=4", "model.depth=1", "hydra.run.dir=S",
    )  # fmt: skip
    code, out, err = run("predict", "R", "S", "new", "out=masks")
    said = "the runs predict 3x16x16 and 3x8x8 values for an example: there is no mean of them"
    assert (code, err.splitlines()[-1]) == (2, f"mixup-lab predict: {said}")
    assert not Path("masks").exists()


def test_boxes_are_predicted_in_the_pixels_of_the_pictures(run):
    pytest.importorskip("pycocotools")
    rectangles = detection_examples.rectangles(8, seed=0)
    detection_examples.coco_tree(Path("cells"), {"train": rectangles, "val": rectangles}, {7: "bar", 9: "dot"})
    words = ("train_json=train.json", "train_images=train", "val_json=val.json", "val_images=val", "image_size=32")
    train(
        run, *detection_examples.SMALL, "dataset=detection_coco", "dataset.root=cells", "dataset.test_fraction=0.2",
        *(f"dataset.{word}" for word in words), "model.width=8", "trainer.batch_size=4",
    )  # fmt: skip
    Image.fromarray(rectangles[0][0]).resize((120, 40)).save("wide.png")
    code, out, err = run("predict", "R", "wide.png", "cells/val")
    assert (code, out) == (0, "predictions.json: 9 predictions\n"), err
    found = json.loads(Path("predictions.json").read_text())
    assert found["categories"] == [{"id": 7, "name": "bar"}, {"id": 9, "name": "dot"}]
    assert found["images"][0] == {"id": 1, "file_name": "wide.png", "width": 120, "height": 40}
    assert found["images"][1]["file_name"] == "0.png"
    model = mixup_lab.load("R")
    with torch.inference_mode():
        left, top, right, bottom = model.task.decode(model(model.read(["wide.png"])[1]))[0, 0, 2:].tolist()
    expected = [left * 3.75, top * 1.25, (right - left) * 3.75, (bottom - top) * 1.25]
    np.testing.assert_allclose(found["annotations"][0]["bbox"], expected, atol=2e-3)
    shutil.copytree("R", "S")
    code, out, err = run("predict", "R", "S", "cells/val", "out=b.json")
    said = "boxes of several runs have no mean, and there are 2 runs; choose one"
    assert (code, err.splitlines()[-1]) == (2, f"mixup-lab predict: {said}")


def test_mistakes_are_one_sentence_and_nothing_is_written(run):
    train(run, "dataset=iris", "model=mlp")
    Path("old.pt2").write_text("mine")
    Path("empty").mkdir()
    before = sorted(Path().rglob("*"))
    for words, said in (
        ((), "export needs one run: mixup-lab export RUN_DIR out=model.pt2"),
        (("R", "R", "out=a.pt2"), "export needs one run: mixup-lab export RUN_DIR out=model.pt2"),
        (("R",), "out has no value; it must be a file *.pt2 or *.onnx"),
        (("R", "out=model.pth"), "out model.pth has another ending; it must be a file *.pt2 or *.onnx"),
        (("R", "out=old.pt2"), "out=old.pt2 exists; choose another name, or add overwrite=true"),
        (("empty", "out=a.pt2"), "empty is not the directory of a run: it has no record.jsonl"),
        (("nowhere", "out=a.pt2"), "nowhere is not the directory of a run: it has no record.jsonl"),
        (("R", "out=a.pt2", "trainer.epochs=3"), "unknown key 'trainer.epochs'"),
    ):
        code, out, err = run("export", *words)
        assert (code, out) == (2, ""), words
        assert err.splitlines()[-1].startswith(f"mixup-lab export: {said}")
    assert sorted(Path().rglob("*")) == before
    with pytest.raises(UserError, match="empty is not the directory of a run"):
        mixup_lab.load("empty")
    Path("R/checkpoint.pt").unlink()
    with pytest.raises(UserError, match=r"R/checkpoint.pt does not exist"):
        mixup_lab.load("R")
    Path("R/summary.json").unlink()
    with pytest.raises(UserError, match="R holds a run that is interrupted, not finished"):
        mixup_lab.load("R")


@pytest.mark.parametrize("words", [("model=simple_net",), ("dataset=iris", "model=mlp")])
def test_onnx_gives_the_outputs_of_the_run(run, words):
    runtime = [pytest.importorskip(name) for name in ("onnx", "onnxscript", "onnxruntime")][-1]
    train(run, *words, "trainer.batch_size=64")
    code, out, err = run("export", "R", "out=model.onnx")
    assert code == 0, err
    assert out.startswith("model.onnx: the largest difference from the run, on 1")
    assert float(out.split()[-1]) < 1e-3
    session = runtime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    assert [(put.name, put.shape[0]) for put in (*session.get_inputs(), *session.get_outputs())] == [
        ("stored", "batch"), ("answer", "batch"),
    ]  # fmt: skip
    model = mixup_lab.load("R")
    about = {key: json.loads(text) for key, text in session.get_modelmeta().custom_metadata_map.items()}
    assert about["class_names"] == model.class_names
    stored = model.sample(5)
    with torch.inference_mode():
        expected = model(stored).numpy()
    for count in (1, 5):
        (found,) = session.run(None, {"stored": stored[:count].contiguous().numpy()})
        np.testing.assert_allclose(found, expected[:count], atol=1e-4)


def test_without_the_packages_onnx_names_them(run, monkeypatch):
    train(run, "dataset=iris", "model=mlp")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in ONNX[1:] else found(name))
    code, _, err = run("export", "R", "out=model.onnx")
    assert code == 2
    assert err.endswith("onnxscript, onnxruntime: pip install 'mixup-lab[onnx]'\n")
    assert not Path("model.onnx").exists()
