#!/usr/bin/env python3
"""Does mixup-lab work on this GPU? Short trainings through the real command line, and the same ones on the CPU.

    scripts/check_gpu                            # a few minutes on a GPU
    scripts/check_gpu --device cpu --quick       # a rehearsal without a GPU
    scripts/check_gpu --only methods resume

The table at the end says for each check ok, FAIL or not run, and why; the exit code is 1 if one failed. The runs and
the output of every command stay in OUT.

methods        every method of conf/aug with every precision: losses as on the CPU
transforms     every transform of conf/transform likewise
kinds          tables, texts, sounds, masks, boxes, numbers and tags likewise
deterministic  two runs with trainer.deterministic=true have the same bits
resume         a run that is cut by SIGTERM and resumed has the bits of one that was not
compare        a study with several runs at the same time
memory         a batch that cannot fit ends in one sentence
graph          trainer.accelerate=graph trains like none, bit for bit
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import made_up
import numpy as np
from bench import ROOT, cores, machine

sys.path.insert(0, str(ROOT))
from mixup_lab.training.settings import PRECISIONS

# Largest difference of an epoch's training loss from the CPU's in fp32, relative to max(1, loss).
TOLERANCES = {"fp32": 2e-3, "tf32": 1e-2, "fp16": 1e-2, "bf16": 3e-2}
# Noise is drawn on the device, and a saliency that is nearly a tie may choose another place.
LOOSE, LOOSELY = ("noise", "noise_mix", "saliencymix"), 0.2
SMALL = ["dataset=fake", "model=small_cnn", "model.width=8", "trainer.batch_size=32", "trainer.epochs=2",
         "optimizer.lr=0.02"]  # fmt: skip
ROWS = ["trainer.batch_size=32", "trainer.epochs=2", "optimizer.lr=0.01", "aug=mixup"]
# Kind: what makes its data, how many examples, the words of its model, and the package that it needs.
KINDS = {
    "numbers": (made_up.numbers, 200, ["model=mlp"], None),
    "tags": (made_up.tags, 200, ["model=mlp"], None),
    "texts": (made_up.texts, 200, ["model=text_cnn", "model.dropout=0"], None),
    "sounds": (made_up.sounds, 100, ["model=audio_cnn"], "soundfile"),
    "masks": (made_up.masks, 60, ["model=unet", "model.width=4", "model.depth=2", "trainer.batch_size=8"], None),
    "boxes": (made_up.boxes, 60, ["model=dense_detector", "model.backbone=small", "model.width=16", "optimizer=adamw",
                                  "optimizer.lr=0.002", "trainer.batch_size=8"], "pycocotools"),
}  # fmt: skip
EMBEDDED = ("digits", "breast_cancer", "wine", "iris", "diabetes")
LIMIT = 240  # seconds of one command


class Failed(Exception):
    """A check that failed; the text says why."""


class NotRun(Exception):
    """A check that cannot be made here; the text says why."""


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


class Check:
    """Runs commands; every check is a method that returns what it found, or raises Failed or NotRun."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out, self.device = args, args.out, args.device
        self.rows: list[tuple[str, str, str]] = []
        self.end = time.monotonic() + 60 * args.minutes

    # ---- running --------------------------------------------------------------------------------------------------

    def start(self, name: str, *words: str) -> subprocess.Popen:
        """Begin a command; its output goes to OUT/NAME.log."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        environment.pop("HYDRA_FULL_ERROR", None)
        log = (self.out / f"{name}.log").open("w")
        line = [sys.executable, "-m", "mixup_lab", *words]
        return subprocess.Popen(line, cwd=self.out, env=environment, stdout=log, stderr=log, text=True)

    def run(self, name: str, *words: str) -> int:
        """Run a command to its end and return its exit code."""
        process = self.start(name, *words)
        try:
            return process.wait(min(LIMIT, max(1.0, self.end - time.monotonic())))
        except subprocess.TimeoutExpired:
            raise Failed(f"it took too long; see {name}.log") from None
        finally:
            process.kill()
            process.wait()

    def train(self, name: str, device: str, *words: str) -> Path:
        """Train one run or, with commas, several in OUT/NAME; Failed if the command fails."""
        folder = self.out / name
        where = ["-m", "hydra/launcher=basic", f"hydra.sweep.dir={folder}"]
        code = self.run(name, "train", *where, *words, f"trainer.device={device}", "trainer.progress=none")
        if code:
            raise Failed(f"exit code {code}: {self.last_line(name)}")
        return folder

    def last_line(self, name: str) -> str:
        lines = (self.out / f"{name}.log").read_text().strip().splitlines()
        return lines[-1] if lines else "no output"

    def both(self, name: str, words: list[str], tolerance: float) -> str:
        """Train on the device and on the CPU at the same time, and compare every epoch's training loss."""
        with ThreadPoolExecutor() as pool:
            ours = pool.submit(self.train, name, self.device, *words)
            twin = pool.submit(self.train, f"{name}-cpu", "cpu", *words)
            return alike(ours.result(), twin.result(), tolerance)

    def check(self, name: str, call, *args) -> None:
        """Make one check and note what came out."""
        started = time.monotonic()
        try:
            state, why = ("ok", call(*args)) if started < self.end else ("not run", "no time left")
        except Failed as error:
            state, why = "FAIL", str(error)
        except NotRun as error:
            state, why = "not run", str(error)
        self.rows.append((state, name, why))
        print(f"{state:8} {name}: {why}  [{time.monotonic() - started:.0f} s]", flush=True)

    # ---- the checks -----------------------------------------------------------------------------------------------

    def methods(self) -> None:
        chosen = ["none", "mixup", "cutmix"] if self.args.quick else options("aug")
        words = [*SMALL, f"aug={','.join(chosen)}"]
        precisions = ("fp32", "bf16") if self.args.quick else PRECISIONS
        with ThreadPoolExecutor() as pool:
            twin = pool.submit(self.train, "methods-cpu", "cpu", *words)
            runs = {name: pool.submit(self.train, f"methods-{name}", self.device, *words, f"trainer.precision={name}")
                    for name in precisions}  # fmt: skip
        for name, run in runs.items():
            self.check(f"every method, {name}", lambda name=name, run=run: alike(
                run.result(), twin.result(), TOLERANCES[name]))  # fmt: skip

    def transforms(self) -> None:
        chosen = ["none", "crop_flip"] if self.args.quick else options("transform")
        words = [*SMALL, "dataset.shape=[3,32,32]", "aug=mixup", f"transform={','.join(chosen)}"]
        self.check("every transform", self.both, "transforms", words, TOLERANCES["fp32"])

    def kinds(self) -> None:
        chosen = EMBEDDED[:2] if self.args.quick else EMBEDDED
        words = ["model=mlp", *ROWS, f"dataset={','.join(chosen)}"]
        self.check(", ".join(chosen), self.both, "embedded", words, TOLERANCES["fp32"])
        for kind in () if self.args.quick else KINDS:
            self.check(kind, self.kind, kind)

    def kind(self, kind: str) -> str:
        make, count, words, package = KINDS[kind]
        if package and not find_spec(package):
            raise NotRun(f"{package} is not installed")
        data = make(self.out / "data" / kind, count)
        cache = [] if kind == "texts" else ["dataset.cache=false"]
        return self.both(kind, [*ROWS, *data, *cache, *words], 10 * TOLERANCES["fp32"])

    # A training with a moving average and chance on the device, long enough to be cut.
    REPEATED = (*SMALL, "model.dropout=0.2", "aug=mixup", "transform=crop_flip", "trainer.ema_decay=0.9",
                "trainer.deterministic=true", "trainer.epochs=40")  # fmt: skip

    def deterministic(self) -> None:
        self.check("two deterministic runs", self.twice)

    def twice(self) -> str:
        with ThreadPoolExecutor() as pool:
            runs = list(pool.map(lambda name: self.train(name, self.device, *self.REPEATED), ("uncut", "again")))
        return same_bits(*(only(run) for run in runs))

    def resume(self) -> None:
        self.check("cut by SIGTERM and resumed", self.cut)

    def cut(self) -> str:
        uncut = self.out / "uncut"
        if not uncut.exists():
            self.train("uncut", self.device, *self.REPEATED)
        folder = self.out / "cut"
        words = [*self.REPEATED, f"trainer.device={self.device}", "trainer.progress=none", f"hydra.run.dir={folder}"]
        process = self.start("cut", "train", *words)
        record = folder / "record.jsonl"
        while process.poll() is None and time.monotonic() < self.end:
            if record.exists() and record.read_text().count('"event": "epoch"') >= 2:
                process.send_signal(signal.SIGTERM)
                break
            time.sleep(0.01)
        code = process.wait(LIMIT)
        if code != 143:
            raise Failed(f"the cut run ended with {code}, not 143: {self.last_line('cut')}")
        if code := self.run("resumed", "train", f"resume={folder}"):
            raise Failed(f"the resumed run ended with {code}: {self.last_line('resumed')}")
        return same_bits(only(uncut), folder)

    def compare(self) -> None:
        self.check("compare, several runs at a time", self.study)

    def study(self) -> str:
        slots = "slots_per_gpu" if self.device.startswith("cuda") else "slots"
        words = ["aug.alpha=0,1", "seed=range(2)", "study=check", f"trainer.device={self.device}"]
        code = self.run("compare", "compare", *SMALL, *words, f"hydra.launcher.{slots}=2")
        states = [json.loads(path.read_text())["status"] for path in (self.out / "outputs").rglob("summary.json")]
        if code or states != ["ok"] * 4:
            raise Failed(f"exit code {code}, {states.count('ok')} of 4 runs finished: {self.last_line('compare')}")
        return "4 runs, 2 at a time"

    def memory(self) -> None:
        self.check("out of memory", self.too_large)

    def too_large(self) -> str:
        if not self.device.startswith("cuda"):
            raise NotRun("it needs a GPU")
        words = ["dataset=fake", "dataset.train=36000", "dataset.shape=[3,32,32]", "model=preact_resnet18",
                 "model.blocks=[6,2,2,2]", "trainer.batch_size=30000", "trainer.epochs=1"]  # fmt: skip
        code = self.run("memory", "train", *words, f"trainer.device={self.device}", "trainer.progress=none")
        text = (self.out / "memory.log").read_text()
        if code != 1 or "memory" not in self.last_line("memory") or "Traceback" in text:
            raise Failed(f"exit code {code}, not 1 with one sentence on memory: {self.last_line('memory')}")
        return self.last_line("memory")

    def graph(self) -> None:
        self.check("accelerate=graph like none", self.captured)

    def captured(self) -> str:
        if not self.device.startswith("cuda"):
            raise NotRun("it needs a GPU")
        words = [*SMALL, "aug=none,mixup,cutmix", "transform=crop_flip", "trainer.deterministic=true"]
        names = ("accelerate-none", "accelerate-graph")
        with ThreadPoolExecutor() as pool:
            runs = pool.map(
                lambda name: self.train(name, self.device, *words, f"trainer.{name.replace('-', '=')}"), names
            )
            none, graph = map(losses, runs)
        if none != graph or len(none) != 3:
            raise Failed(f"the losses differ: {none} and {graph}")
        return "the losses of 3 trainings are equal"


def alike(ours: Path, twin: Path, tolerance: float) -> str:
    """Failed unless the losses of every epoch are those of the CPU, within a tolerance."""
    found, expected = losses(ours), losses(twin)
    wrong, largest = [], 0.0
    for key, wanted in expected.items():
        name, allowed = "/".join(key), LOOSELY if set(key) & set(LOOSE) else tolerance
        if key not in found:
            wrong.append(f"{name} did not finish")
            continue
        difference = max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(found[key], wanted, strict=True))
        largest = max(largest, 0.0 if allowed == LOOSELY else difference)
        if not difference <= allowed:
            wrong.append(f"{name}: the losses are {difference:.1e} apart, allowed {allowed:.0e}")
    if wrong or not expected:
        raise Failed("; ".join(wrong) or "nothing was trained")
    return f"{len(expected)} like on the CPU, losses at most {largest:.0e} apart"


def losses(folder: Path) -> dict[tuple[str, ...], list[float]]:
    """The training loss of every epoch of the finished runs below a folder, by what they chose."""
    found = {}
    for path in sorted(folder.rglob("record.jsonl")):
        events = [json.loads(line) for line in path.read_text().splitlines()]
        choices = events[0]["choices"]
        key = tuple(choices[group] for group in ("dataset", "model", "transform", "aug"))
        if events[-1].get("status") == "ok":
            found[key] = [event["scalars"]["train/loss"] for event in events if event["event"] == "epoch"]
    return found


def only(folder: Path) -> Path:
    (path,) = folder.rglob("summary.json")
    return path.parent


def same_bits(first: Path, second: Path) -> str:
    """Failed unless two runs have equal scalars, times aside, and equal predictions."""
    scalars = []
    for run in (first, second):
        summary = json.loads((run / "summary.json").read_text())
        scalars.append({name: value for name, value in summary["scalars"].items() if not name.startswith("time/")})
    wrong = [name for name in scalars[0] if scalars[0][name] != scalars[1].get(name)]
    one, other = (np.load(run / "predictions.npz") for run in (first, second))
    wrong += [name for name in one.files if not np.array_equal(one[name], other[name])]
    if wrong:
        raise Failed(f"these differ: {', '.join(wrong)}")
    return f"{len(scalars[0])} scalars and {len(one.files)} arrays of predictions have equal bits"


CHECKS = ("methods", "transforms", "kinds", "deterministic", "resume", "compare", "memory", "graph")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=CHECKS, metavar="CHECK", help=", ".join(CHECKS))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a rehearsal")
    parser.add_argument("--minutes", type=float, default=8, help="checks that begin later are not run")
    parser.add_argument("--quick", action="store_true", help="few methods, transforms and kinds of data")
    parser.add_argument("--out", type=Path, help="an empty folder for the runs; default: a new temporary one")
    args = parser.parse_args()
    args.out = (args.out or Path(tempfile.mkdtemp(prefix="check_gpu-"))).resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    about = json.loads(subprocess.run(
        [sys.executable, "-c", "import bench_worker, json; print(json.dumps(bench_worker.about()))"], check=True,
        cwd=ROOT / "scripts", env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    ).stdout)  # fmt: skip
    if args.device != "cpu" and not about["cuda"]:
        print("scripts/check_gpu: torch finds no CUDA device here; --device cpu rehearses without one", file=sys.stderr)
        return 2
    facts = machine("cpu" if args.device == "cpu" else "cuda", about, "scripts/check_gpu")
    check = Check(args)
    for name in CHECKS:
        if name in args.only:
            getattr(check, name)()
    head = ", ".join(f"{key} {facts[key]}" for key in ("torch", "cudnn", "driver", "commit", "date") if facts.get(key))
    print(f"\n{facts['name']}, {cores()} cores, {head}\n")
    for state, name, why in check.rows:
        print(f"{state:8} {name:32} {why}")
    failed = sum(state == "FAIL" for state, *_ in check.rows)
    print(f"\n{failed} of {len(check.rows)} checks failed; the runs and logs are in {check.out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
