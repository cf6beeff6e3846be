"""What a device lacks is one sentence; and no model or loss of ours needs what a GPU lacks in deterministic runs."""

import numpy as np
import pytest
import torch
from helpers.options import component, options
from helpers.trainings import Training, config_of
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mixup_lab.config.assemble import ingredients
from mixup_lab.config.build import build
from mixup_lab.seeding import stream
from mixup_lab.targets.boxes import Boxes
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.numbers import Numbers
from mixup_lab.targets.pixels import Pixels
from mixup_lab.targets.tags import Tags
from mixup_lab.training.device import limits, set_deterministic
from mixup_lab.training.trial import try_parts
from mixup_lab.types import RunFailed, UserError

CPU = torch.device("cpu")
# What the documentation of torch.use_deterministic_algorithms lists as errors on CUDA, as the names of operations.
ERRORS = (
    "avg_pool3d_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "fractional_max_pool2d_backward", "fractional_max_pool3d_backward", "max_unpool2d",
    "max_unpool3d", "upsample_linear1d_backward", "upsample_bilinear2d_backward", "_upsample_bilinear2d_aa_backward",
    "upsample_bicubic2d_backward", "_upsample_bicubic2d_aa_backward", "upsample_trilinear3d_backward",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "_ctc_loss_backward",
    "_embedding_bag", "put_", "put", "histc", "median", "nanmedian", "kthvalue", "grid_sampler_2d_backward",
    "grid_sampler_3d_backward", "_grid_sampler_2d_cpu_fallback_backward", "scatter_reduce",
)  # fmt: skip
SENTENCE = (
    r"^trainer\.deterministic=true, but torch has no deterministic max_unpooling2d_forward_out on cpu; use another"
    r" model, or trainer\.deterministic=false$"
)


@pytest.fixture
def deterministic():
    set_deterministic(True)
    yield
    set_deterministic(False)


class Operations(TorchDispatchMode):
    """Collects operations that are errors in deterministic runs on CUDA."""

    def __init__(self):
        super().__init__()
        self.count, self.found = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        self.count += 1
        reduced = name == "nll_loss2d_forward" and args[3] != 0  # 0: not reduced
        if name in ERRORS or reduced or (name == "bincount" and len(args) > 1 and args[1] is not None):
            self.found.add(name)
        return func(*args, **(kwargs or {}))


def found(function) -> set[str]:
    with Operations() as operations:
        function().sum().backward()
    assert operations.count > 2
    return operations.found


OURS = [name for name in options("model") if name != "timm" and not name.startswith("torchvision")]
OF_TEXTS = ("bilstm", "text_cnn", "text_transformer")


@pytest.mark.parametrize("option", OURS)
def test_no_model_of_ours_needs_what_a_gpu_lacks(option):
    tokens, table = option in OF_TEXTS, option == "ft_transformer"
    shape = (12,) if tokens else (5,) if table else (3, 32, 40)
    with torch.device("cpu" if table else "meta"):  # shapes alone
        model = build("model", component("model", option), offered={"num_tokens": 9}, input_shape=shape, num_outputs=7)
        inputs = torch.ones(2, *shape, dtype=torch.int64 if tokens else torch.float32)
        assert found(lambda: model(inputs)) == set()


def test_the_finder_finds_adaptive_pooling_scaling_and_reduced_losses():
    pictures = torch.rand(2, 3, 8, 8, requires_grad=True)
    assert found(lambda: nn.AdaptiveAvgPool2d((2, 1))(pictures)) == {"_adaptive_avg_pool2d_backward"}
    assert found(lambda: nn.AdaptiveAvgPool2d(1)(pictures)) == set(), "this is a plain mean"
    assert found(lambda: F.interpolate(pictures, scale_factor=2, mode="bilinear")) == {"upsample_bilinear2d_backward"}
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    assert found(lambda: F.cross_entropy(pictures, labels)) == {"nll_loss2d_forward"}


TARGETS = {
    "classes": (Classes(("a", "b", "c")), np.array([0, 1, 2, 1]), (3,)),
    "numbers": (Numbers(("x",)), np.array([[0.0], [1], [2], [3]], dtype=np.float32), (1,)),
    "tags": (Tags(("a", "b")), np.array([[0, 1], [1, 0], [1, 1], [0, 0]], dtype=np.float32), (2,)),
    "masks": (Pixels(("a", "b")), np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6) % 2, (2, 6, 6)),
    "boxes": (Boxes(("a", "b")), np.tile(np.array([0, 2, 2, 20, 20], dtype=np.float32), (4, 2, 1)), (7, 8, 8)),
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_loss_or_metric_of_ours_needs_what_a_gpu_lacks(name):
    kind, labels, shape = TARGETS[name]
    target, output = torch.from_numpy(labels), torch.rand(len(labels), *shape, requires_grad=True)
    for weights in (None, "balanced") if name in ("classes", "masks") else (None,):
        task = kind.task(labels, CPU, class_weights=weights, input_shape=(3, 32, 32))
        assert found(lambda task=task: task.loss(output, target)) == set()
        with Operations() as operations:
            task.train_sums(output.detach(), target, target, torch.full((len(labels),), 0.3))
            task.metrics(task.observe(output.detach(), target))
        assert operations.found == set()


def unpooled(model: nn.Module, inputs: tuple[torch.Tensor]) -> None:
    if model.training:
        F.max_unpool2d(*F.max_pool2d(inputs[0], 2, return_indices=True), 2)  # nondeterministic on a CPU, too


def test_an_algorithm_that_is_missing_is_one_sentence(tmp_path, deterministic):
    training = Training(tmp_path, "trainer.deterministic=true")
    training.fit.parts.model.register_forward_pre_hook(unpooled)
    with pytest.raises(RunFailed, match=SENTENCE) as caught:
        training.run()
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_trial_of_the_parts_does_not_blame_them(deterministic):
    made = ingredients(config_of("dataset=fake", "model=small_cnn", "trainer.device=cpu"))
    made.model.register_forward_pre_hook(lambda model, inputs: unpooled(model.train(), inputs))
    set_deterministic(True)
    with pytest.raises(RunFailed, match=SENTENCE), limits(CPU):
        try_parts(made, stream(0, "trial"))


def test_memory_that_is_missing_is_one_sentence_and_other_errors_are_left_alone():
    with (
        pytest.raises(RunFailed, match=r"^the memory of cpu is too small; try a smaller trainer\.batch_size"),
        limits(CPU),
    ):
        torch.empty(1 << 60, dtype=torch.uint8)
    for kind, words in ((torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "CUBLAS_STATUS_ALLOC_FAILED")):
        with pytest.raises(RunFailed, match=r"^the memory of cuda:1 is too small"), limits(torch.device("cuda", 1)):
            raise kind(words)
    with pytest.raises(RuntimeError, match="mat1 and mat2"), limits(CPU):
        torch.zeros(2, 3) @ torch.zeros(2, 3)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3), nn.InstanceNorm2d(3)])
def test_a_batch_too_small_for_a_norm_names_the_keys(norm):
    with pytest.raises(UserError, match=r"raise trainer\.batch_size, or lower trainer\.accumulate"), limits(CPU):
        norm(torch.zeros(1, 3, 1, 1))
    with pytest.raises(ValueError, match="another"), limits(CPU):
        raise ValueError("another")
