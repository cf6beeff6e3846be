"""Compose a configuration as the command line does, and train it in this process."""

import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

from mixup_lab.config.assemble import assemble
from mixup_lab.config.schema import RunConfig, parse, register
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.training.fit import Fit
from mixup_lab.training.stop import StopRequest

CONF = Path(__file__).resolve().parents[2] / "conf"
sys.path.append(str(CONF.parent / "mixup_lab" / "plugins"))  # Hydra looks for plugins once a process
QUIET = ("trainer.progress=none", "trainer.malloc=default", "trainer.device=cpu")
TINY = (*QUIET, "dataset=fake", "model=small_cnn", "dataset.shape=[3,8,8]", "trainer.epochs=4", "trainer.batch_size=32")


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
    """One training in a directory: `run()` it to the end or to a stop, then look at `fit`, `scalars`, `record`.

    `config` is what the overrides compose, if it is at hand: composing takes longer than a tiny training.
    """

    def __init__(
        self,
        run_dir: Path,
        *overrides: str,
        resume: bool = False,
        base: tuple[str, ...] = TINY,
        config: RunConfig | None = None,
        shorter: tuple[str, ...] = (),
    ) -> None:
        self.run_dir = run_dir
        self.fit = Fit(assemble(config or config_of(*base, *overrides), "fingerprint"), run_dir)
        if resume:
            self.fit.resume(shorter)
        self.log = RunLog(Record(run_dir, resume=resume), TensorBoardView(run_dir), ProgressView())
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


def trained(run_dir: Path, *overrides: str) -> dict[str, float]:
    """The final scalars; the run lies in `run_dir`."""
    return Training(run_dir, "dataset.workers=0", *overrides, base=QUIET).run()


def state(training):
    """Everything that has to be the same: weights, optimizer, moving average, generator, best weights."""
    fit = training.fit
    return {
        "model": fit.parts.model.state_dict(),
        "ema": fit.ema.state_dict() if fit.ema else {},
        "optimizer": fit.parts.optimizer.state_dict(),
        "scaler": fit.precision.scaler.state_dict(),
        "random": torch.get_rng_state(),
        "best": fit.state.best,
    }


def assert_same(a, b, where=""):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{i}]")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def without_time(scalars):
    return {key: value for key, value in scalars.items() if not key.startswith(("time/", "memory/"))}
