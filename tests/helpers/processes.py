"""Real processes of the command line, and what they leave in a run directory, read back by other means than our own."""

import atexit
import io
import json
import os
import select
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

CHECKOUT = Path(__file__).resolve().parents[2]
# -P: like the console script, which does not have the working directory on its path.
START = (sys.executable, "-P", "-m", "mixup_lab")
FAKE = ("dataset=fake", "dataset.shape=[1,8,8]", "model=mlp", "model.hidden=[32]", "aug=mixup", "transform=crop_flip",
        "trainer.batch_size=32", "trainer.device=cpu", "trainer.threads=1")  # fmt: skip


def environment(**changes: str) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name != "HYDRA_FULL_ERROR"}
    return {**env, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", **changes}


def fresh(*words: str, cwd: Path, script: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line to its end in a Python that starts anew, which takes seconds if it imports torch."""
    line = [*(START if script is None else (sys.executable, "-c", script)), *words]
    return subprocess.run(
        line, cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=120, check=False
    )


def mixup_lab(*words: str, cwd: Path, script: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a line to its end in a process of its own."""
    started = begin(*words, cwd=cwd, script=script, **env)
    try:
        out, err = started.communicate(timeout=120)
    finally:
        started.kill()  # if it took too long
    return subprocess.CompletedProcess(words, started.wait(), out, err)


def begin(*words: str, cwd: Path, script: str | None = None, session: bool = False, **env: str) -> "Started":
    """Begin a line in a process of its own, forked from one that has imported torch (`forks.py`).

    Args:
        script: Python code to run in place of the program.
        session: whether it leads a session and a process group of its own.
    """
    line = {"words": words, "cwd": str(cwd), "script": script, "session": session, "env": environment(**env)}
    return Started(line)


@cache
def _forks() -> socket.socket:
    """Start the process that forks, once for all tests of this process; it ends with us."""
    ours, theirs = socket.socketpair()
    script = Path(__file__).with_name("forks.py")
    process = subprocess.Popen(
        [sys.executable, "-P", str(script), str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment(PYTHONPATH=f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'mixup_lab' / 'plugins'}"),
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class Started:
    """A line under way: what `subprocess.Popen` offers, as far as tests need it."""

    def __init__(self, line: dict) -> None:
        self.returncode: int | None = None
        self._out, self._err = os.memfd_create("stdout"), os.memfd_create("stderr")
        self._status, status = os.pipe()
        data = json.dumps(line).encode() + b"\n"
        sent = socket.send_fds(_forks(), [data], [self._out, self._err, status])
        _forks().sendall(data[sent:])
        os.close(status)
        self.pid = self._read()

    def _read(self) -> int:
        data = os.read(self._status, 4)
        assert len(data) == 4, "the process that forks has died"
        return struct.unpack("i", data)[0]

    def poll(self) -> int | None:
        return self.returncode if self.returncode is not None or not self._ended(0) else self.wait()

    def _ended(self, seconds: float | None) -> bool:
        return bool(select.select([self._status], [], [], seconds)[0])

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not self._ended(timeout):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self.returncode = self._read()
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end, then give all that was written to stdout and stderr; once."""
        self.wait(timeout)
        texts = []
        for number in (self._out, self._err):
            with open(number) as file:
                file.seek(0)
                texts.append(file.read())
        return texts[0], texts[1]

    def send_signal(self, signum: int) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            if self.poll() is None:
                os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(9)


def lines_of(run_dir: Path) -> list[dict]:
    """The record, every line of which must be whole."""
    return [json.loads(line) for line in (run_dir / "record.jsonl").read_text().splitlines()]


def summary_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


def without_time(scalars: dict) -> dict:
    return {name: value for name, value in scalars.items() if not name.startswith(("time/", "memory/"))}


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def board_of(run_dir: Path) -> EventAccumulator:
    """What TensorBoard shows of a run."""
    board = EventAccumulator(str(run_dir), size_guidance={"scalars": 0, "histograms": 0, "images": 0, "tensors": 0})
    board.Reload()
    return board


def board_scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    board = board_of(run_dir)
    return {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}


def board_pictures(run_dir: Path, tag: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(event.encoded_image_string)) for event in board_of(run_dir).Images(tag)]


def events_with(run_dir: Path, tag: str) -> int:
    """How many events of all event files have this tag."""
    events = (event for path in run_dir.glob("events.out.tfevents.*") for event in EventFileLoader(str(path)).Load())
    return sum(value.tag == tag for event in events for value in event.summary.value)


def assert_board_agrees_with_record(run_dir: Path) -> None:
    """Every scalar of every epoch is in TensorBoard at the same step, once, and nothing else but the final ones."""
    import numpy as np

    epochs = {event["epoch"]: event for event in lines_of(run_dir) if event["event"] == "epoch"}
    expected: dict[str, list[tuple[int, float]]] = {}
    for _, event in sorted(epochs.items()):
        for tag, value in event["scalars"].items():
            expected.setdefault(tag, []).append((event["step"], float(np.float32(value))))
    shown = board_scalars(run_dir)
    final = {tag: values for tag, values in shown.items() if tag.startswith(("test/", "val_best/"))}
    assert {tag: values for tag, values in shown.items() if tag not in final} == expected
    last = max(event["step"] for event in epochs.values())
    scalars = summary_of(run_dir)["scalars"]
    assert final == {
        tag: [(last, float(np.float32(value)))]
        for tag, value in scalars.items()
        if tag.startswith(("test/", "val_best/"))
    }
