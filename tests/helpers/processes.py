"""Real processes of the command line, and what they leave in a run directory, read back by other means than our own."""

import io
import json
import os
import subprocess
import sys
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


def mixup_lab(*words: str, cwd: Path, start: tuple[str, ...] = START) -> subprocess.CompletedProcess[str]:
    """Run a line to its end in a process of its own."""
    line = [*start, *words]
    return subprocess.run(line, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=120, check=False)


def lines_of(run_dir: Path) -> list[dict]:
    """The record, every line of which must be whole."""
    return [json.loads(line) for line in (run_dir / "record.jsonl").read_text().splitlines()]


def summary_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


def without_time(scalars: dict) -> dict:
    return {name: value for name, value in scalars.items() if not name.startswith("time/")}


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
