"""A whole training of a few seconds from a source's own words: nothing of the pictures that `conftest.TINY` is for."""

from pathlib import Path

from conftest import config_of

from mixup_lab.config.assemble import assemble
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import Silent
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.training.fit import Fit
from mixup_lab.training.stop import StopRequest

QUIET = ("trainer.progress=none", "trainer.malloc=default", "trainer.device=cpu", "dataset.workers=0")


def trained(run_dir: Path, *overrides: str) -> dict[str, float]:
    """The final scalars; the run lies in `run_dir`."""
    fit = Fit(assemble(config_of(*QUIET, *overrides), "fingerprint"), run_dir)
    log = RunLog(Record(run_dir), TensorBoardView(run_dir), Silent())
    log.record.event("start", arm="arm", seed=0)
    try:
        scalars = fit.run(log, StopRequest())
        log.end("ok", scalars, fit.done_steps)
    finally:
        log.board.close()
        log.record.close()
    return scalars
