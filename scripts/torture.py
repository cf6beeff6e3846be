"""Kills, bad lines, attacks and damaged files against real processes of the command line, with what held.

Nothing of a run may be lost, nothing that a file names may run, and no mistake may take ten seconds more than a run
of one epoch. Chance has a seed, so that a trial can be repeated.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SLOW = 10.0  # seconds
SMALL = (
    "dataset=fake", "dataset.shape=[1,8,8]", "model=mlp", "model.hidden=[16]", "aug=mixup", "trainer.batch_size=32",
    "trainer.device=cpu", "trainer.threads=1", "trainer.progress=none", "trainer.checkpoint_seconds=0",
)  # fmt: skip
STUDY = ("study=s", "aug.alpha=0,0.4", "seed=0,1", "trainer.epochs=6")
# Points at which a process kills itself: the function, and after how many of its calls.
POINTS = ("os.fsync", "os.replace", "os.rename", "pathlib.Path.replace", "pathlib.Path.open")


@dataclass
class Report:
    """What held, by part."""

    held: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def count(self, part: str, problem: str | None) -> None:
        if problem is None:
            self.held[part] += 1
        else:
            self.failed.append(f"{part}: {problem}")
            print(f"  {part}: {problem}", flush=True)


@dataclass
class Lab:
    """The command line, in processes that begin in one folder."""

    folder: Path
    quick: float = 0.0  # seconds of a line that does nothing

    def start(self, *words: str, before: str = "") -> subprocess.Popen[str]:
        code = f"import sys\n{before}\nfrom mixup_lab.cli import main\nsys.exit(main())"
        env = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
               "XDG_CACHE_HOME": str(self.folder / "cache")}  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-P", "-c", code, *words], cwd=self.folder, env=env, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, most: float = 300.0) -> tuple[int, str, float]:
        """Exit code, what was said on stderr, and seconds; the exit code is None if it took too long."""
        began = time.monotonic()
        process = self.start(*words)
        try:
            said = process.communicate(timeout=most)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return -1, f"more than {most:g} s", most
        return process.returncode, said, time.monotonic() - began


def sentence(code: int, said: str, seconds: float, lab: Lab, report: Report, right: tuple[int, ...]) -> str | None:
    """What is wrong with an answer; None if it is one sentence, in time."""
    over = seconds - lab.quick
    report.slowest = max(report.slowest, over)
    if "Traceback" in said:
        return f"traceback: {said.strip().splitlines()[-1]}"
    if code not in right:
        return f"exit code {code}: {said[-200:]}"
    return f"{over:.0f} s too long" if over > SLOW else None


# ---- kills --------------------------------------------------------------------------------------------------------


def kills(lab: Lab, chance: random.Random, report: Report) -> Iterator[None]:
    """Runs and studies that are killed and go on, until they end; compared with ones that never were."""
    launchers = ["basic", "slots"]
    with suppress(PackageNotFoundError):
        version("hydra-joblib-launcher")
        launchers.append("joblib")
    lab.run("compare", *SMALL, *STUDY, "hydra/launcher=basic", most=600)
    whole = outcome(lab.folder / "outputs" / "s")
    began = time.monotonic()
    lab.run("compare", *SMALL, *STUDY, "hydra/launcher=basic")
    idle = time.monotonic() - began
    while True:
        shutil.rmtree(lab.folder / "outputs")
        launcher = chance.choice(launchers)
        for _ in range(chance.randint(1, 4)):
            point, calls = chance.choice(POINTS), chance.randint(1, 60)
            at_point = chance.random() < 0.5
            process = lab.start("compare", *SMALL, *STUDY, f"hydra/launcher={launcher}",
                                before=killer(point, calls) if at_point else "")  # fmt: skip
            kept = lines(lab.folder / "outputs" / "s")
            try:
                process.wait(timeout=300 if at_point else idle * chance.uniform(0.2, 2))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)))
            process.communicate()
            time.sleep(0.2)  # the workers of a launcher that is gone
            lost = [line for line in kept if line not in set(lines(lab.folder / "outputs" / "s"))]
            report.count("kills", f"{len(lost)} lines of a record lost ({launcher})" if lost else None)
            yield
        code, said, _ = lab.run("compare", *SMALL, *STUDY, f"hydra/launcher={launcher}", most=600)
        now = outcome(lab.folder / "outputs" / "s")
        parts = list((lab.folder / "outputs").rglob("*.part"))
        problem = f"exit code {code}: {said[-200:]}" if code else "half-written files are left" if parts else None
        report.count("studies after kills", problem or (None if now == whole else f"other results ({launcher})"))


def killer(name: str, calls: int) -> str:
    """Code that kills the process, and its group, at a call of a function."""
    owner, _, function = name.rpartition(".")
    return (
        f"import os, pathlib, signal\nowner, left, plain = {owner}, [{calls}], {owner}.{function}\n"
        "def counted(*words, **more):\n    left[0] -= 1\n"
        "    if not left[0]:\n        os.killpg(0, signal.SIGKILL)\n"
        f"    return plain(*words, **more)\nowner.{function} = counted\n"
    )


def lines(study: Path) -> list[str]:
    """All whole lines of the records of a study, also of those that were set aside."""
    texts = (path.read_text(errors="replace") for path in sorted(study.rglob("record.jsonl*")))
    return [line for text in texts for line in text.splitlines(keepends=True) if line.endswith("\n")]


def outcome(study: Path) -> dict[str, object]:
    """The final scalars of every run, without times."""
    found = {}
    for path in sorted(study.glob("*/seed=*/summary.json")):
        scalars = json.loads(path.read_text())["scalars"]
        found[str(path.relative_to(study))] = {k: v for k, v in scalars.items() if not k.startswith("time/")}
    return found


# ---- bad lines ----------------------------------------------------------------------------------------------------

VALUES = (
    "", "null", "true", "-1", "²", "1e999", "inf", "nan", "[]", "[1", "{a:1}", "hello", "1,2", "range(0)", "../x",
    "/proc/x", "'", "${x}", "${oc.env:HOME}", "999999999999999999999999999999", "a b", "\x1b[31m", "äöü", "choice()",
    "glob(*)",
)  # fmt: skip
KEYS = (
    "seed", "aug", "aug.alpha", "trainer", "trainer.epochs", "trainer.threads", "trainer.device",
    "trainer.accelerate", "trainer.class_weights", "trainer.max_seconds", "dataset", "dataset.root", "dataset.shape",
    "dataset.train_size", "optimizer", "optimizer.lr", "optimizer.momentum", "scheduler", "scheduler.warmup_epochs",
    "model", "model.hidden", "transform", "mix_schedule", "study", "confirm", "until", "max_seeds", "metric",
    "baseline", "min_effect", "lenses", "hydra.run.dir", "hydra.searchpath", "hydra/launcher", "hydra.launcher.slots",
    "resume", "from", "trust", "out", "aug._target_", "model._target_", "nonsense", "+aug.nonsense", "~aug",
    "dataset.nonsense.deep",
)  # fmt: skip


def bad_lines(lab: Lab, chance: random.Random, report: Report) -> Iterator[None]:
    """Keys with values that most of them do not have; a line that is right after all trains for an epoch."""
    while True:
        words = [f"{chance.choice(KEYS)}={chance.choice(VALUES)}" for _ in range(chance.randint(1, 2))]
        command = chance.choice(("train", "train", "compare", "preview"))
        answer = lab.run(command, *SMALL, "trainer.epochs=1", "dataset.train_size=64", *words, most=120)
        problem = sentence(*answer, lab, report, (0, 1, 2))
        report.count("bad lines", None if problem is None else f"{command} {words}: {problem}")
        yield


# ---- attacks ------------------------------------------------------------------------------------------------------

TARGETS = (
    "os.system", "builtins.eval", "builtins.exec", "subprocess.run", "torch.load", "torch.serialization.load",
    "torch.utils.collect_env.run", "torch._inductor.codecache.PyCodeCache.load", "torch.distributed.run.main",
    "torch.fx.graph_module._forward_from_src", "torch.hub.load", "torch.serialization.save", "torch.jit.load",
    "torchvision.datasets.utils.download_url", "mixup_lab.cli.main", "mixup_lab.models.mlp.torch.load", "shutil.rmtree",
    "mixup_lab.commands.again.Path.write_text", "numpy.load", "pickle.loads", "hydra.utils.instantiate",
)  # fmt: skip
GROUPS = ("scheduler", "optimizer", "model", "transform", "aug", "mix_schedule", "dataset")


def attacks(lab: Lab, chance: random.Random, report: Report) -> Iterator[None]:
    """The run of somebody else, whose files name commands: resumed, trained again, reported, evaluated."""
    import yaml

    lab.run("train", *SMALL, "trainer.epochs=1", "hydra.run.dir=good")
    ran = lab.folder / "RAN"
    command = f"touch '{ran}'"
    while True:
        shutil.rmtree(lab.folder / "bad", ignore_errors=True)
        shutil.copytree(lab.folder / "good", lab.folder / "bad")
        path = lab.folder / "bad" / "config.yaml"
        config = yaml.safe_load(path.read_text())
        kind = chance.choice(("target", "target", "nested", "hydra", "trust", "code", "pickle", "study"))
        target = chance.choice(TARGETS)
        bad = {
            "_target_": target,
            "command": command,
            "args": command,
            "cmd": command,
            "f": str(ran),
            "argv": [command],
        }
        if kind == "target":
            config[chance.choice(GROUPS)] = bad
        elif kind == "nested":
            config[chance.choice(GROUPS)]["x"] = bad
        elif kind == "hydra":
            config["hydra"] = {"run": {"dir": str(lab.folder / "RAN")}, "callbacks": {"x": bad},
                               "job_logging": {"handlers": {"x": {"()": target, "filename": str(ran)}}}}  # fmt: skip
        elif kind == "trust":
            config |= {
                "trust": ["os", "subprocess", "torch"],
                "scheduler": {"_target_": "os.system", "command": command},
            }
        elif kind == "code":
            path.write_text(f"!!python/object/apply:os.system ['{command}']\n")
        if kind == "pickle":
            (lab.folder / "bad" / "checkpoint.pt").write_bytes(f"cposix\nsystem\n(V{command}\ntR.".encode())
        elif kind == "study":
            arms = {"a": chance.choice(("../RAN", "/tmp/../RAN", "a/../../RAN", str(ran)))}
            (lab.folder / "bad" / "study.json").write_text(json.dumps({"schema": 3, "arms": arms}))
        if kind != "code":
            path.write_text(yaml.safe_dump(config))
        if chance.random() < 0.7:
            (lab.folder / "bad" / "summary.json").unlink()
        lines = (("train", "resume=bad"), ("train", "from=bad", *SMALL, "hydra.run.dir=again"), ("report", "bad"),
                 ("evaluate", "bad", "lens=robustness"), ("predict", "bad", "bad"))  # fmt: skip
        words = chance.choice(lines)
        answer = lab.run(*words, most=120)
        problem = "a command was run" if ran.exists() else sentence(*answer, lab, report, (0, 1, 2))
        report.count("attacks", None if problem is None else f"{kind} {target}, {words[0]}: {problem}")
        shutil.rmtree(lab.folder / "again", ignore_errors=True)
        ran.unlink(missing_ok=True)
        yield


# ---- damaged files ------------------------------------------------------------------------------------------------


def damaged(lab: Lab, chance: random.Random, report: Report) -> Iterator[None]:
    """A study of which one file is cut, flipped, zeroed, foreign or of a later version: read, and gone on with."""
    lab.run("compare", *SMALL, *STUDY, "hydra/launcher=basic", most=600)
    lab.run("evaluate", "outputs/s", "lens=calibration")
    study, good = lab.folder / "outputs" / "s", lab.folder / "good"
    study.rename(good)
    names = ("record.jsonl", "summary.json", "config.yaml", "predictions.npz", "checkpoint.pt", "calibration.json")
    while True:
        shutil.rmtree(study, ignore_errors=True)
        shutil.copytree(good, study)
        name = chance.choice((*names, *names, "study.json"))
        path = chance.choice(sorted(study.rglob(name)))
        if name == "checkpoint.pt":
            (path.parent / "summary.json").unlink()
        before = path.read_bytes()
        manner, after = chance.choice(list(MANNERS.items()))
        path.write_bytes(after(before, chance))
        written = lines(study)
        for words in (("report", "outputs/s"), ("compare", *SMALL, *STUDY, "hydra/launcher=basic")):
            code, said, seconds = lab.run(*words, most=300)
            trained = words[0] == "compare" and code in (0, 1)  # a run that is made again takes its time
            problem = sentence(code, said, min(seconds, lab.quick) if trained else seconds, lab, report, (0, 1, 2))
            report.count("damaged files", None if problem is None else f"{name} {manner}, {words[0]}: {problem}")
        if lost := set(written) - set(lines(study)):
            report.count("damaged files", f"{name} {manner}: {len(lost)} lines of a record are lost")
        yield


def flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 20))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


MANNERS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda content, chance: content[: chance.randrange(len(content))],
    "flipped": flipped,
    "zeroed": lambda content, chance: bytes(len(content)),
    "first byte": lambda content, chance: b"x" + content[1:],
    "foreign": lambda content, chance: chance.choice((b"", b"{}", b"[]", b"hello\n", chance.randbytes(500), b"null\n")),
    "deep": lambda content, chance: b"[" * 100_000,
    "later": lambda content, chance: content.replace(b'schema": 3', b'schema": 9').replace(b'mat": 1', b'mat": 9'),
    "numbers": lambda content, chance: content.replace(b"0.", b"1e999").replace(b": 1", b": -1"),
}  # fmt: skip


def main() -> int:
    """Try each part in turn until all are done or the time is over; exit code 1 if anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts = {"kills": 200, "lines": 200, "attacks": 100, "damaged": 100}
    for name, count in counts.items():
        parser.add_argument(f"--{name}", type=int, default=count, help=f"default: {count}")
    parser.add_argument("--minutes", type=float, default=120.0, help="end after so long; default: 120")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    report, until = Report(), time.monotonic() + 60 * args.minutes
    parts = {"kills": kills, "lines": bad_lines, "attacks": attacks, "damaged": damaged}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        share = args.minutes * 60 / max(1, sum(getattr(args, name) > 0 for name in parts))
        for name, part in parts.items():
            folder = Path(scratch) / name
            folder.mkdir()
            lab = Lab(folder)
            if not getattr(args, name):
                continue
            lab.quick = lab.run("train", *SMALL, "trainer.epochs=1", "dataset.train_size=64")[2]
            shutil.rmtree(folder / "outputs", ignore_errors=True)
            trials, end = part(lab, random.Random(f"{args.seed} {name}"), report), min(until, time.monotonic() + share)
            for _ in range(getattr(args, name)):
                next(trials)
                if time.monotonic() > end:
                    print(f"{name}: the time is over", flush=True)
                    break
    for name, count in report.held.items():
        print(f"{name}: {count} held, {sum(problem.startswith(f'{name}:') for problem in report.failed)} did not")
    print(f"longest answer to a mistake: {report.slowest:.1f} s longer than a training of one epoch")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
