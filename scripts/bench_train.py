#!/usr/bin/env python3
"""How fast is a run? Side by side with the limit and with the usual loop, on this machine.

    python scripts/bench_train.py --data ROOT             # ROOT/{train,test}/CLASS/*.jpg, such as CIFAR-10 as JPEG
    python scripts/bench_train.py                         # makes a folder of synthetic JPEGs for it
    python scripts/bench_train.py --only step mixup --models simple_net --threads 1

Every figure is a ratio of two things that ran in turn, and the median over the rounds; absolute figures are printed
next to it. The table goes to standard output, all measurements as JSON to --json.

step     ours (data, transform, Mixup, update, sums) / bare forward, backward and update on one resident batch
loop     images per second of ours / of the usual loop: torchvision's ImageFolder, transforms for each picture,
         DataLoader (0 and 2 workers, whichever is faster), two-term Mixup, fp32
kinds    the same for made-up tables, sounds, texts and masks: ours / bare
malloc   seconds of an epoch with evaluation, trainer.malloc=default / keep: all pictures, and 2,000 for training
mixup    our step with Mixup / without
memory   peak memory of a resident run
start    seconds from the shell to the first step, and of 20 epochs of the MLP on digits
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("simple_net", "small_cnn", "preact_resnet18")
# Steps in a block: long enough to measure, short enough to alternate.
BLOCK = {"simple_net": 40, "small_cnn": 20, "preact_resnet18": 2}
# (model, our precision, smallest ratio that is wanted)
LOOPS = (
    ("simple_net", "fp32", 2.2),
    ("small_cnn", "fp32", 1.15),
    ("small_cnn", "bf16", 2.0),
    ("preact_resnet18", "fp32", 1.15),
    ("preact_resnet18", "bf16", 2.0),
)

# Data other than pictures, and steps in a block; for the table, an epoch.
KINDS = {
    "table": (("dataset=table", "dataset.target=y", "model.hidden=[128,128]", "trainer.batch_size=512"), 90),
    "sounds": (("dataset=audio_folder", "dataset.cache=false", "model=audio_cnn", "trainer.batch_size=32"), 6),
    "texts": (("dataset=text_table", "model=text_cnn", "trainer.batch_size=50"), 20),
    "masks": (
        ("dataset=segmentation_folder", "dataset.cache=false", "model=unet", "model.width=16", "trainer.batch_size=8"),
        2,
    ),
}


def made_up_table(folder: Path) -> Path:
    """64,000 rows of 20 numbers and 2 categories."""
    import numpy as np

    rng = np.random.default_rng(0)
    numbers, kinds = rng.normal(size=(64_000, 20)), rng.integers(0, 8, (64_000, 2))
    target = (numbers[:, :5].sum(1) + kinds[:, 0] > 3).astype(int)
    with (folder / "rows.csv").open("w") as file:
        file.write(",".join([*(f"x{k}" for k in range(20)), "a", "b", "y"]) + "\n")
        for row, (a, b), y in zip(numbers, kinds, target, strict=True):
            file.write(",".join(f"{value:.4f}" for value in row) + f",kind{a},kind{b},class{y}\n")
    return folder / "rows.csv"


def made_up_sounds(folder: Path) -> Path:
    """600 noisy tones of half a second in two classes."""
    import numpy as np
    import soundfile

    rng, time_axis = np.random.default_rng(0), np.arange(4000) / 8000
    for k, name in enumerate(("low", "high")):
        (folder / "train" / name).mkdir(parents=True)
        for i in range(300):
            tone = 0.3 * np.sin(2 * np.pi * (300 + 500 * k) * time_axis) + 0.1 * rng.normal(size=4000)
            soundfile.write(folder / "train" / name / f"{i}.wav", tone, 8000)
    return folder


def made_up_texts(folder: Path) -> Path:
    """5,000 texts of 5 to 50 words in two classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    with (folder / "texts.csv").open("w") as file:
        file.write("text,label\n")
        for i in range(5000):
            words = rng.integers(0, 8000, rng.integers(5, 51))
            file.write(" ".join(f"w{word}" for word in words) + f",{'ab'[i % 2]}\n")
    return folder / "texts.csv"


def made_up_masks(folder: Path) -> Path:
    """120 pictures of 180 x 240 with a mask each."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "train" / kind).mkdir(parents=True)
    for i in range(120):
        mask = np.kron(rng.integers(0, 11, (9, 12), dtype=np.uint8), np.ones((20, 20), np.uint8))
        pixels = (20 * mask + rng.integers(0, 30, mask.shape)).astype(np.uint8)
        Image.fromarray(mask).save(folder / "train" / "masks" / f"{i}.png")
        Image.fromarray(pixels).convert("RGB").save(folder / "train" / "images" / f"{i}.png")
    return folder


# ---- the parts that run in a process of their own -----------------------------------------------------------------


def make_fit(data: str, model: str, *overrides: str, keep: bool = True):
    """A training on pictures as the command line builds it."""
    words = ("dataset=image_folder", f"dataset.root={data}", f"model={model}", "transform=crop_flip")
    return fit_of(*words, *overrides, keep=keep)


def fit_of(*overrides: str, keep: bool = True):
    """A training as the command line builds it."""
    from hydra import compose, initialize_config_dir

    from mixup_lab.config.schema import parse, register
    from mixup_lab.training.device import keep_freed_memory

    if keep:
        keep_freed_memory()
    from mixup_lab.config.assemble import assemble
    from mixup_lab.training.fit import Fit

    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", overrides=["trainer.device=cpu", *overrides])
    return Fit(assemble(parse(cfg), "bench"), Path(tempfile.mkdtemp()))


def stepper(fit):
    """A function that trains on the next `count` batches and returns its seconds."""
    from mixup_lab.training.tally import Tally

    parts, plan = fit.parts, fit.batches.plan(0)
    tally = Tally(parts.task, parts.device, {})
    parts.model.train()

    def run(count: int) -> float:
        assert count <= fit.steps
        started = time.perf_counter()
        for i, mixed in itertools.islice(fit.batches.mixed(plan, 0), count):
            fit.train_batch(mixed, i, tally)
        return time.perf_counter() - started

    return run


def bare_stepper(fit, count: int = 1):
    """Forward, backward and update on batches that are ready: nothing can be faster with this model and optimizer.

    One batch is enough where all have one shape; texts of different lengths need as many as ours trains on.
    """
    import copy

    from mixup_lab.training.optimizers import make_optimizer

    parts = fit.parts
    model = copy.deepcopy(parts.model).train()
    optimizer = make_optimizer(model, "SGD", lr=0.01, momentum=0.9, weight_decay=1e-4)
    ready = [batch for _, batch in itertools.islice(fit.batches.ready(fit.batches.plan(0), 0), count)]

    def run(count: int) -> float:
        started = time.perf_counter()
        for batch in itertools.islice(itertools.cycle(ready), count):
            optimizer.zero_grad(set_to_none=True)
            parts.task.loss(model(batch.inputs), batch.target).mean().backward()
            optimizer.step()
        return time.perf_counter() - started

    return run


def alternate(a, b, block: int, rounds: int) -> dict:
    """Seconds per step of both, in turn; the order changes from round to round."""
    a(block), b(block)
    pairs = []
    for i in range(rounds):
        if i % 2:
            second, first = b(block), a(block)
        else:
            first, second = a(block), b(block)
        pairs.append((first / block, second / block))
    return {"pairs": pairs}


def worker_step(args) -> dict:
    fit = make_fit(args.data, args.model, "aug=mixup", "optimizer.lr=0.01")
    return alternate(stepper(fit), bare_stepper(fit), BLOCK[args.model], args.rounds)


def worker_kinds(args) -> dict:
    overrides, block = KINDS[args.model]
    with tempfile.TemporaryDirectory() as folder:
        made = globals()[f"made_up_{args.model}"](Path(folder))
        fit = fit_of(*overrides, f"dataset.root={made}", "aug=mixup", "optimizer.lr=0.01")
        return alternate(stepper(fit), bare_stepper(fit, block), block, args.rounds)


def worker_mixup(args) -> dict:
    mixed, plain = (make_fit(args.data, args.model, f"aug={aug}", "optimizer.lr=0.01") for aug in ("mixup", "none"))
    return alternate(stepper(mixed), stepper(plain), BLOCK[args.model], args.rounds * 3)


def worker_ours(args) -> dict:
    fit = make_fit(args.data, args.model, "aug=mixup", f"trainer.precision={args.precision}", "optimizer.lr=0.01")
    run, block = stepper(fit), 2 * BLOCK[args.model]
    run(block // 2)
    return {"images_per_second": block * fit.parts.settings.batch_size / run(block)}


def worker_usual(args) -> dict:
    """The loop of the tutorials, with nothing left out and nothing added."""
    import numpy as np
    import torch
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    from mixup_lab.models.preact_resnet import PreActResNet
    from mixup_lab.models.simple_net import SimpleNet
    from mixup_lab.models.small_cnn import SmallCNN

    torch.manual_seed(0)
    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ]
    )
    loader = DataLoader(
        datasets.ImageFolder(Path(args.data) / "train", transform),
        batch_size=128, shuffle=True, num_workers=args.workers, drop_last=True,
    )  # fmt: skip
    classes = {"simple_net": SimpleNet, "small_cnn": SmallCNN, "preact_resnet18": PreActResNet}
    model = classes[args.model](input_shape=(3, 32, 32), num_outputs=len(loader.dataset.classes))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    model.train()
    block, done, started = 2 * BLOCK[args.model], -BLOCK[args.model], 0.0
    while done < block:
        for inputs, target in loader:
            if done == 0:
                started = time.perf_counter()
            lam = np.random.beta(1.0, 1.0)
            perm = torch.randperm(inputs.size(0))
            mixed = lam * inputs + (1 - lam) * inputs[perm]
            output = model(mixed)
            loss = lam * criterion(output, target) + (1 - lam) * criterion(output, target[perm])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            done += 1
            if done == block:
                break
    return {"images_per_second": block * 128 / (time.perf_counter() - started)}


def worker_malloc(args) -> dict:
    """One epoch of training and its evaluation, after one to warm up."""
    import numpy as np

    words = ("aug=mixup", "optimizer.lr=0.01", f"dataset.train_size={args.size}")
    fit = make_fit(args.data, args.model, *words, keep=args.malloc == "keep")
    run, block = stepper(fit), min(5 * BLOCK[args.model], fit.steps)
    share = (len(fit.parts.data.val) + len(fit.train_clean)) / len(fit.parts.data.train)
    positions = np.arange(int(share * block * fit.parts.settings.batch_size))

    def epoch() -> float:
        started = time.perf_counter()
        run(block)
        fit.evaluator.metrics(fit.evaluator.observe(fit.evaluated, fit.parts.data.test, positions))
        return time.perf_counter() - started

    epoch()
    return {"seconds": epoch()}


# ---- the parts that start processes -------------------------------------------------------------------------------


def worker(args, name: str, threads: int, **options: object) -> dict:
    """Run a worker in a fresh process with this many threads."""
    words = [f"--{key}={value}" for key, value in options.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, __file__, "--worker", name, f"--data={args.data}", f"--rounds={args.rounds}", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def paired(pairs: list, unit: float = 1e3) -> dict:
    ratios = [a / b for a, b in pairs]
    a, b = (statistics.median(values) * unit for values in zip(*pairs, strict=True))
    return {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "a": a, "b": b}


def bench(args) -> list[dict]:
    rows: list[dict] = []

    def add(what: str, threads: int, wanted: str, **values: object) -> None:
        rows.append({"what": what, "threads": threads, "wanted": wanted, **values})
        show(rows[-1])

    for threads in args.threads:
        for model in args.models:
            if "step" in args.only:
                limit = "<= 1.15" if model == "simple_net" else "<= 1.03"
                pairs = worker(args, "step", threads, model=model)["pairs"]
                add(f"step {model} (ms)", threads, limit, **paired(pairs))
            if "mixup" in args.only and model == "small_cnn":
                add(
                    f"mixup {model} (ms)",
                    threads,
                    "<= 1.03",
                    **paired(worker(args, "mixup", threads, model=model)["pairs"]),
                )
            if "malloc" in args.only and model == "small_cnn":
                for size, what in (("null", ""), ("2000", ", 2,000 pictures")):
                    pairs = [
                        tuple(
                            worker(args, "malloc", threads, model=model, malloc=kind, size=size)["seconds"]
                            for kind in ("default", "keep")
                        )
                        for _ in range(args.rounds)
                    ]
                    add(f"malloc {model}{what} (s)", threads, ">= 1.10", **paired(pairs, 1))
        for kind in KINDS if "kinds" in args.only else ():
            limit = "<= 1.05" if kind == "masks" else "<= 1.10"
            add(f"step {kind} (ms)", threads, limit, **paired(worker(args, "kinds", threads, model=kind)["pairs"]))
        for model, precision, least in LOOPS if "loop" in args.only else ():
            if model not in args.models:
                continue
            pairs = []
            for _ in range(min(args.rounds, 3)):
                ours = worker(args, "ours", threads, model=model, precision=precision)["images_per_second"]
                usual = [worker(args, "usual", threads, model=model, workers=w)["images_per_second"] for w in (0, 2)]
                pairs.append((ours, max(usual)))
            add(f"loop {model} {precision} (images/s)", threads, f">= {least:.2f}", **paired(pairs, 1))
    if "memory" in args.only:
        words = ["dataset=image_folder", f"dataset.root={args.data}", "dataset.storage=resident", "model=small_cnn",
                 "transform=crop_flip", "aug=mixup", "trainer.max_seconds=20", "trainer.device=cpu"]  # fmt: skip
        add("memory small_cnn (GiB)", 0, "< 1.5", value=command_line(words)["peak_gib"])
    if "start" in args.only:
        for _ in range(2):  # the first one warms the disk cache
            seconds = command_line(["aug=mixup", "trainer.device=cpu", "trainer.batch_size=128", "trainer.epochs=20"])
        add("start to first step, digits (s)", 0, "< 4", value=seconds["first_step"])
        add("20 epochs of mlp on digits (s)", 0, "< 2", value=seconds["training"])
    return rows


def command_line(words: list[str]) -> dict:
    """A real `mixup-lab train`: seconds to its first step and of its training, and peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        command = [sys.executable, "-m", "mixup_lab", "train", "trainer.progress=none", f"hydra.run.dir={folder}/run"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, *words], check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
        events = [json.loads(line) for line in (Path(folder) / "run" / "record.jsonl").read_text().splitlines()]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        begin = next(e["time"] for e in events if e["event"] == "start")
        return {"first_step": begin - started, "training": events[-1]["time"] - begin, "peak_gib": peak}


def show(row: dict) -> None:
    threads = f"{row['threads']} thread{'s' * (row['threads'] > 1)}" if row["threads"] else ""
    if "ratio" in row:
        text = f"{row['ratio']:6.3f}  ({row['low']:.3f} to {row['high']:.3f})   {row['a']:10.1f} {row['b']:10.1f}"
    else:
        text = f"{row['value']:6.2f}"
    print(f"{row['what']:38}{threads:11}{row['wanted']:9}{text}", flush=True)


def synthetic(folder: Path) -> str:
    """Ten classes of small JPEGs, 6,000 to train on."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 600), ("test", 100)):
        for k in range(10):
            (folder / split / f"class{k}").mkdir(parents=True)
            for i in range(count):
                small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                small.resize((32, 32)).save(folder / split / f"class{k}" / f"{i}.jpg", quality=90)
    return str(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("step", "kinds", "loop", "malloc", "mixup", "memory", "start")
    parser.add_argument("--data", help="folder with train/CLASS/* and test/CLASS/* of 32x32 pictures")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all measurements here")
    for option in ("--worker", "--model", "--precision", "--malloc", "--size"):
        parser.add_argument(option, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(globals()[f"worker_{args.worker}"](args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        args.data = args.data or synthetic(Path(folder) / "jpegs")
        rows = bench(args)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
