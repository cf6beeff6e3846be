#!/usr/bin/env python3
"""How fast is a training on this machine? Next to the limit, the usual loop, and other libraries.

    scripts/bench                                    # everything that fits: 9.5 minutes on a CPU, 6.5 on a GPU
    scripts/bench --only step loop --data CIFAR10    # some parts; pictures of your own, ROOT/{train,test}/CLASS/*
    scripts/bench --only compile --minutes 40        # every model of conf/model, compiled
    scripts/bench --table CPU.json [GPU.json]        # the table of docs/performance.md from these measurements

Every figure is the median over rounds in which the sides ran in turn. OUT/bench.json holds every round, OUT/bench.log
what the processes printed; the table goes to standard output.

step      a step of ours (draw, transform, mix, update, tally) / of forward, loss, backward and update on one batch
          that stays; on a GPU also / the same captured in a CUDA graph, which is the limit
loop      a step of the loop of tutorials (ImageFolder, transforms for each picture, DataLoader) / of ours, with Mixup
          written out, with torchvision's and with timm's
start     seconds of a fresh process: import, load, first steps (compiling and capturing included)
kinds     the same as step for tables, sounds, texts and masks
mixing    a batch mixed by torchvision or timm / by ours
malloc    an epoch with trainer.malloc=default / keep
compile   a step with accelerate=none / compile for every model, and after how many steps compiling pays
methods   a step with each method of conf/aug / with none
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import made_up

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("step", "loop", "start", "kinds", "mixing", "malloc", "compile", "methods")
LAST = ("compile", "methods")  # without --only: as far as time is left after the others
MINUTES = {"cpu": 9.5, "cuda": 6.5}
ROUNDS = 60  # at most
SLOW = 60.0  # seconds that a side which compiles may well take
WAYS = {"cpu": ("none", "compile"), "cuda": ("none", "compile", "graph")}
NAMES = {"cpu": "CPU", "cuda": "GPU"}
COLUMNS = [("cpu", "none"), ("cpu", "compile"), ("cuda", "none"), ("cuda", "compile"), ("cuda", "graph")]
MODELS = {
    # A CPU takes seconds for a ResNet's batch of 128: enough rounds for a median would take all of the time.
    "cpu": [("simple_net", "fp32", 128), ("small_cnn", "fp32", 128), ("preact_resnet18", "fp32", 16)],
    "cuda": [("preact_resnet18", "bf16", 128), ("wide_resnet28_10", "bf16", 128)],
}
KINDS = {
    "table": ["model=mlp", "model.hidden=[128,128]", "trainer.batch_size=512"],
    "sounds": ["model=audio_cnn", "trainer.batch_size=32"],
    "texts": ["model=text_cnn", "trainer.batch_size=50"],
    "masks": ["model=unet", "model.width=16", "trainer.batch_size=8"],
}
# Model of conf/model: the data and words that it trains with; any other one trains on pictures in batches of 32.
HEAVY = ("preact_resnet18", "wide_resnet28_10", "densenet_bc190", "resnext29_4x24")
OTHERS = {
    **dict.fromkeys(HEAVY, ("pictures", ["trainer.batch_size=8"])),
    **dict.fromkeys(("resmlp", "ft_transformer"), ("table", ["trainer.batch_size=256"])),
    **dict.fromkeys(("text_cnn", "bilstm", "text_transformer"), ("texts", ["trainer.batch_size=50", "optimizer=adam"])),
    **dict.fromkeys(("audio_cnn", "speech_lenet", "speech_vgg11"), ("sounds", ["trainer.batch_size=16"])),
    **dict.fromkeys(("unet", "torchvision_segmentation"), ("masks", ["trainer.batch_size=4"])),
    **dict.fromkeys(("dense_detector", "torchvision_detection"), ("boxes", ["trainer.batch_size=2"])),
}
SHAPES = {"128 x 3 x 32 x 32": (128, 3, 32, 32), "64 x 3 x 224 x 224": (64, 3, 224, 224)}
COUNTS = {"pictures": 16_000, "table": 64_000, "sounds": 600, "texts": 5000, "masks": 120, "boxes": 120}
ON_GPU = {"pictures": 50_000}
QUICK = {"pictures": 2400, "table": 2000, "sounds": 60, "texts": 200, "masks": 24, "boxes": 24}


# ---- what is to be measured -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One of the things that run in turn."""

    name: str
    kind: str  # of bench_worker.py: ours, bare, usual or mixing
    args: dict
    process: str  # sides with the same one share it; its first word is that of trainer.malloc
    slow: bool = False  # it compiles first
    needs: str = ""  # a package


@dataclass(frozen=True)
class Cell:
    """A figure of the table: time of `top` / time of `bottom`; without them, seconds of the start."""

    row: str
    column: str  # none, compile or graph
    top: str = ""
    bottom: str = ""


@dataclass(frozen=True)
class Job:
    part: str
    what: str
    sides: list[Side]
    cells: list[Cell]
    data: str = ""  # a function of made_up.py
    weight: float = 20.0  # seconds that it should get
    least: float = 10.0  # with less it is left out
    target: float = 0.3  # seconds of one side in a round
    fresh: bool = False  # measure the start of a process


def ours(words: list[str], way: str, device: str, name: str = "", malloc: str = "keep") -> Side:
    """On a CPU with a process of its own, whose threads do not get in the way of others."""
    args, name = {"words": words, "accelerate": way, "device": device}, name or way
    return Side(name, "ours", args, malloc if device == "cuda" else f"{malloc} {name}", slow=way == "compile")


def bare(device: str, captured: bool = False) -> Side:
    """In the process of the side `none`."""
    name, args = "captured" if captured else "bare", {"of": "none", "captured": captured}
    return Side(name, "bare", args, "keep" if device == "cuda" else "keep none")


def planned(device: str, workers: int) -> list[Job]:
    """Everything that there is to measure on a device, the most important first."""
    step, loop, kinds = [], [], []
    limits = ["bare"] if device == "cpu" else ["bare", "captured"]
    ways, target = WAYS[device], 0.3 if device == "cpu" else 0.1

    def steps(part: str, what: str, words: list[str], data: str, weight: float) -> Job:
        sides = [ours(words, "none", device), *(bare(device, limit == "captured") for limit in limits)]
        sides += [ours(words, way, device) for way in reversed(ways[1:])]  # what compiles comes last
        cells = [Cell(f"{what}: ours / {limit} step", way, way, limit) for limit in limits for way in ways]
        return Job(part, what, sides, cells, data, weight, least=15, target=target)

    for model, precision, batch in MODELS[device]:
        words = [f"model={model}", "transform=crop_flip", "aug=mixup", f"trainer.batch_size={batch}",
                 f"trainer.precision={precision}"]  # fmt: skip
        what = f"{model}, batch {batch}, {precision}"
        step.append(steps("step", what, words, "pictures", 60))
        fast = [way for way in ways if way != "compile"]
        usual = [(f"usual loop, {count} workers", "two-term", count) for count in sorted({0, workers})]
        if model in ("small_cnn", "preact_resnet18"):
            usual += [(f"with {name}'s Mixup, {workers} workers", name, workers) for name in ("torchvision", "timm")]
        sides = [ours(words, way, device) for way in fast]
        for name, mixing, count in usual:
            args = {"model": model, "mixing": mixing, "workers": count, "device": device, "precision": precision,
                    "batch": batch}  # fmt: skip
            sides.append(Side(name, "usual", args, "default", needs="timm" if mixing == "timm" else ""))
        cells = [Cell(f"{what}: {name} / ours", way, name, way) for name, _, _ in usual for way in fast]
        if model == "small_cnn":
            sides.append(ours([*words, "trainer.precision=bf16"], "none", device, "ours in bf16"))
            cells += [Cell(f"{what}: {usual[-3][0]} / ours in bf16", "none", usual[-3][0], "ours in bf16")]
        loop.append(Job("loop", what, sides, cells, "pictures", 45, least=25, target=1.0))
    for kind, words in KINDS.items():
        kinds.append(steps("kinds", f"{kind}, {words[0].removeprefix('model=')}", [*words, "aug=mixup"], kind, 20))

    model, precision, _ = MODELS[device][-2]
    words = [f"model={model}", "transform=crop_flip", "aug=mixup", f"trainer.precision={precision}"]
    row = f"{model}: a fresh process"
    start = [Job("start", f"{row}, {way}", [ours(words, way, device)], [Cell(row, way)], "pictures", 15, 12, fresh=True)
             for way in ways]  # fmt: skip

    mixing = []
    for size, shape in SHAPES.items():
        for method in ("Mixup", "CutMix"):
            for per in ("batch", "sample"):
                others = ("torchvision", "timm") if per == "batch" else ("timm",)
                args = {"method": method, "per": per, "shape": shape, "device": device}
                sides = [Side(name, "mixing", {"library": name, **args}, "default") for name in ("ours", *others)]
                sides = [replace(side, needs="timm" if side.name == "timm" else "") for side in sides]
                what = f"{method} per {per}, {size}"
                cells = [Cell(f"{what}: {name} / ours", "none", name, "ours") for name in others]
                mixing.append(Job("mixing", what, sides, cells, weight=8, least=6, target=0.02))

    words = ["model=small_cnn", "transform=crop_flip", "aug=mixup", "dataset.train_size=2000", "trainer.eval_every=1"]
    sides = [ours(words, "none", device, name, name) for name in ("default", "keep")]
    row = "small_cnn, 2,000 pictures, with evaluation: trainer.malloc=default / keep"
    malloc = [Job("malloc", "epochs", sides, [Cell(row, "none", "default", "keep")], "pictures", 20, target=2.0)]

    compiling = []
    models = {path.stem: ("pictures", ["trainer.batch_size=32"]) for path in (ROOT / "conf" / "model").glob("*.yaml")}
    for name, (data, words) in sorted((models | OTHERS).items(), key=lambda item: (item[0] in OTHERS, item[0])):
        sides = [ours([f"model={name}", *words, "aug=mixup"], way, device) for way in ("none", "compile")]
        sides = [replace(side, needs="timm" if name == "timm" else "") for side in sides]
        row = f"{name}, batch {words[0].partition('=')[2]}: none / compile"
        cells = [Cell(row, "compile", "none", "compile")]
        compiling.append(Job("compile", name, sides, cells, data, 12, least=30, target=target))

    methods = []
    for name in sorted(path.stem for path in (ROOT / "conf" / "aug").glob("*.yaml") if path.stem != "none"):
        words = ["model=small_cnn", "transform=crop_flip", "dataset.train_size=4000", "trainer.batch_size=128"]
        sides = [ours([*words, f"aug={aug}"], "none", device, aug) for aug in ("none", name)]
        cells = [Cell(f"small_cnn: {name} / none", "none", name, "none")]
        methods.append(Job("methods", name, sides, cells, "pictures", 15, target=target))
    return [*step, *loop, *start, *kinds, *mixing, *(malloc if device == "cpu" else []), *compiling, *methods]


def quick(jobs: list[Job]) -> list[Job]:
    """The first job of each part but those that compile."""
    found: dict[str, Job] = {}
    for job in jobs:
        if job.part not in LAST:
            found.setdefault(job.part, job)
    return list(found.values())


# ---- measuring ------------------------------------------------------------------------------------------------------


class Worker:
    """A fresh process of bench_worker.py."""

    def __init__(self, malloc: str, threads: int, log, caches: Path, until: float) -> None:
        folder = tempfile.mkdtemp(dir=caches)  # so that compiling starts from nothing
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT),
                       "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor", "TRITON_CACHE_DIR": f"{folder}/triton",
                       "TMPDIR": folder}  # fmt: skip
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("bench_worker.py")), malloc],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True,
        )  # fmt: skip
        self._answer(until)
        self.imports = time.monotonic() - started  # seconds until it has imported everything

    def ask(self, until: float, **order: object) -> dict:
        """The answer to an order; RuntimeError says what went wrong."""
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise RuntimeError("its process has ended") from error
        return self._answer(until)

    def _answer(self, until: float) -> dict:
        if not select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
            self.close()
            raise RuntimeError("it took too long")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Bench:
    """Measures jobs until the time is up, and keeps everything in `result`."""

    args: argparse.Namespace
    folder: Path  # for data and caches
    started: float = field(default_factory=time.monotonic)
    result: dict = field(default_factory=lambda: {"measured": [], "left_out": []})

    def __post_init__(self) -> None:
        args = self.args
        self.args.out.mkdir(parents=True, exist_ok=True)
        self.log = (self.args.out / "bench.log").open("w")
        self.data: dict[str, list[str]] = {}
        worker = Worker("default", 1, self.log, self.folder, self.started + 120)
        about = worker.ask(self.started + 120, do="about")
        worker.close()
        self.device = self.args.device or ("cuda" if about["cuda"] else "cpu")
        if self.device == "cuda" and not about["cuda"]:
            raise SystemExit("scripts/bench: --device cuda, but torch finds no CUDA device here; use --device cpu")
        self.end = self.started + 60 * (self.args.minutes or MINUTES[self.device])
        command = " ".join(["scripts/bench", *sys.argv[1:]])
        more = {"threads": args.threads, "workers": args.workers}
        self.result["machine"] = machine(self.device, about, command, **more)

    def left(self) -> float:
        return self.end - time.monotonic()

    def all(self) -> None:
        jobs = planned(self.device, self.args.workers)
        jobs = quick(jobs) if self.args.quick else jobs
        sure = [job for job in jobs if job.part in (self.args.only or set(PARTS) - set(LAST))]
        more = [job for job in jobs if job not in sure and not self.args.only]
        for i, job in enumerate(sure):
            rest = sure[i:]
            share = self.left() * job.weight / sum(other.weight for other in rest)
            self.one(job, max(share, job.least), sum(other.least for other in rest[1:] if other.part not in LAST))
        for job in more:
            self.one(job, job.weight, 0.0)
        self.result["machine"]["seconds"] = round(time.monotonic() - self.started, 1)
        self.save()
        self.log.close()

    def one(self, job: Job, seconds: float, reserved: float) -> None:
        """Measure a job in about so many seconds, and leave as many as are reserved for others."""
        if self.left() < job.least:
            self.leave_out(job, "", "no time left")
            return
        started = time.monotonic()
        entry = {"part": job.part, "what": job.what, "sides": {}, "rounds": [], "cells": []}
        workers: dict[str, Worker] = {}
        try:
            words = self.words(job.data)
            if job.fresh:
                self.starts(job, entry, words, started + seconds, reserved)
            else:
                self.rounds(job, entry, words, started + seconds, reserved, workers)
        except RuntimeError as error:
            self.leave_out(job, "", str(error))
        finally:
            for worker in workers.values():
                worker.close()
        entry["cells"] = [{**vars(cell), **numbers(cell, entry["rounds"])} for cell in job.cells
                          if any(map(has(cell), entry["rounds"]))]  # fmt: skip
        if entry["cells"]:
            self.result["measured"].append(entry)
        self.save()
        print(f"{job.part:8} {job.what:44} {len(entry['rounds']):3} rounds {time.monotonic() - started:6.1f} s,"
              f" {max(0.0, self.left()):4.0f} s left", file=sys.stderr, flush=True)  # fmt: skip

    def make(self, worker: Worker, side: Side, words: list[str], target: float) -> dict:
        args = dict(side.args)
        if side.kind == "ours":
            args["words"] = [*words, *args["words"]]
        if side.kind == "usual":
            args["root"] = words[1].partition("=")[2]
        settle = 1 if self.args.quick or self.device == "cpu" else 8
        order = {"name": side.name, "kind": side.kind, "args": args, "settle": settle}
        return worker.ask(self.end, do="make", target=0.0 if self.args.quick else target, **order)

    def starts(self, job: Job, entry: dict, words: list[str], until: float, reserved: float) -> None:
        """Rounds of fresh processes, one after the other."""
        (side,) = job.sides
        while not self.finished(entry["rounds"], until):
            if why := self.refused(job, side, reserved):
                self.leave_out(job, side.name, why)
                return
            worker = self.worker("keep")
            try:
                made = self.make(worker, side, words, job.target)
            finally:
                worker.close()
            entry["sides"][side.name] = made
            seconds = {"import": worker.imports, "load": made["load"], "first steps": made["setup"]}
            entry["rounds"].append(seconds)

    def rounds(self, job, entry, words, until, reserved, workers) -> None:
        """Make one side after the other, then run all that work in turn."""
        absent = {side.name: side.needs for side in job.sides if side.needs and not find_spec(side.needs)}
        if all({cell.top, cell.bottom} & set(absent) for cell in job.cells):
            raise RuntimeError(f"{', '.join(set(absent.values()))} is not installed")
        for side in job.sides:
            why = self.refused(job, side, reserved)
            if not why:
                try:
                    if side.process not in workers:
                        workers[side.process] = self.worker(side.process)
                    entry["sides"][side.name] = self.make(workers[side.process], side, words, job.target)
                except RuntimeError as error:
                    why = str(error)
            if why:
                self.leave_out(job, side.name, why)
        running = [side for side in job.sides if side.name in entry["sides"]]
        if not any({cell.top, cell.bottom} <= set(entry["sides"]) for cell in job.cells):
            return
        until = max(until, time.monotonic() + 10)  # making them may have taken all of it
        while not self.finished(entry["rounds"], until):
            found = {}
            for side in running if len(entry["rounds"]) % 2 else running[::-1]:
                found[side.name] = workers[side.process].ask(self.end, do="run", name=side.name)["seconds"]
            entry["rounds"].append(found)

    def finished(self, rounds: list, until: float) -> bool:
        """Whether there are rounds enough: two with --quick, else three at least, while there is time."""
        if self.args.quick:
            return len(rounds) == 2
        now = time.monotonic()
        return len(rounds) == ROUNDS or now > self.end or (now > until and len(rounds) >= 3)

    def refused(self, job: Job, side: Side, reserved: float) -> str:
        """Why a side is not made, or nothing."""
        if side.needs and not find_spec(side.needs):
            return f"{side.needs} is not installed"
        if side.slow and self.args.quick:
            return "not with --quick"
        if side.slow and self.left() < SLOW + reserved:
            return "no time left to compile"
        return "no time left" if self.left() < 0 else ""

    def worker(self, process: str) -> Worker:
        return Worker(process.split()[0], self.args.threads, self.log, self.folder, self.end)

    def words(self, data: str) -> list[str]:
        """The words of a dataset, which is written when it is needed first."""
        if data and data not in self.data:
            if data == "pictures" and self.args.data:
                self.data[data] = ["dataset=image_folder", f"dataset.root={self.args.data}"]
            else:
                counts = QUICK if self.args.quick else COUNTS | (ON_GPU if self.device == "cuda" else {})
                self.data[data] = getattr(made_up, data)(self.folder / data, counts[data])
            if data != "texts":
                self.data[data].append(f"dataset.cache_dir={self.folder / 'cache'}")
        return self.data[data] if data else []

    def leave_out(self, job: Job, side: str, why: str) -> None:
        self.result["left_out"].append({"part": job.part, "what": job.what, "side": side, "why": why})

    def save(self) -> None:
        (self.args.out / "bench.json").write_text(json.dumps(self.result, indent=1) + "\n")


def has(cell: Cell):
    """A test of whether a round has the sides of a cell."""
    return lambda found: not cell.top or {cell.top, cell.bottom} <= set(found)


def numbers(cell: Cell, rounds: list[dict]) -> dict:
    """The medians of a cell over its rounds: seconds of both sides and their ratio, or seconds of the start."""
    rounds = [found for found in rounds if has(cell)(found)]
    if not cell.top:
        return {"seconds": {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}}
    tops, bottoms = ([found[name] for found in rounds] for name in (cell.top, cell.bottom))
    ratios = [top / bottom for top, bottom in zip(tops, bottoms, strict=True)]
    return {
        "ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "rounds": len(rounds),
        "top_ms": 1e3 * statistics.median(tops), "bottom_ms": 1e3 * statistics.median(bottoms),
    }  # fmt: skip


def machine(device: str, about: dict, command: str, **more: object) -> dict:
    """What the figures depend on; `about` is what bench_worker.py says."""
    names = [line.partition(":")[2].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    git = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    return {
        "device": device, "name": about.get("card") or (names or [platform.processor() or platform.machine()])[0],
        "cores": cores(), **more, **about, "commit": git.stdout.strip() or None, "date": time.strftime("%Y-%m-%d"),
        "command": command, "load": list(os.getloadavg()),
    }  # fmt: skip


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# ---- the table ------------------------------------------------------------------------------------------------------


def table(results: list[dict]) -> str:
    """The table of docs/performance.md, in Markdown, from the measurements of one machine or several."""
    machines = {result["machine"]["device"]: result for result in results}
    found = {
        (device, entry["part"], cell["row"], cell["column"]): text(cell, entry)
        for device, result in machines.items() for entry in result["measured"] for cell in entry["cells"]
    }  # fmt: skip
    # Rows in the order of the plans; those of a machine that is not here are not measured yet.
    workers = {device: result["machine"]["workers"] for device, result in machines.items()}
    plans = {device: planned(device, workers.get(device, 8)) for device in WAYS}
    wanted: dict[tuple[str, str], set] = {}
    for part in PARTS:
        for device, jobs in plans.items():
            for job in jobs:
                for cell in job.cells if job.part == part else ():
                    wanted.setdefault((part, cell.row), set()).add((device, cell.column))
    names = [f"{NAMES[device]}, {way}" for device, way in COLUMNS]
    lines = [f"| part | time of ... / time of ... | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for (part, row), cells in wanted.items():
        texts = [found.get((column[0], part, row, column[1])) for column in COLUMNS]
        if part in LAST and not any(texts):
            continue
        texts = [text or missing(column, cells, machines) for text, column in zip(texts, COLUMNS, strict=True)]
        lines.append(f"| {part} | {row} | " + " | ".join(texts) + " |")
    lines += ["", *(caption(result) for result in results)]
    return "\n".join(lines)


def text(cell: dict, entry: dict) -> str:
    if "seconds" in cell:
        return " + ".join(f"{value:.1f}" for value in cell["seconds"].values()) + " s"
    said = f"{digits(cell['ratio'])} ({digits(cell['top_ms'])} / {digits(cell['bottom_ms'])} ms)"
    if entry["part"] == "compile":
        saved, setup = (cell["ratio"] - 1) * cell["bottom_ms"] / 1e3, entry["sides"]["compile"]["setup"]
        pays = f"pays after {setup / saved:,.0f} steps" if saved > 0 else "never pays"
        said += f"; compiling {setup:.0f} s, {pays}"
    return said


def digits(value: float) -> str:
    """Three digits."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def missing(column: tuple[str, str], cells: set, machines: dict) -> str:
    if column not in cells:
        return "–"
    return "left out" if column[0] in machines else "not measured yet"


def caption(result: dict) -> str:
    """The machine of a column, and what was left out."""
    about = result["machine"]
    versions = ", ".join(f"{name} {about[name]}" for name in ("torch", "cudnn", "driver") if name in about)
    size = f"{about['cores']} cores, {about['threads']} threads"
    line = f"{NAMES[about['device']]}: {about['name']}, {size}, {versions}, commit {about['commit']}, {about['date']}, "
    line += f"`{about['command']}`."
    reasons: dict[str, list[str]] = {}
    for item in result["left_out"]:
        name = f"{item['what']} ({item['side']})" if item["side"] else item["what"]
        reasons.setdefault(item["why"], []).append(f"{item['part']} {name}")
    return "\n".join([line, *(f"Left out, {why}: {'; '.join(names)}." for why, names in reasons.items()), ""])


# ---- the command line -----------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of: {', '.join(PARTS)}")
    parser.add_argument("--minutes", type=float, help="all of it takes no longer; what does not fit is left out")
    parser.add_argument("--quick", action="store_true", help="a few steps of a few sides, to see that it runs")
    parser.add_argument("--data", help="folder with train/CLASS/* and test/CLASS/* of 32x32 pictures")
    parser.add_argument("--device", choices=tuple(WAYS), help="default: the GPU if there is one")
    parser.add_argument("--threads", type=int, default=cores(), help="of torch on the CPU; default: one for each core")
    parser.add_argument("--workers", type=int, default=min(8, cores()), help="of the usual loop; it runs without, too")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench"), help="folder of bench.json and bench.log")
    parser.add_argument("--table", nargs="+", type=Path, metavar="JSON", help="print the table of earlier measurements")
    args = parser.parse_args()
    if args.table:
        print(table([json.loads(path.read_text()) for path in args.table]))
        return
    folder = Path(tempfile.mkdtemp())
    try:
        bench = Bench(args, folder)
        bench.all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(table([bench.result]))


if __name__ == "__main__":
    main()
