#!/usr/bin/env python3
"""What does mixing cost? Next to the baseline's training step, torchvision and timm, on this machine.

    python scripts/bench_mixing.py                        # everything, with 1 and with 2 threads
    python scripts/bench_mixing.py --data ROOT            # ROOT/{train,test}/CLASS/*.jpg in place of synthetic pictures
    python scripts/bench_mixing.py --only step --methods mixup cutmix --threads 1
    python scripts/bench_mixing.py --device cuda

Every figure is the ratio of two things that ran in turn in one process: the median over the rounds, the quartiles in
brackets. The milliseconds of both follow. The table goes to standard output, all measurements to --json.

step     a training step of small_cnn (128 pictures of 3 x 32 x 32: data, transform, mixing, update, sums, and its share
         of the draws of the epoch) with each method of conf/aug / the same with aug=none
mixing   mixing alone, from a batch with its labels to the mixed ones, lam and partners drawn anew each time:
         torchvision.transforms.v2 and timm.data.Mixup (if it is installed) / ours
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

from bench_train import ROOT, alternate, make_fit, synthetic

# Largest time of a step relative to the baseline's; the others have no limit.
WANTED = {"mixup": 1.03, "cutmix": 1.03, "resizemix": 1.03, "gridmix": 1.03,
          "fmix": 1.10, "smoothmix": 1.10, "manifold_mixup": 1.10}  # fmt: skip
PARTNERS = ("same_class", "different_class", "near_label", "nearest_input", "nearest_feature")
PER_SAMPLE = ("mixup", "cutmix", "fmix", "gridmix", "smoothmix")
METHODS = {
    **{path.stem: [f"aug={path.stem}"] for path in sorted((ROOT / "conf" / "aug").glob("*.yaml"))},
    **{f"mixup {partner}": ["aug=mixup", f"aug.partner={partner}"] for partner in PARTNERS},
    **{f"{method} per sample": [f"aug={method}", "aug.lam_per=sample"] for method in PER_SAMPLE},
}
SHAPES = {"small": (128, 3, 32, 32), "large": (64, 3, 224, 224)}
CLASSES = 10
BATCHES = 40  # trained on in turn: two groups that are prepared together
# Steps, or calls, between two readings of the clock: few, since other programs disturb long ones more often. Each
# reading waits for a GPU, so it gets more.
STEPS = {"cpu": 1, "cuda": 20}
CALLS = {"cpu": {"small": 5, "large": 1}, "cuda": {"small": 100, "large": 20}}
OFTEN = {"small": 5, "large": 1}  # rounds of mixing alone for each of --rounds


def timed(call, device: str):
    """A function that calls `count` times and returns the seconds, including those of the device."""
    import torch

    def run(count: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            call()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return run


def row(what: str, wanted: str, pairs: list) -> dict:
    """One line of the table, from the pair of seconds (a, b) of each round."""
    ratios = [a / b for a, b in pairs]
    low, ratio, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    a, b = (statistics.median(values) * 1e3 for values in zip(*pairs, strict=True))
    line = {"what": what, "wanted": wanted, "ratio": ratio, "low": low, "high": high, "a": a, "b": b}
    print(f"{what:56}{wanted:9}{ratio:7.3f}  ({low:.3f} to {high:.3f})   {a:9.3f} {b:9.3f}", flush=True)
    return line


# ---- a training step ----------------------------------------------------------------------------------------------


def train_step(fit, plan, batches, device: str):
    """A function that trains on the next `count` batches and returns its seconds."""
    from mixup_lab.mixing.mixer import at_step
    from mixup_lab.training.tally import Tally

    tally, turn = Tally(fit.parts.task, fit.parts.device, {}), itertools.cycle(batches)
    fit.parts.model.train()

    def step() -> None:
        i, batch = next(turn)
        fit.train_batch(fit.parts.mixer.apply(batch, at_step(plan.mixing, i)), i, tally)

    return timed(step, device)


def seconds(call) -> float:
    """The median of five, after one to warm up."""
    run = timed(call, "cpu")
    return statistics.median([run(1) for _ in range(6)][1:])


def step_pairs(args: argparse.Namespace, words: list[str]) -> list:
    """Seconds of a step with these words and of one with aug=none, in each round."""
    lr, device = "optimizer.lr=0.01", f"trainer.device={args.device}"
    arms = [make_fit(args.data, "small_cnn", *chosen, lr, device) for chosen in (words, ["aug=none"])]
    plans = [fit.batches.plan(0) for fit in arms]
    drawing = [seconds(lambda fit=fit: fit.batches.plan(0)) / fit.steps for fit in arms]
    # Arms of one seed share their batches: they are made once, and their time per step is added to both.
    some = list(itertools.islice(arms[1].batches.ready(plans[1]), BATCHES))
    data = seconds(lambda: [None for _ in itertools.islice(arms[1].batches.ready(plans[1]), BATCHES)]) / len(some)
    ours, bare = (train_step(fit, plan, some, args.device) for fit, plan in zip(arms, plans, strict=True))
    pairs = alternate(ours, bare, STEPS[args.device], args.rounds)["pairs"]
    return [(a + data + drawing[0], b + data + drawing[1]) for a, b in pairs]


def bench_steps(args: argparse.Namespace) -> list[dict]:
    rows = []
    for method in args.methods:
        wanted = f"<= {WANTED[method]:.2f}" if method in WANTED else ""
        rows.append(row(f"step {method} {threads(args)}", wanted, step_pairs(args, METHODS[method])))
    return rows


# ---- mixing alone -------------------------------------------------------------------------------------------------


def others(kind: str, per: str) -> dict:
    """The same method in the other libraries, by name."""
    from torchvision.transforms import v2

    methods: dict = {}
    if per == "batch":
        methods["torchvision"] = {"Mixup": v2.MixUp, "CutMix": v2.CutMix}[kind](alpha=1.0, num_classes=CLASSES)
    if find_spec("timm"):
        from timm.data import Mixup

        alphas = {"Mixup": (1.0, 0.0), "CutMix": (0.0, 1.0)}[kind]
        mode = {"batch": "batch", "sample": "elem"}[per]
        methods["timm"] = Mixup(*alphas, mode=mode, label_smoothing=0.0, num_classes=CLASSES)
    return methods


def check_mixed(mixer, inputs, target) -> None:
    """Stop if a few calls leave inputs or labels unchanged."""
    import torch

    changed = set()
    for _ in range(10):
        mixed = mixer(inputs.clone(), target)
        moved = (mixed[0] - inputs).flatten(1).abs().amax(1) > 0
        soft = mixed.lam < 1 if hasattr(mixed, "lam") else mixed[1].amax(1) < 1
        changed |= {"inputs"} if moved.any() else set()
        changed |= {"labels"} if soft.any() else set()
        if not torch.isfinite(mixed[0]).all() or mixed[0].shape != inputs.shape:
            raise SystemExit(f"{mixer} returns a batch of wrong shape or values")
    if changed != {"inputs", "labels"}:
        raise SystemExit(f"{mixer} does not mix inputs and labels, only {sorted(changed)}")


def bench_mixing(args: argparse.Namespace) -> list[dict]:
    import torch

    from mixup_lab.mixing import CutMix, Mixup

    rows = []
    cells = itertools.product(args.sizes, (Mixup, CutMix), ("batch", "sample"), ("contiguous", "channels_last"))
    for size, method, per, layout in cells:
        shape = SHAPES[size]
        generator = torch.Generator().manual_seed(0)
        plain = torch.randn(shape, generator=generator).to(args.device)
        target = torch.randint(CLASSES, shape[:1], generator=generator).to(args.device)
        inputs = plain.contiguous(memory_format=torch.channels_last) if layout == "channels_last" else plain
        ours = method(alpha=1.0, lam_per=per, seed=0)
        check_mixed(ours, inputs, target)
        for name, theirs in others(method.__name__, per).items():
            check_mixed(theirs, plain, target)
            batch = plain.clone()  # timm writes into it
            pairs = alternate(
                timed(lambda mix=theirs, x=batch, y=target: mix(x, y), args.device),
                timed(lambda mix=ours, x=inputs, y=target: mix(x, y), args.device),
                CALLS[args.device][size],
                args.rounds * OFTEN[size],
            )["pairs"]
            what = f"{name} / {method.__name__} per {per}, {size} {layout} {threads(args)}"
            rows.append(row(what, ">= 1.00", pairs))
    return rows


# ---- the whole ----------------------------------------------------------------------------------------------------


def threads(args: argparse.Namespace) -> str:
    return f"{args.threads[0]}t" if args.device == "cpu" else args.device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("step", "mixing")
    parser.add_argument("--data", help="folder with train/CLASS/* and test/CLASS/* of 32x32 pictures")
    parser.add_argument("--only", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path, help="write all measurements here")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        warnings.simplefilter("ignore")  # such as the share of a batch that has no partner of its class
        lines = [{**line, "threads": args.threads[0]} for kind in args.only
                 for line in {"step": bench_steps, "mixing": bench_mixing}[kind](args)]  # fmt: skip
        args.json.write_text(json.dumps(lines))
        return
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        data = args.data or ("step" in args.only and synthetic(Path(folder) / "jpegs"))
        measured = Path(folder) / "measured.json"
        words = ["--worker", "--data", str(data), "--device", args.device, "--rounds", str(args.rounds),
                 "--methods", *args.methods, "--sizes", *args.sizes, "--json", str(measured)]  # fmt: skip
        for count, kind in itertools.product(args.threads, args.only):
            # A fresh process for each: training keeps freed memory, which a plain loop does not.
            environment = {**os.environ, "OMP_NUM_THREADS": str(count), "PYTHONPATH": str(ROOT)}
            command = [sys.executable, __file__, *words, "--only", kind, "--threads", str(count)]
            subprocess.run(command, env=environment, check=True)
            rows += json.loads(measured.read_text())
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
