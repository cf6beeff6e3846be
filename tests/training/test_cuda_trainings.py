"""Whole trainings on CUDA that is not there: no error, the numbers of the CPU, and no step that waits for the GPU."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import detection_examples, mask_examples
from helpers.options import options
from helpers.pretended_cuda import PretendedCuda, Wait
from helpers.pretended_graphs import CUDAGraph
from helpers.trainings import QUIET, Training, config_of, without_time

from mixup_lab.config.assemble import assemble
from mixup_lab.training.batches import Batches
from mixup_lab.training.fit import Fit
from mixup_lab.types import UserError

STEP = {part.__qualname__ for part in (Fit.train_batch, Batches.mixed, Batches.prepared)}  # where waits are in a step
ORDER = ("upload", "Resident.batches")  # the order of the examples, once an epoch
POLICY = ("download", "operate")  # the host sorts the pictures by operation, once for a group of steps
FOUND = ("read", "Precision.step")  # torch asks whether a gradient overflowed, unless the optimizer is fused
WAITS = {  # cases that wait in a step all the same
    "transform=augmix": POLICY, "transform=autoaugment": POLICY, "transform=randaugment": POLICY,
    "transform=trivialaugment": POLICY,
    "trainer.precision=fp16 optimizer=torch_optim optimizer.name=RMSprop": FOUND,
}  # fmt: skip
NO_GRAPH = {  # cases whose steps cannot be CUDA graphs, and a word of the reason
    "aug=noise": "Noise", "aug=noise_mix": "NoiseMix", "aug=resizemix": "ResizeMix",
    "texts": "batches of one shape", "texts, LSTM": "batches of one shape",
    "trainer.precision=fp16": "fp16", "trainer.precision=fp16 optimizer=adamw trainer.clip_grad_norm=1": "fp16",
    "trainer.precision=fp16 optimizer=torch_optim optimizer.name=RMSprop": "fp16",
}  # fmt: skip

COMMON = (*QUIET, "dataset.workers=0", "trainer.epochs=1", "trainer.save_predictions=false", "trainer.batch_size=16")
PICTURES = ("dataset=fake", "dataset.shape=[3,8,8]", "dataset.train=96", "dataset.test=16", "model=small_cnn",
            "model.width=4")  # fmt: skip
MORE = {
    "crop_flip": ("transform.padding=1",),
    "manifold_mixup": ("trainer.batch_size=4",),  # some steps that mix the same layer
    "mixup_cutmix": ("trainer.batch_size=8",),  # or by the same method
}
SETTINGS = (
    *(f"trainer.precision={precision}" for precision in ("fp32", "tf32", "bf16", "fp16")),
    "trainer.precision=fp16 optimizer=adamw trainer.clip_grad_norm=1",
    "trainer.precision=fp16 optimizer=torch_optim optimizer.name=RMSprop",
    "trainer.clip_grad_norm=1 trainer.accumulate=3",
    "trainer.ema_decay=0.9 model.dropout=0.3",
    "optimizer=adamw trainer.label_smoothing=0.1",
    "optimizer=adam trainer.class_weights=balanced",
    "dataset.storage=streaming",
    "trainer.deterministic=true",
    "trainer.channels_last=false",
    "mix_schedule=adaptive trainer.epochs=2",
    "aug.partner=nearest_feature",
    "aug.labels=soft",
    "aug=fmix aug.lam_per=sample",
    "aug=smoothmix aug.lam_per=pair",
    "aug=saliencymix aug.lam_per=sample trainer.precision=bf16",
)
TASKS = {  # FOLDER is where the data of this kind lie
    "numbers": "dataset=diabetes dataset.train_size=96 model=mlp aug=cmixup",
    "classes of rows": "dataset=breast_cancer dataset.train_size=96 model=ft_transformer model.width=16 aug=mixup",
    "tags": "dataset=table dataset.root=FOLDER dataset.target=[p,q] dataset.cache=false model=resmlp aug=mixup",
    "texts": "dataset=text_table dataset.root=FOLDER model=text_transformer model.width=16 aug=manifold_mixup",
    "texts, LSTM": "dataset=text_table dataset.root=FOLDER model=bilstm model.hidden=8 aug=mixup",
    "sounds": "dataset=audio_folder dataset.root=FOLDER dataset.cache=false model=audio_cnn model.width=4 aug=mixup"
              " trainer.batch_size=8",
    "masks": "dataset=segmentation_folder dataset.root=FOLDER dataset.cache=false model=unet model.width=4"
             " model.depth=2 aug=cutmix transform=crop_flip trainer.batch_size=8",
    "boxes": "dataset=detection_voc dataset.root=FOLDER dataset.cache=false model=dense_detector model.backbone=small"
             " model.width=8 aug=mixup transform=crop_flip trainer.batch_size=4",
}  # fmt: skip


def table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_tags(folder: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(120, 3)).round(3)
    rows = [[*row, rng.choice(["red", "blue"]), int(row[0] > 0), int(row[1] > row[2])] for row in x.tolist()]
    table(folder / "train.csv", ["a", "b", "c", "colour", "p", "q"], rows)


def write_texts(folder: Path, rng: np.random.Generator) -> None:
    words = [rng.choice(["a", "of", "film", "was", "it"], rng.integers(3, 12)).tolist() for _ in range(120)]
    rows = [[" ".join([*said, ("good", "bad")[i % 2]]), ("yes", "no")[i % 2]] for i, said in enumerate(words)]
    table(folder / "train.csv", ["text", "label"], rows)


def write_sounds(folder: Path, rng: np.random.Generator) -> None:
    for i in range(60):
        path = folder / "train" / ("low", "high")[i % 2] / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.sin(2 * np.pi * (300, 900)[i % 2] * np.arange(1600) / 8000)
        soundfile.write(path, 0.3 * wave + 0.05 * rng.normal(size=1600), 8000)


def write_masks(folder: Path, rng: np.random.Generator) -> None:
    mask_examples.write(folder, "train", *mask_examples.shapes(48, 0, size=16))


def write_boxes(folder: Path, rng: np.random.Generator) -> None:
    sizes = {"train": 16, "val": 4, "test": 4}
    splits = {name: detection_examples.rectangles(count, seed) for seed, (name, count) in enumerate(sizes.items())}
    detection_examples.voc_tree(folder, splits)


WRITERS = {"tags": write_tags, "texts": write_texts, "sounds": write_sounds, "masks": write_masks, "boxes": write_boxes}


def in_steps(waits: list[Wait]) -> Iterator[tuple[str, str]]:
    """Kind and innermost function of each wait in a step."""
    return ((wait.kind, wait.functions[0]) for wait in waits if STEP & set(wait.functions))


def compare(folder: Path, case: str, *words: str) -> None:
    """Train on the CPU and in each way on the GPU."""
    config = config_of(*COMMON, *words)
    expected = without_time(Training(folder / "cpu", config=config).run())
    for way in ("none", "graph"):
        on_gpu = replace(config, trainer=replace(config.trainer, device="cuda", accelerate=way))
        with PretendedCuda() as cuda:
            if way == "graph" and case in NO_GRAPH:
                with pytest.raises(UserError, match=NO_GRAPH[case]):
                    assemble(on_gpu, "fingerprint")
                continue
            scalars = Training(folder / way, config=on_gpu).run()
            assert (CUDAGraph.replays > 0) == (way == "graph")
        assert without_time(scalars) == expected
        assert scalars["memory/peak_gib"] == 2.0  # as the pretended device has it
        waits = Counter(in_steps(cuda.waits))
        assert waits.pop(ORDER, 0) in (0, config.trainer.epochs)  # 0: read as needed
        assert set(waits) == ({WAITS[case]} if case in WAITS else set())


@pytest.mark.parametrize("method", options("aug"))
def test_methods(tmp_path, method):
    compare(tmp_path, f"aug={method}", *PICTURES, f"aug={method}", *MORE.get(method, ()))


@pytest.mark.parametrize("transform", options("transform"))
def test_transforms(tmp_path, transform):
    compare(
        tmp_path, f"transform={transform}", *PICTURES, "aug=cutmix", f"transform={transform}", *MORE.get(transform, ())
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings(tmp_path, setting):
    compare(tmp_path, setting, *PICTURES, "aug=mixup", *setting.split())


@pytest.mark.parametrize("task", TASKS)
def test_tasks(tmp_path, task):
    kind = task.partition(",")[0]
    if kind in WRITERS:
        WRITERS[kind](tmp_path / kind, np.random.default_rng(0))
    compare(tmp_path, task, *TASKS[task].replace("FOLDER", str(tmp_path / kind)).split())


def test_exceptions_have_cases():
    cases = {f"aug={m}" for m in options("aug")} | {f"transform={t}" for t in options("transform")} | set(SETTINGS)
    assert (set(WAITS) | set(NO_GRAPH)) <= cases | set(TASKS)
