"""Memory does not grow while a training goes on."""

import sys

import pytest
from helpers.processes import CHECKOUT, fresh

STEPS = 1000
# In a process of its own: the memory after the warm-up, and 1,000 steps later. A batch of inputs is 192 KiB.
SCRIPT = """
import gc, os, sys
from pathlib import Path
from helpers.trainings import Training
from mixup_lab.training.stop import StopRequest

class Watch(StopRequest):
    marks = []

    @property
    def signum(self):
        if len(self.marks) < 2 and training.fit.done_steps >= (300, 300 + int(sys.argv[1]))[len(self.marks)]:
            gc.collect()
            self.marks.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))

    @signum.setter
    def signum(self, value):
        pass

words = ("dataset=fake", "dataset.shape=[3,16,16]", "dataset.train=2000", "model=small_cnn", "model.width=4",
         "trainer.batch_size=64", "trainer.epochs=50", "trainer.eval_every=5", "aug=mixup", "transform=crop_flip")
training = Training(Path.cwd(), *words, base=("trainer.progress=none", "trainer.device=cpu", *sys.argv[2:]))
training.run(Watch())
assert training.fit.done_steps > 300 + int(sys.argv[1])
print(*Watch.marks)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("word", ["trainer.ema_decay=null", "trainer.ema_decay=0.9"])
def test_memory_does_not_grow(tmp_path, word):
    path = f"{CHECKOUT}:{CHECKOUT / 'tests'}"
    done = fresh(str(STEPS), word, cwd=tmp_path, script=SCRIPT, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    before, after = map(int, done.stdout.split())
    print(f"{before / 2**20:.1f} MiB, {(after - before) / 2**20:+.1f} MiB in {STEPS} steps")
    assert after - before < 10 * 2**20  # a leak of one batch of inputs a step is 190 MiB
