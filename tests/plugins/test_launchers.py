"""Sweeps side by side: our own launcher `slots`, and joblib's where it is installed."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from helpers.cases import each
from helpers.processes import FAKE, begin, lines_of, mixup_lab, summary_of, without_time
from hydra_plugins.mixup_lab_slots import _places

from mixup_lab.types import UserError

SLOTS = ("hydra/launcher=slots", "hydra.launcher.slots=2")
LISTING = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa1111-0000)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb2222-0000)
"""
MIG = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa1111-0000)
  MIG 3g.20gb     Device  0: (UUID: MIG-c1)
  MIG 3g.20gb     Device  1: (UUID: MIG-c2)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb2222-0000)
"""

# In place of training. Its kind is the device, which any text can be.
JOBS = """
import os, signal, sys, time
from pathlib import Path
from hydra.core.hydra_config import HydraConfig
from mixup_lab.types import Interrupted, UserError

class Stubborn(UserError):
    def __init__(self, a, b):
        super().__init__(a + b)

class Oddity(Exception):
    def __init__(self, thing):
        super().__init__(thing)
        self.thing = lambda: thing

def job(cfg):
    kind, hydra = cfg.trainer.device, HydraConfig.get()
    if kind == "look":
        ahead = "torch" in sys.modules
        import torch
        assert Path(hydra.runtime.output_dir).is_dir()
        threads = Path("/proc/self/status").read_text().split("Threads:")[1].split()[0]
        print("job", hydra.job.num, hydra.job.id, Path(hydra.runtime.output_dir).name, flush=True)
        print("threads", torch.get_num_threads(), os.environ["OMP_NUM_THREADS"], "tasks", threads)
        print("in", Path(hydra.runtime.output_dir).parent.name, "error", os.environ.get("HYDRA_FULL_ERROR"))
        print("torch", ahead, torch.cuda.is_initialized())
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exits":
        os._exit(3)
    if kind == "late":
        time.sleep(1)
        raise UserError("late, but first in the order")
    if kind == "user":
        raise UserError("device must be better")
    if kind == "stubborn":
        raise Stubborn("one ", "word")
    if kind == "odd":
        raise Oddity("cannot be pickled")
    if kind == "strange":
        return lambda: None
    if kind == "interrupted":
        time.sleep(0.5)
        raise Interrupted(signal.SIGTERM, "stopped, saved")
    if kind == "leaves":
        sys.exit(5)
    if kind in ("waits", "deaf"):
        Path(f"started{cfg.seed}").touch()
        if kind == "deaf":
            signal.signal(signal.SIGTERM, lambda *_: None)
        for _ in range(600):
            time.sleep(0.1)
    if kind == "counts":
        came = []
        signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
        Path(f"started{cfg.seed}").touch()
        while not came:
            time.sleep(0.1)
        time.sleep(1.5)
        print("came", came, flush=True)
        raise Interrupted(signal.SIGTERM, f"counted {cfg.seed}")
    print("ran", cfg.seed)
    return 0.0
"""
# Nothing is imported ahead: these jobs do not need torch, which takes seconds.
START_TOY = """
import sys
sys.path.append(".")
from hydra_plugins.mixup_lab_slots import _queue
from mixup_lab import cli
if "trainer.device=look" not in sys.argv:
    _queue.PRELOAD = "json"
cli.COMMANDS["train"] = cli.COMMANDS["train"]._replace(job="jobs:job")
sys.exit(cli.main(sys.argv[1:]))
"""
TOY = ("train", "-m", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=n${hydra.job.num}", *SLOTS)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def toy(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)

    def line(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return mixup_lab(*TOY, *words, cwd=tmp_path, script=START_TOY, **env)

    return line


class Sweep:
    """A line as the leader of a process group and session of its own."""

    def __init__(self, *words: str, cwd: Path, script: str | None) -> None:
        self.process = begin(*words, cwd=cwd, script=script, session=True)

    def wait_for(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def members(self) -> list[int]:
        """Every living process of the session."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if session == str(self.process.pid) and state != "Z":
                found.append(int(stat.parent.name))
        return found

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def gone(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.members():
            assert time.monotonic() < deadline, self.members()
            time.sleep(0.05)


@pytest.fixture
def start(tmp_path):
    (tmp_path / "jobs.py").write_text(JOBS)
    all_started = []

    def line(*words: str, script: str | None = START_TOY) -> Sweep:
        all_started.append(Sweep(*words, cwd=tmp_path, script=script))
        return all_started[-1]

    yield line
    for started in all_started:
        for pid in started.members() if sys.platform == "linux" else []:
            os.kill(pid, signal.SIGKILL)
        started.process.kill()
        started.process.wait()


def train(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return mixup_lab("train", "-m", *FAKE, "trainer.epochs=2", *words, cwd=cwd)


def result_of(run_dir: Path) -> dict:
    """What may not depend on the launcher."""
    state = torch.load(run_dir / "checkpoint.pt", weights_only=True)
    epochs = [without_time(event["scalars"]) for event in lines_of(run_dir) if event["event"] == "epoch"]
    weights = {name: tensor.tolist() for name, tensor in state["model"].items()}
    return {
        "summary": without_time(summary_of(run_dir)["scalars"]),
        "status": summary_of(run_dir)["status"],
        "epochs": epochs,
        "weights": weights,
    }


def runs_in(folder: Path) -> dict[str, dict]:
    return {str(path.parent.relative_to(folder)): result_of(path.parent) for path in folder.rglob("summary.json")}


@pytest.fixture(scope="module")
def in_process(tmp_path_factory):
    """Four runs and two mistakes under Hydra's basic launcher: what came of them, and the line's ending."""
    folder = tmp_path_factory.mktemp("basic")
    done = train("aug.alpha=0.4,-1", "seed=0,1,2,3", "hydra.sweep.dir=sweep", cwd=folder)
    return runs_in(folder / "sweep"), done


def assert_same_sweep(folder: Path, done: subprocess.CompletedProcess[str], expected: tuple) -> None:
    results, basic = expected
    assert len(results) == 4
    assert runs_in(folder / "sweep") == results
    assert done.returncode == basic.returncode == 2
    said = [line for line in basic.stderr.splitlines() if ": run " in line]
    assert len(said) == 4
    assert sorted(line for line in done.stderr.splitlines() if ": run " in line) == sorted(said)
    # The basic launcher alone is in the process that counts the runs that failed.
    last, basic_last = (text.stderr.splitlines()[-1].partition("of the sweep")[2] for text in (done, basic))
    assert last == basic_last
    assert last.startswith(" failed; the first: ")


@pytest.mark.slow
def test_what_is_true_of_the_data_is_said_once_and_not_by_every_run(tmp_path):
    rows = "".join(f"{i % 7},{i * i % 11},{'abc'[i % 2 if i else 2]}\n" for i in range(40))  # one c
    (tmp_path / "rows.csv").write_text("x,z,y\n" + rows)
    words = ["dataset=table", "dataset.root=rows.csv", "dataset.target=y", "model=mlp", "model.hidden=[4]",
             "trainer.epochs=1", "trainer.batch_size=8", "trainer.device=cpu", "trainer.progress=none",
             "seed=0,1,2", "dataset.split_seed=0", *SLOTS]  # fmt: skip
    done = mixup_lab("train", "-m", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("dataset.target=y: texts, so dataset.task=classification") == 1
    assert done.stderr.count("class c has fewer than 3 examples for 3 splits") == 1


# ---- the machine divided ------------------------------------------------------------------------------------------


@each(
    "listing, outer, expected",
    [
        (LISTING, None, ["0", "1"]),
        (LISTING, "1", ["1"]),
        (LISTING, "1,0", ["1", "0"]),
        (LISTING, " 1 , 0 ", ["1", "0"]),
        (LISTING, "0,-1,1", ["0"]),
        (LISTING, "0,2,1", ["0"]),
        (LISTING, "", []),
        (LISTING, "-1", []),
        (LISTING, "NoDevFiles", []),
        (LISTING, "GPU-bbbb2222-0000,GPU-aaaa", ["GPU-bbbb2222-0000", "GPU-aaaa"]),
        (LISTING, "GPU-cccc", []),
        (MIG, None, ["MIG-c1", "MIG-c2", "1"]),
        (MIG, "MIG-c2", ["MIG-c2"]),
        (MIG, "MIG-GPU-aaaa1111-0000/1/0", ["MIG-GPU-aaaa1111-0000/1/0"]),
        ("GPU 0: \nGPU 1: \n", "GPU-anything,1", ["GPU-anything", "1"]),
        ("", None, []),
        ("", "0,1", []),
        ("No devices were found\n", None, []),
    ],
)
def test_the_gpus_are_those_that_cuda_would_show(listing, outer, expected):
    assert _places.visible_gpus(listing, outer) == expected


@each(
    "slots, per_gpu, threads, runs, cores, gpus, outer, expected",
    [
        ("auto", 1, "auto", 9, 8, [], None, (8, 1)),
        ("auto", 1, "auto", 3, 8, [], None, (3, 2)),
        ("auto", 1, "auto", 9, 8, ["0", "1"], None, (2, 4)),
        ("auto", 2, "auto", 9, 8, ["0", "1"], None, (4, 2)),
        ("auto", 2, "auto", 1, 8, ["0", "1"], None, (1, 8)),
        ("auto", 4, "auto", 9, 2, ["0"], None, (4, 1)),
        (3, 1, "auto", 9, 8, [], None, (3, 2)),
        (3, 1, "auto", 1, 8, [], None, (3, 2)),
        (16, 1, "auto", 99, 8, [], None, (16, 1)),
        (2, 1, "auto", 9, 8, [], "1", (2, 1)),
        (2, 1, "auto", 9, 8, [], "64", (2, 4)),
        (2, 1, "auto", 9, 8, [], "none", (2, 4)),
        (2, 1, 6, 9, 8, [], "1", (2, 6)),
    ],
)
def test_cores_and_gpus_are_divided(slots, per_gpu, threads, runs, cores, gpus, outer, expected):
    allotment = _places.divide(slots, per_gpu, threads, runs, cores, gpus, outer)
    assert (allotment.slots, allotment.threads) == expected
    for slot in range(allotment.slots):
        variables = allotment.environment(slot)
        assert variables["OMP_NUM_THREADS"] == str(allotment.threads)
        assert variables.get("CUDA_VISIBLE_DEVICES") == (gpus[slot % len(gpus)] if gpus else None)


@each(
    "slots, gpus, on_gpu",
    [(4, ["0", "1"], [2, 2, 2, 2]), (3, ["0", "1"], [2, 1, 2]), (1, ["0", "1"], [1]), (6, ["3"], [6] * 6),
     (3, [], [3] * 3)],
)  # fmt: skip
def test_a_run_knows_how_many_share_its_memory(slots, gpus, on_gpu):
    allotment = _places.divide(slots, 1, 1, slots, 8, gpus, None)
    environments = [allotment.environment(slot) for slot in range(slots)]
    assert [variables["MIXUP_LAB_RUNS"] for variables in environments] == [str(slots)] * slots
    assert [variables["MIXUP_LAB_RUNS_ON_GPU"] for variables in environments] == list(map(str, on_gpu))
    same_gpu = [[other.get("CUDA_VISIBLE_DEVICES") for other in environments].count(own.get("CUDA_VISIBLE_DEVICES"))
                for own in environments]  # fmt: skip
    assert same_gpu == on_gpu


@each(
    "slots, per_gpu, threads, key",
    [(0, 1, 1, "slots"), ("many", 1, 1, "slots"), (True, 1, 1, "slots"), (1, 0, 1, "slots_per_gpu"),
     (1, "auto", 1, "slots_per_gpu"), (1, 1, -1, "threads"), (1, 1, None, "threads")],
)  # fmt: skip
def test_settings_out_of_range(slots, per_gpu, threads, key):
    with pytest.raises(UserError, match=rf"^hydra\.launcher\.{key} must be .*whole number of at least 1, got "):
        _places.divide(slots, per_gpu, threads, 1, 1, [], None)


# ---- slots --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "device", "expected"),
    [
        (["0", "1"], "auto", ["0", "1"]), (["0", "1"], "cuda", ["0", "1"]), (["0", "1"], "cuda:1", ["1"]),
        (["GPU-a", "GPU-b"], "cuda:0", ["GPU-a"]), (["0", "1"], "cpu", []), ([], "cuda:1", []), ([], "auto", []),
    ],
)  # fmt: skip
def test_slots_have_the_gpus_of_the_device(gpus, device, expected):
    assert _places.chosen_gpus(gpus, device) == expected


def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"^trainer\.device=cuda:2, but only 2 CUDA devices are visible$"):
        _places.chosen_gpus(["0", "1"], "cuda:2")


@pytest.mark.slow
def test_slots_train_the_same_bits_and_a_mistake_stops_no_other(tmp_path, in_process):
    done = train("aug.alpha=0.4,-1", "seed=0,1,2,3", "hydra.sweep.dir=sweep", *SLOTS, cwd=tmp_path)
    assert_same_sweep(tmp_path, done, in_process)


@pytest.mark.slow
@linux
def test_what_a_run_sees(toy):
    subdir = "hydra.sweep.subdir='${run_name:}/n${hydra.job.num}'"  # with a resolver of ours
    done = toy("trainer.device=look", "seed=7,8,9", subdir, HYDRA_FULL_ERROR="0", OMP_NUM_THREADS="")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for number, seed in enumerate((7, 8, 9)):
        own = [line.removeprefix(f"[{number}] ") for line in lines if line.startswith(f"[{number}] ")]
        assert own[0] == f"job {number} train_{number} n{number}"
        threads = max(1, _places.usable_cores() // 2)
        assert own[1] == f"threads {threads} {threads} tasks 2"  # beside the main one that which waits for orders
        assert own[2] == "in baseline error 0"
        assert own[3] == "torch True False"
        assert own[4] == f"ran {seed}"


@pytest.mark.slow
def test_whatever_ends_a_run_the_others_go_on(toy):
    kinds = "late,auto,killed,exits,user,stubborn,odd,strange"
    done = toy(f"trainer.device={kinds}", "seed=5")
    assert done.returncode == 2, done.stderr
    assert done.stdout.splitlines() == ["[1] ran 5"]
    for sentence in (
        "mixup-lab train: run 0 (trainer.device=late seed=5): late, but first in the order\n",
        "run 2 (trainer.device=killed seed=5): its process was killed by SIGKILL, as the system does when memory",
        "run 3 (trainer.device=exits seed=5): its process ended with exit code 3 and without a result\n",
        "run 4 (trainer.device=user seed=5): device must be better\n",
        "run 5 (trainer.device=stubborn seed=5): one word\n",
    ):
        assert done.stderr.count(sentence) == 1
    assert "jobs.Oddity: cannot be pickled\n" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("of the sweep failed; the first: late, but first in the order")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "code", "last"),
    [("killed", 1, "its process was killed by SIGKILL"),
     ("strange", 1, "the result of the run cannot be sent from its process: ")],
)  # fmt: skip
def test_exit_code_and_last_line_of_a_sweep_of_one(toy, kind, code, last):
    done = toy(f"trainer.device={kind}")
    assert done.returncode == code
    assert last in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "code"), [("interrupted", 143), ("leaves", 5)])
def test_a_run_that_stops_everything_does_so(toy, kind, code):
    done = toy(f"trainer.device={kind},waits,auto", "seed=1,2")
    assert done.returncode == code, done.stderr
    assert "ran" not in done.stdout
    if kind == "interrupted":
        last = done.stderr.splitlines()
        assert "mixup-lab train: stopped, saved" in last
        assert last[-1].endswith("runs were not started")


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("whom", "signum", "code"),
    [("group", signal.SIGINT, 130), ("group", signal.SIGTERM, 143), ("parent", signal.SIGTERM, 143)],
)
def test_a_signal_saves_what_is_under_way_and_starts_no_more(start, tmp_path, whom, signum, code):
    """`group` is Ctrl-C on a terminal, or `timeout`; the order of the parent and the signal itself count as one."""
    line = start(*TOY, "trainer.device=counts", "seed=0,1,2")
    line.wait_for(lambda: (tmp_path / "started0").exists() and (tmp_path / "started1").exists())
    (os.killpg if whom == "group" else os.kill)(line.process.pid, signum)
    returned, out, err = line.end()
    assert returned == code, err
    assert sorted(out.splitlines()) == ["[0] came [15]", "[1] came [15]"]
    said = err.splitlines()
    assert sorted(text.removeprefix("mixup-lab train: ") for text in said[:2]) == ["counted 0", "counted 1"]
    assert said[2:] == ["1 run was not started"]
    assert not (tmp_path / "started2").exists()
    line.gone(10)


@pytest.mark.slow
@linux
def test_the_second_ctrl_c_kills(start, tmp_path):
    line = start(*TOY, "trainer.device=deaf", "seed=0,1,2")
    line.wait_for(lambda: (tmp_path / "started0").exists() and (tmp_path / "started1").exists())
    time.sleep(0.3)
    os.killpg(line.process.pid, signal.SIGINT)
    time.sleep(1.5)
    assert line.process.poll() is None
    os.killpg(line.process.pid, signal.SIGINT)
    returned, _, err = line.end()
    assert (returned, err) == (130, "mixup-lab train: 1 run was not started\n")
    line.gone(10)


@pytest.mark.slow
@linux
def test_a_real_sweep_is_interrupted_and_one_whose_launcher_is_killed_leaves_no_process(start, tmp_path):
    words = (
        "train",
        "-m",
        *FAKE,
        *SLOTS,
        "trainer.epochs=100000",
        "trainer.checkpoint_seconds=0",
        "trainer.progress=none",
        "seed=0,1,2",
    )
    names = ("interrupted", "orphaned")
    lines = [start(*words, f"hydra.sweep.dir={name}", script=None) for name in names]
    for line, name in zip(lines, names, strict=True):
        line.wait_for(lambda name=name: len(list((tmp_path / name).rglob("checkpoint.pt"))) == 2)
    interrupted, orphaned = lines
    os.killpg(interrupted.process.pid, signal.SIGINT)
    orphaned.process.kill()
    returned, _, err = interrupted.end()
    assert returned == 130, err
    assert err.count("resume=") == 2
    orphaned.gone(20)
    interrupted.gone(10)
    for name in names:
        summaries = [summary_of(path.parent) for path in (tmp_path / name).rglob("summary.json")]
        assert [summary["status"] for summary in summaries] == ["interrupted"] * 2


# ---- joblib -------------------------------------------------------------------------------------------------------


def _has_joblib() -> bool:
    try:
        return find_spec("hydra_plugins.hydra_joblib_launcher") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not _has_joblib(), reason="the extra joblib is not installed")
def test_joblib_trains_the_same_bits(tmp_path, in_process):
    launcher = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    done = train("aug.alpha=0.4,-1", "seed=0,1,2,3", "hydra.sweep.dir=sweep", *launcher, cwd=tmp_path)
    assert_same_sweep(tmp_path, done, in_process)
