"""Shared by the tests: compose a configuration as the command line does, and train it in this process."""

import os
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from mixup_lab.config.assemble import assemble
from mixup_lab.config.schema import RunConfig, parse, register
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import Silent
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.training.fit import Fit
from mixup_lab.training.stop import StopRequest

CONF = Path(__file__).resolve().parents[1] / "conf"
sys.path.append(str(CONF.parent / "mixup_lab" / "plugins"))  # Hydra looks for plugins once a process
TINY = ("dataset=fake", "model=small_cnn", "dataset.shape=[3,8,8]", "trainer.epochs=4", "trainer.batch_size=32",
        "trainer.progress=none", "trainer.malloc=default", "trainer.device=cpu")  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Tests share the machine; results of one CPU thread repeat bit for bit."""
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"


def config_of(*overrides: str) -> RunConfig:
    """What `mixup-lab train OVERRIDES` composes."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return parse(compose("train", overrides=list(overrides)))


class StopAfter(StopRequest):
    """As if a signal had come before the step after `steps` more steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def signum(self):
        self.left -= 1
        return 15 if self.left < 0 else None

    @signum.setter
    def signum(self, value):
        pass


class Training:
    """One training in a directory: `run()` it to the end or to a stop, then look at `fit`, `scalars`, `record`."""

    def __init__(self, run_dir: Path, *overrides: str, resume: bool = False) -> None:
        self.run_dir = run_dir
        self.fit = Fit(assemble(config_of(*TINY, *overrides), "fingerprint"), run_dir)
        if resume:
            self.fit.resume()
        self.log = RunLog(Record(run_dir, resume=resume), TensorBoardView(run_dir), Silent())
        if not resume:
            self.log.record.event("start", arm="arm", seed=0)

    def run(self, stop: StopRequest | None = None) -> dict[str, float]:
        try:
            scalars = self.fit.run(self.log, stop or StopRequest())
            self.log.end("ok", scalars, self.fit.done_steps)
        finally:
            self.log.board.close()
            self.log.record.close()
        return scalars


@pytest.fixture
def train(tmp_path):
    """`train("aug=mixup", ...)` trains in a fresh directory and returns the finished Training."""

    def run(*overrides: str, name: str | None = None) -> Training:
        training = Training(tmp_path / (name or f"run{len(list(tmp_path.iterdir()))}"), *overrides)
        training.scalars = training.run()
        return training

    return run
