#!/usr/bin/env python3
"""How fast is a study? Compared with other ways to do the same runs, on this machine.

    python scripts/bench_sweep.py                       # everything, about ten minutes on 2 cores
    python scripts/bench_sweep.py --only compare --runs 10

compare   seconds of --runs runs of the MLP on digits: a fresh process for each, in turn / one `compare` for all
launcher  seconds of 8 seeds of small_cnn: in process, with 1 thread and with one for each core / with each launcher
          that uses several processes, 1 thread each
report    seconds and peak memory of `mixup-lab report` over 100 and over 1,000 made-up runs
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALPHAS = ("0", "0.1", "0.2", "0.4", "1")
KINDS = ("compare", "launcher", "report")


def line(folder: str, *words: str) -> float:
    """Seconds of one command line."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mixup_lab", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - started


def bench_compare(args: argparse.Namespace) -> list[dict]:
    seeds = max(1, args.runs // len(ALPHAS))
    with tempfile.TemporaryDirectory() as folder:
        length = ["trainer.batch_size=128", "trainer.epochs=20"]
        ours = line(folder, "compare", *length, f"aug.alpha={','.join(ALPHAS)}", f"seed=range({seeds})")
        fresh = 0.0
        for seed in range(seeds):
            for alpha in ALPHAS:
                words = ["aug=mixup", f"aug.alpha={alpha}", f"seed={seed}", "trainer.progress=none", *length]
                fresh += line(folder, "train", *words)
    return [row(f"{seeds * len(ALPHAS)} runs of mlp on digits: fresh processes, compare (s)", fresh, ours, ">= 8")]


def bench_launcher(args: argparse.Namespace) -> list[dict]:
    words = ["compare", "aug=none", "seed=range(8)", "model=small_cnn", f"trainer.epochs={args.epochs}", "min_effect=1",
             "trainer.batch_size=128"]  # fmt: skip
    launchers = ["slots", *(["joblib"] if find_spec("hydra_plugins.hydra_joblib_launcher") else [])]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        inside = line(folder, *words, "study=basic", "hydra/launcher=basic", "trainer.threads=1")
        all_cores = line(folder, *words, "study=threads", "hydra/launcher=basic")
        rows.append(row("8 seeds of small_cnn, in process: 1 thread, all cores (s)", inside, all_cores, ""))
        for launcher in launchers:
            extra = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
            seconds = line(folder, *words, f"study={launcher}", f"hydra/launcher={launcher}", *extra)
            rows.append(row(f"8 seeds of small_cnn: in process (1 thread), {launcher} (s)", inside, seconds, ">= 1.6"))
    return rows


def bench_report(args: argparse.Namespace) -> list[dict]:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import numpy as np
    from helpers.studies import write_study

    rng = np.random.default_rng(0)
    rows = []
    for count, limit in ((100, 2.0), (1000, 10.0)):
        with tempfile.TemporaryDirectory() as folder:
            rates = {float(alpha): 0.9 + 0.01 * float(alpha) for alpha in ALPHAS}
            seeds = count // len(ALPHAS)
            hits = {alpha: rng.random((seeds, 1000)) < rate for alpha, rate in rates.items()}
            write_study(Path(folder) / "study", hits)
            script = (
                "import resource, sys; from mixup_lab.cli import main; code = main(['report', 'study']);"
                "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr); sys.exit(code)"
            )
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", script], cwd=folder, env=environment, capture_output=True, text=True, check=True
            )
            seconds = time.perf_counter() - started
            size = (Path(folder) / "study" / "report.html").stat().st_size / 1000
            memory = float(done.stderr)
            text = f"report of {count} runs: {seconds:.2f} s (wanted < {limit:g}), {memory:.0f} MB, page {size:.0f} kB"
            print(text, flush=True)
            rows.append({"what": text, "seconds": seconds, "mb": memory, "page_kb": size})
    return rows


def row(what: str, other: float, ours: float, wanted: str) -> dict:
    print(f"{what:72} {other:7.1f} {ours:7.1f}   {other / ours:5.2f}  {wanted}", flush=True)
    return {"what": what, "other": other, "ours": ours, "ratio": other / ours, "wanted": wanted}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--runs", type=int, default=40, help="of `compare`; a multiple of 5")
    parser.add_argument("--epochs", type=int, default=30, help="of `launcher`; short ones measure the start")
    parser.add_argument("--json", type=Path, help="write all measurements here")
    args = parser.parse_args()
    rows = [result for kind in args.only for result in globals()[f"bench_{kind}"](args)]
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
