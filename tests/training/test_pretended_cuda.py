"""CUDA that is not there: what it refuses, which waits it sees, and that a graph is replayed as on a GPU."""

import copy
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.cases import each
from helpers.pretended_cuda import PRECISIONS, PretendedCuda
from torch import Tensor, nn
from torch.optim.optimizer import _default_to_fused_or_foreach
from torch.utils.data import DataLoader

from mixup_lab.training.device import Precision
from mixup_lab.training.optimizers import make_optimizer

CUDA = torch.device("cuda", 0)


@pytest.fixture
def cuda():
    with PretendedCuda() as cuda:
        yield cuda


def vector() -> Tensor:
    return torch.arange(4.0, device=CUDA)


def mask() -> Tensor:
    return vector() > 1


def host() -> Tensor:
    return torch.ones(4)


# ---- places ----------------------------------------------------------------------------------------------------------


def test_tensors_say_that_they_are_on_the_gpu(cuda):
    x = vector()
    module = nn.Linear(4, 2).to("cuda")
    for tensor in (x, x[1:], x + 1, torch.zeros_like(x), host().to("cuda"), host().to(x), module(x), module.weight,
                   torch.tensor([1, 2], device="cuda"), x.new_tensor([1]), copy.deepcopy(x)):  # fmt: skip
        assert (tensor.device, tensor.is_cuda, tensor.is_cpu) == (CUDA, True, False)
    assert isinstance(module.weight, nn.Parameter)
    assert isinstance(copy.deepcopy(module).weight, nn.Parameter)
    assert x.to("cuda") is x
    assert x.cpu().tolist() == x.tolist() == [0, 1, 2, 3]
    assert not x.cpu().is_cuda
    with torch.inference_mode():
        assert F.linear(x, module.weight).is_cuda
    assert (torch.cuda.is_available(), torch.cuda.device_count()) == (True, 1)


def test_threads_see_it_too(cuda):
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.from_numpy(np.ones(2)).to(CUDA)))
    thread.start()
    thread.join()
    assert found[0].is_cuda
    assert [wait.kind for wait in cuda.waits] == ["upload"]


def test_it_is_gone_afterwards(tmp_path):
    names = (torch.cuda.is_available, torch.Generator, torch.tensor, Tensor.to, F.one_hot, threading.Thread.run)
    before = [part.fp32_precision for part in PRECISIONS]
    with PretendedCuda():
        assert torch.tensor is not names[2]
        Precision("tf32", CUDA)
        with CUDA:
            assert torch.tensor([1]).is_cuda
        torch.save({"x": vector()}, tmp_path / "x.pt")
    now = (torch.cuda.is_available, torch.Generator, torch.tensor, Tensor.to, F.one_hot, threading.Thread.run)
    assert now == names
    assert [part.fp32_precision for part in PRECISIONS] == before
    assert type(torch.load(tmp_path / "x.pt")["x"]) is Tensor
    with torch.device("meta"):
        assert torch.tensor([1]).is_meta


@each("refused", [
    lambda: vector() + host(),
    lambda: torch.cat([vector(), host()]),
    lambda: vector().index_select(0, torch.tensor([1])),
    lambda: vector().lerp(vector(), host()),
    lambda: F.linear(vector(), torch.ones(2, 4)),
    lambda: vector().index_put_((torch.zeros(4, dtype=torch.long, device=CUDA),), host()),
    lambda: host()[torch.tensor([1], device=CUDA)],
    lambda: torch.randn(2, device=CUDA, generator=torch.Generator()),
    lambda: vector().bernoulli_(0.5, generator=torch.Generator()),
    lambda: torch.randn(2, generator=torch.Generator(CUDA)),
    lambda: vector().numpy(),
    lambda: np.asarray(vector()),
    lambda: vector().pin_memory(),
])  # fmt: skip
def test_what_a_gpu_refuses(cuda, refused):
    with pytest.raises((RuntimeError, TypeError), match=r"same device|on the CPU|generator|numpy|cannot pin"):
        refused()


def test_scalars_and_generators_of_the_right_side_are_fine(cuda):
    assert (vector() * torch.tensor(2.0)).is_cuda
    a, b = (torch.randn(3, device=CUDA, generator=torch.Generator(CUDA).manual_seed(5)) for _ in range(2))
    assert torch.equal(a, b)
    assert torch.Generator("cuda").device == CUDA
    assert torch.randn(3, generator=torch.Generator().manual_seed(5)).device.type == "cpu"
    assert a.is_cuda


# ---- waits -----------------------------------------------------------------------------------------------------------


def read(x: Tensor) -> float:
    return x.sum().item()


@each("kind, waits", [
    ("read", lambda: vector().sum().item()),
    ("read", lambda: float(vector()[1])),
    ("read", lambda: bool(mask().any())),
    ("read", lambda: torch.equal(vector(), vector())),
    ("read", lambda: [0] * vector().argmax()),
    ("read", lambda: torch.inference_mode()(read)(vector())),
    ("download", lambda: vector().cpu()),
    ("download", lambda: vector().to("cpu", non_blocking=True)),
    ("download", lambda: vector().tolist()),
    ("download", lambda: host().copy_(vector())),
    ("upload", lambda: host().to(CUDA)),
    ("upload", lambda: host().to(CUDA, non_blocking=True)),
    ("upload", lambda: host().pin_memory().to(CUDA)),
    ("upload", lambda: vector().copy_(host())),
    ("upload", lambda: vector().copy_(host(), non_blocking=True)),
    ("upload", lambda: torch.tensor([1.0], device=CUDA)),
    ("upload", lambda: torch.as_tensor([1.0], device=CUDA)),
    ("upload", lambda: vector()[[0, 2]]),
    ("upload", lambda: vector()[torch.tensor([1])]),
    ("shape", lambda: vector().nonzero()),
    ("shape", lambda: torch.where(mask())),
    ("shape", lambda: vector()[mask()]),
    ("shape", lambda: vector().index_put_((mask(),), vector()[:2])),
    ("shape", lambda: vector().masked_select(mask())),
    ("shape", lambda: vector().long().bincount()),
    ("shape", lambda: vector().unique()),
    ("shape", lambda: vector().unique_consecutive()),
    ("shape", lambda: vector().repeat_interleave(vector().long())),
    ("synchronize", lambda: torch.cuda.synchronize()),
    ("synchronize", lambda: torch.cuda.Stream().synchronize()),
    ("synchronize", lambda: torch.cuda.current_stream().synchronize()),
    ("synchronize", lambda: torch.cuda.Event().synchronize()),
])  # fmt: skip
def test_waits(cuda, kind, waits):
    cuda.waits.clear()
    waits()
    assert [wait.kind for wait in cuda.waits] == [kind]


@each("free", [
    lambda: vector().mul_(2).sum(),
    lambda: vector().to(torch.float64).to(CUDA),
    lambda: vector().index_select(0, torch.zeros(2, dtype=torch.long, device=CUDA)),
    lambda: vector()[torch.zeros(2, dtype=torch.long, device=CUDA)],
    lambda: vector().masked_fill_(mask(), 0.0),
    lambda: vector().__setitem__(mask(), 0.0),
    lambda: vector().__setitem__(slice(1, 3), 2.0),
    lambda: vector().fill_(torch.tensor(3.0)),
    lambda: torch.full((), 3.0, device=CUDA),
    lambda: vector().repeat_interleave(vector().long(), output_size=6),
    lambda: F.one_hot(vector().long(), 4),
    lambda: host().pin_memory().to(CUDA, non_blocking=True),
    lambda: host().pin_memory()[1:].to(CUDA, non_blocking=True),
    lambda: torch.ones(4, pin_memory=True).to(device="cuda", non_blocking=True),
    lambda: vector().copy_(host().pin_memory(), non_blocking=True),
    lambda: host().pin_memory().copy_(vector(), non_blocking=True),
    lambda: torch.cuda.Stream().wait_stream(torch.cuda.current_stream()),
])  # fmt: skip
def test_no_wait(cuda, free):
    free()
    assert cuda.waits == []


def test_a_wait_names_the_line_and_the_functions(cuda):
    read(vector())
    (wait,) = cuda.waits
    line = read.__code__.co_firstlineno + 1
    assert wait.line == f"tests/training/test_pretended_cuda.py:{line}"
    assert wait.functions[:2] == ("read", "test_a_wait_names_the_line_and_the_functions")


def test_backward_is_seen(cuda):
    x = vector().requires_grad_()
    x.register_hook(lambda gradient: gradient * read(gradient))
    x.square().sum().backward()
    assert [wait.functions[0] for wait in cuda.waits] == ["read"]
    assert (x.grad.is_cuda, x.grad.tolist()) == (True, [0, 24, 48, 72])


def test_memory_is_pinned(cuda):
    x = host()
    pinned = x.pin_memory()
    assert torch.equal(pinned, x)
    assert pinned.is_pinned()
    assert pinned[2:].is_pinned()
    assert not any(tensor.is_pinned() for tensor in (x, pinned.clone(), vector(), x.to(CUDA)))
    (batch,) = DataLoader([1.0, 2.0], batch_size=2, pin_memory=True)
    assert batch.is_pinned()


# ---- graphs ----------------------------------------------------------------------------------------------------------


def capture(function):
    """The graph of a function, and what it returned."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=torch.cuda.graph_pool_handle(), stream=torch.cuda.Stream()):
        assert torch.cuda.is_current_stream_capturing()
        result = function()
    assert not torch.cuda.is_current_stream_capturing()
    return graph, result


SGD = {"name": "SGD", "lr": 0.1, "momentum": 0.9}
CAPTURABLE_WARNS = pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True")
ADAM = {"name": "Adam", "lr": 0.01, "capturable": True}


class Trained:
    """A small network with everything that a step changes in place."""

    def __init__(self, dropout: float = 0.0, **optimizer) -> None:
        torch.manual_seed(0)
        layers = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(dropout), nn.Flatten(), nn.Linear(27, 2)
        self.model = nn.Sequential(*layers).to(CUDA)
        self.x, self.y = torch.randn(8, 2, 5, 5).to(CUDA), torch.arange(8).remainder(2).to(CUDA)
        self.optimizer = make_optimizer(self.model, **(optimizer or SGD))

    def step(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.model(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self) -> list[Tensor]:
        momentum = [v for state in self.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
        return [tensor.cpu().clone() for tensor in (*self.model.state_dict().values(), *momentum)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@CAPTURABLE_WARNS
@pytest.mark.parametrize("optimizer", [
    SGD, {**SGD, "fused": False, "foreach": True}, {**SGD, "fused": False, "foreach": False}, ADAM,
    {**ADAM, "fused": False, "foreach": True},
])  # fmt: skip
def test_replays_are_steps(cuda, optimizer):
    eager, recorded = Trained(**optimizer), Trained(**optimizer)
    losses = [eager.step().item() for _ in range(6)]
    first = recorded.step().item()
    graph, loss = capture(recorded.step)
    later = []
    for _ in range(5):
        graph.replay()
        later.append(loss.item())
    assert [first, *later] == losses
    assert len(set(losses)) == 6
    assert same(eager.state(), recorded.state())


def test_a_capture_changes_nothing(cuda):
    trained = Trained(dropout=0.5)
    trained.step()
    before, random = trained.state(), torch.get_rng_state()
    graph, loss = capture(trained.step)
    assert same(trained.state(), before)
    assert torch.equal(torch.get_rng_state(), random)
    assert loss.isnan().item(), "memory that nobody has written to"
    graph.replay()
    assert not loss.isnan().item()
    assert not same(trained.state(), before)


def test_dropout_draws_on_in_replays(cuda):
    torch.manual_seed(0)
    expected = [F.dropout(torch.ones(20, device=CUDA)).tolist() for _ in range(3)]
    torch.manual_seed(0)
    graph, dropped = capture(lambda: F.dropout(torch.ones(20, device=CUDA)))
    for values in expected:
        graph.replay()
        assert dropped.tolist() == values
    assert expected[0] != expected[1]


def test_numbers_of_python_stay_those_on_the_device_change(cuda):
    x, factor, host_factor = vector(), torch.full((), 2.0, device=CUDA), torch.tensor(2.0)
    settings = {"factor": 2.0}
    graph, (moving, fixed, scalar) = capture(lambda: (x * factor, x * settings["factor"], x * host_factor))
    factor.fill_(3.0)
    host_factor.fill_(3.0)
    settings["factor"] = 3.0
    graph.replay()
    assert (moving.tolist(), fixed.tolist(), scalar.tolist()) == ([0, 3, 6, 9], [0, 2, 4, 6], [0, 2, 4, 6])


@CAPTURABLE_WARNS
@pytest.mark.parametrize("optimizer", [SGD, ADAM])
def test_a_learning_rate_on_the_device_changes(cuda, optimizer):
    rates = [0.1, 0.2, 0.05, 0.3]
    eager, recorded = Trained(**optimizer), Trained(**optimizer)
    for rate in rates:
        eager.optimizer.param_groups[0]["lr"] = rate
        eager.step()
    rate = torch.full((), rates[0], device=CUDA)
    recorded.optimizer.param_groups[0]["lr"] = rate
    recorded.step()
    graph, _ = capture(recorded.step)
    for value in rates[1:]:
        rate.fill_(value)
        graph.replay()
    assert all(torch.allclose(a, b, rtol=1e-5) for a, b in zip(eager.state(), recorded.state(), strict=True))


def test_a_graph_knows_memory_not_objects(cuda):
    x, weight = vector(), nn.Parameter(torch.ones(4, device=CUDA))
    old = weight.detach()
    graph, result = capture(lambda: x * weight)
    weight.data = torch.full((4,), 5.0, device=CUDA)
    old.fill_(2.0)
    graph.replay()
    assert result.tolist() == [0, 2, 4, 6]


def test_views_and_changes_in_place(cuda):
    x, table = vector(), torch.zeros(3, 4, device=CUDA)
    now = torch.zeros(1, dtype=torch.long, device=CUDA)

    def step():
        table.index_copy_(0, now, (x.view(2, 2).t() + 1).reshape(1, 4))
        x[1:].add_(1)
        now.add_(1)

    graph, _ = capture(step)
    assert (table.sum().item(), now.item(), x.tolist()) == (0, 0, [0, 1, 2, 3])
    for _ in range(3):
        graph.replay()
    assert table.tolist() == [[1, 3, 2, 4], [1, 4, 3, 5], [1, 5, 4, 6]]
    assert (now.item(), x.tolist()) == (3, [0, 4, 5, 6])


@each("refused", [
    lambda: vector().sum().item(),
    lambda: bool(mask().any()),
    lambda: vector().cpu(),
    lambda: vector()[mask()],
    lambda: host().to(CUDA),
    lambda: host().pin_memory().to(CUDA, non_blocking=True),
    lambda: torch.tensor(1.0, device=CUDA),
    lambda: vector().copy_(host()),
    lambda: vector()[[0, 1]],
    lambda: vector() + host(),
    lambda: torch.cuda.synchronize(),
    lambda: torch.randn(2, device=CUDA, generator=torch.Generator(CUDA)),
])  # fmt: skip
def test_what_a_capture_refuses(cuda, refused):
    x = vector()

    def step():
        x.add_(1)
        refused()

    with pytest.raises(RuntimeError, match=r"capturing|captures|same device"):
        capture(step)
    assert x.tolist() == [0, 1, 2, 3]
    assert (vector() + 1).sum().item() == 10, "the capture has ended"


def test_a_registered_generator_draws_on(cuda):
    generator = torch.Generator(CUDA).manual_seed(0)
    expected = [torch.randn(3, device=CUDA, generator=generator).tolist() for _ in range(2)]
    generator.manual_seed(0)
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(generator)
    with torch.cuda.graph(graph):
        drawn = torch.randn(3, device=CUDA, generator=generator)
    for values in expected:
        graph.replay()
        assert drawn.tolist() == values


def test_another_thread_is_not_captured(cuda):
    x = vector()

    def step():
        thread = threading.Thread(target=lambda: host().to(CUDA) + x.add_(1))
        thread.start()
        thread.join()
        return x * 2

    graph, doubled = capture(step)
    graph.replay()
    assert (x.tolist(), doubled.tolist()) == ([1, 2, 3, 4], [2, 4, 6, 8])


def test_optimizers_take_all_tensors_at_once(cuda):
    assert _default_to_fused_or_foreach(list(Trained().model.parameters()), False) == (False, True)


def test_adam_has_to_be_capturable(cuda):
    trained = Trained(name="Adam", lr=0.01)
    trained.step()
    with pytest.raises(RuntimeError, match="capturable is False"):
        capture(trained.step)
