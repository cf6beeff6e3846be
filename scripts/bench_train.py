"""What `bench.py` measures of a training: our whole loop, the bare step, the captured one, and the loop of tutorials.

Each class is one side of a comparison: `run(steps)` trains and returns the seconds and the steps that it took.
"""

from __future__ import annotations

import copy
import itertools
import queue
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch import nn

from mixup_lab.config.assemble import assemble
from mixup_lab.config.schema import parse, register
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.training.fit import Fit
from mixup_lab.training.optimizers import make_optimizer
from mixup_lab.training.stop import StopRequest

ROOT = Path(__file__).resolve().parents[1]
# A training that goes on for as long as it is measured; nothing but its steps and the end of an epoch is counted.
ENDLESS = ("trainer.epochs=100000", "trainer.eval_every=100000", "trainer.checkpoint_every=0", "trainer.progress=none",
           "optimizer.lr=0.01")  # fmt: skip


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Ours(StopRequest):
    """The loop of `mixup-lab train` itself, in a thread; it is held where it looks for a request to stop.

    Args:
        words: of the command line.
        accelerate: none, compile or graph.
        device: cpu or cuda.
    """

    def __init__(self, words: list[str], accelerate: str, device: str) -> None:
        super().__init__()
        register()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            lines = [*ENDLESS, *words, f"trainer.accelerate={accelerate}", f"trainer.device={device}"]
            self.config = parse(compose("train", overrides=lines))
        self.until = 0
        self.asked: queue.SimpleQueue = queue.SimpleQueue()
        self.done: queue.SimpleQueue = queue.SimpleQueue()
        threading.Thread(target=self._train, daemon=True).start()
        self._answer()  # it is built

    def run(self, steps: int) -> tuple[float, int]:
        return self.call(steps)

    def call(self, task):
        """Train on so many batches; or run a function in the thread of the training, while that is held."""
        self.asked.put(task)
        return self._answer()

    def _answer(self):
        outcome = self.done.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    @property
    def signum(self) -> None:  # read between two steps
        if self.fit.done_steps < self.until:
            return
        if self.until:
            wait(self.device)
            self.done.put((time.perf_counter() - self.started, self.fit.done_steps - self.before))
        while callable(task := self.asked.get()):
            try:
                self.done.put(task())
            except Exception as error:
                self.done.put(error)
        self.before, self.started = self.fit.done_steps, time.perf_counter()
        self.until = self.before + task

    @signum.setter
    def signum(self, value: object) -> None:
        pass

    def _train(self) -> None:
        """All of it in one thread: each one that computes has threads of OpenMP of its own, which get in the way."""
        try:
            folder = Path(tempfile.mkdtemp())
            self.fit = Fit(assemble(self.config, "bench"), folder)
            self.batch, self.device = self.fit.parts.settings.batch_size, self.fit.parts.device
            # Batches of texts differ in length: only whole epochs are alike.
            self.epoch, self.alike = self.fit.steps, self.fit.parts.data.train.lengths is None
            log = RunLog(Record(folder), TensorBoardView(folder), ProgressView())
            self.done.put(None)
            self.fit.run(log, self)
        except BaseException as error:
            self.done.put(error)


class Bare:
    """Forward, loss, backward and update on batches that are ready, with our model and optimizer.

    One batch is enough where all have one shape; texts of different lengths need those of a whole epoch.

    Args:
        ours: where the model, the batches and the precision come from; its training is held meanwhile.
        captured: replay the step as one CUDA graph: nothing can be faster with this model and optimizer.
    """

    def __init__(self, ours: Ours, captured: bool = False) -> None:
        self.ours, self.captured = ours, captured
        self.batch, self.device, self.epoch, self.alike = ours.batch, ours.device, ours.epoch, ours.alike
        if captured and not self.alike:
            raise NotImplementedError("batches of different lengths are not captured")
        ours.call(self._build)

    def run(self, steps: int) -> tuple[float, int]:
        return self.ours.call(lambda: self._run(steps))

    def _build(self) -> None:
        fit, parts = self.ours.fit, self.ours.fit.parts
        self.model, self.task, self.precision = copy.deepcopy(parts.model).train(), parts.task, fit.precision
        self.optimizer = make_optimizer(self.model, "SGD", lr=0.01, momentum=0.9, weight_decay=1e-4)
        prepared = itertools.islice(fit.batches.prepared(fit.batches.plan(0)), 1 if self.alike else self.epoch)
        self.turn = itertools.cycle([fit.batches.encoded(one.batch) for _, one in prepared])
        self.step = self._capture() if self.captured else self._step

    def _run(self, steps: int) -> tuple[float, int]:
        wait(self.device)
        started = time.perf_counter()
        for _ in range(steps):
            self.step()
        wait(self.device)
        return time.perf_counter() - started, steps

    def _step(self) -> None:
        batch = next(self.turn)
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            output = self.model(batch.inputs)
        self.task.loss(output.float(), batch.target).mean().backward()
        self.optimizer.step()

    def _capture(self):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        return graph.replay


class Usual:
    """The loop of tutorials: ImageFolder, transforms picture by picture, DataLoader, Mixup, update.

    Args:
        root: of the pictures, with train/CLASS/*.
        model: simple_net, small_cnn, preact_resnet18 or wide_resnet28_10.
        mixing: two-term (written out in the loop), torchvision (v2.MixUp) or timm (Mixup).
        workers: processes of the DataLoader.
        device: cpu or cuda.
        precision: fp32 or bf16.
        batch: examples in a step.
    """

    alike, epoch = True, 10**9

    def __init__(
        self, root: str, model: str, mixing: str, workers: int, device: str, precision: str, batch: int
    ) -> None:
        from torchvision import datasets, transforms

        from mixup_lab.models.preact_resnet import PreActResNet
        from mixup_lab.models.simple_net import SimpleNet
        from mixup_lab.models.small_cnn import SmallCNN
        from mixup_lab.models.wide_resnet import WideResNet

        torch.manual_seed(0)
        self.device, self.precision = torch.device(device), precision
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
            ]
        )
        data = datasets.ImageFolder(Path(root) / "train", self.transform)
        self.batch = min(batch, len(data) // 2)
        self.loader = torch.utils.data.DataLoader(
            data, self.batch, shuffle=True, num_workers=workers, drop_last=True, pin_memory=device == "cuda"
        )
        classes = {"simple_net": SimpleNet, "small_cnn": SmallCNN, "preact_resnet18": PreActResNet,
                   "wide_resnet28_10": WideResNet}  # fmt: skip
        self.model = classes[model](input_shape=(3, 32, 32), num_outputs=len(data.classes)).to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.criterion = nn.CrossEntropyLoss()
        self.mix = MIXUPS[mixing](len(data.classes))

    def run(self, steps: int) -> tuple[float, int]:
        """The first step, which waits for the workers to start, is not counted."""
        done, started = -1, 0.0
        while done < steps:
            for inputs, target in self.loader:
                inputs = inputs.to(self.device, non_blocking=True)
                target = target.to(self.device, non_blocking=True)
                mixed, own, partner, lam = self.mix(inputs, target)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                    output = self.model(mixed)
                    loss = self.criterion(output, own)
                    if partner is not None:
                        loss = lam * loss + (1 - lam) * self.criterion(output, partner)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                loss.item()
                done += 1
                if done == 0:
                    started = time.perf_counter()
                if done == steps:
                    break
        return time.perf_counter() - started, steps


def two_term(_: int):
    def mix(inputs, target):
        lam = np.random.beta(1.0, 1.0)
        perm = torch.randperm(inputs.size(0), device=inputs.device)
        return lam * inputs + (1 - lam) * inputs[perm], target, target[perm], lam

    return mix


def torchvision_mixup(num_classes: int):
    from torchvision.transforms import v2

    mixup = v2.MixUp(alpha=1.0, num_classes=num_classes)
    return lambda inputs, target: (*mixup(inputs, target), None, 1.0)


def timm_mixup(num_classes: int):
    from timm.data import Mixup

    mixup = Mixup(1.0, 0.0, label_smoothing=0.0, num_classes=num_classes)
    return lambda inputs, target: (*mixup(inputs, target), None, 1.0)


MIXUPS = {"two-term": two_term, "torchvision": torchvision_mixup, "timm": timm_mixup}
