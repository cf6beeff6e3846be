"""Every option of conf/model keeps the contract of a model; published networks have their published sizes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.cases import each
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional as F

from mixup_lab.models.densenet import DenseNetBC
from mixup_lab.models.layers import he_normal
from mixup_lab.models.mlp import MLP
from mixup_lab.models.preact_resnet import PreActBlock, PreActResNet
from mixup_lab.models.resnext import ResNeXt, ResNeXtBlock
from mixup_lab.models.simple_net import SimpleNet
from mixup_lab.models.small_cnn import SmallCNN
from mixup_lab.models.timm import timm_model
from mixup_lab.models.torchvision import torchvision_model
from mixup_lab.models.wide_resnet import WideResNet

CONF = Path(__file__).parents[2] / "conf" / "model"
OPTIONS = sorted(path.stem for path in CONF.glob("*.yaml"))
NOT_OF_PICTURES = {"bilstm", "text_cnn", "text_transformer"}  # test_text.py
NOT_OF_PICTURES |= {"dense_detector", "torchvision_detection"}  # test_detection.py
NOT_OF_PICTURES |= {"unet", "torchvision_segmentation"}  # test_segmentation.py: a map for each picture
NOT_OF_PICTURES |= {"ft_transformer"}  # test_tables.py
OF_PICTURES = [option for option in OPTIONS if option not in NOT_OF_PICTURES]
RGB = (3, 32, 32)
SHAPES = [(1, 8, 8), (1, 28, 28), RGB]
LARGE = 12_000_000  # parameters; larger models are built on the meta device only


def build(option: str, **facts: Any) -> nn.Module:
    config = OmegaConf.to_container(OmegaConf.load(CONF / f"{option}.yaml"), resolve=True)
    assert isinstance(config, dict)
    module, _, name = str(config.pop("_target_")).rpartition(".")
    if name == "timm_model":
        pytest.importorskip("timm")
    return getattr(importlib.import_module(module), name)(**config, **facts)


def num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def pictures(batch: int, *shape: int) -> Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))


# The contract, for every option


@each("option", OPTIONS)
def test_option_starts_with_one_line_of_help(option: str) -> None:
    first, second = (CONF / f"{option}.yaml").read_text().splitlines()[:2]
    assert first.startswith("# ")
    assert not second.startswith("#")


@pytest.mark.parametrize("option", OF_PICTURES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_option_gives_one_row_of_logits_per_picture(option: str, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        model = build(option, input_shape=shape, num_outputs=7)
        assert model(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize("option", OF_PICTURES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_option_is_finite_and_gradient_reaches_every_parameter(option: str, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        if num_params(build(option, input_shape=shape, num_outputs=7)) > LARGE:
            pytest.skip("too large to run here; its shapes are tested on the meta device")
    torch.manual_seed(0)
    model = build(option, input_shape=shape, num_outputs=7)
    assert model.training
    inputs = pictures(5, *shape)
    before = inputs.clone()
    logits = model(inputs)
    assert torch.equal(inputs, before)  # an in-place layer must not reach back into the batch
    assert logits.shape == (5, 7)
    assert torch.isfinite(logits).all()
    # Steps come first, because some families start with residual branches that are scaled by zero.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.step()
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), torch.tensor([0, 1, 2, 3, 4])).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead


@pytest.mark.parametrize("option", ["mlp", "simple_net", "small_cnn"])
def test_one_picture_at_a_time_is_the_batch_in_eval_mode(option: str) -> None:
    torch.manual_seed(0)
    model = build(option, input_shape=RGB, num_outputs=3).eval()
    inputs = pictures(3, *RGB)
    torch.testing.assert_close(torch.cat([model(x[None]) for x in inputs]), model(inputs))


@pytest.mark.parametrize("option", ["mlp", "simple_net", "small_cnn", "resnext29_4x24"])
def test_same_seed_same_weights(option: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build(option, input_shape=(1, 8, 8), num_outputs=3).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


# Sizes: the exact number, what the paper prints (M), and a count that knows nothing of modules

PUBLISHED = [
    (SimpleNet, {}, 62_006, "0.06"),
    (PreActResNet, {}, 11_171_146, "11.17"),
    (PreActResNet, {"final_norm": True}, 11_172_170, "11.17"),
    (WideResNet, {}, 36_479_194, "36.5"),
    (WideResNet, {"depth": 40, "widen_factor": 4}, 8_949_210, "8.9"),
    (WideResNet, {"depth": 16, "widen_factor": 8}, 10_961_370, "11.0"),
    (DenseNetBC, {}, 25_624_430, "25.6"),
    (DenseNetBC, {"depth": 100, "growth": 12}, 769_162, "0.8"),
    (DenseNetBC, {"depth": 250, "growth": 24}, 15_324_406, "15.3"),
    (ResNeXt, {"cardinality": 8, "base_width": 64}, 34_426_698, "34.4"),
    (ResNeXt, {"cardinality": 16, "base_width": 64}, 68_155_210, "68.1"),
    (ResNeXt, {}, 4_845_002, "4.8"),
    (SmallCNN, {}, 391_466, "0.39"),
]


@pytest.mark.parametrize(("family", "arguments", "exact", "printed"), PUBLISHED)
def test_published_number_of_parameters(
    family: type[nn.Module], arguments: dict[str, Any], exact: int, printed: str
) -> None:
    with torch.device("meta"):
        model = family(input_shape=RGB, num_outputs=10, **arguments)
    assert num_params(model) == exact
    # Some papers round and some cut: the number is within one unit of the last printed digit.
    unit = 10.0 ** -len(printed.partition(".")[2])
    assert abs(exact / 1e6 - float(printed)) < unit


def _reference_wide_resnet(depth: int, k: int, classes: int) -> int:
    n, total, width = (depth - 4) // 6, 9 * 3 * 16, 16
    for out in (16 * k, 32 * k, 64 * k):
        total += 2 * width + 9 * width * out + 2 * out + 9 * out * out + width * out  # first block and its shortcut
        total += (n - 1) * 2 * (2 * out + 9 * out * out)
        width = out
    return total + 2 * width + width * classes + classes


def _reference_densenet(depth: int, k: int, classes: int) -> int:
    n, width = (depth - 4) // 6, 2 * k
    total = 9 * 3 * width
    for block in range(3):
        for _ in range(n):
            total += 2 * width + width * 4 * k + 2 * 4 * k + 9 * 4 * k * k
            width += k
        if block < 2:
            total += 2 * width + width * (width // 2)
            width //= 2
    return total + 2 * width + width * classes + classes


def _reference_resnext(depth: int, cardinality: int, base: int, classes: int) -> int:
    n, total, width = (depth - 2) // 9, 9 * 3 * 64 + 2 * 64, 64
    for out, inner in zip((256, 512, 1024), (cardinality * base * s for s in (1, 2, 4)), strict=True):
        total += width * out + 2 * out  # shortcut
        for _ in range(n):
            total += width * inner + 9 * inner * inner // cardinality + inner * out + 4 * inner + 2 * out
            width = out
    return total + width * classes + classes


def test_number_of_parameters_equals_a_count_on_paper() -> None:
    with torch.device("meta"):
        wide = WideResNet(input_shape=RGB, num_outputs=100, depth=22, widen_factor=3)
        dense = DenseNetBC(input_shape=RGB, num_outputs=100, depth=40, growth=10)
        resnext = ResNeXt(input_shape=RGB, num_outputs=100, depth=38, cardinality=4, base_width=24)
    assert num_params(wide) == _reference_wide_resnet(22, 3, 100)
    assert num_params(dense) == _reference_densenet(40, 10, 100)
    assert num_params(resnext) == _reference_resnext(38, 4, 24, 100)


def test_mlp_and_lenet_of_grey_digits() -> None:
    assert num_params(MLP(input_shape=(1, 28, 28), num_outputs=10, hidden=[256])) == 785 * 256 + 257 * 10
    assert num_params(MLP(input_shape=(30,), num_outputs=2, hidden=[])) == 31 * 2
    lenet = 6 * 26 + 16 * (6 * 25 + 1) + 401 * 120 + 121 * 84 + 85 * 10
    assert lenet == 61_706
    for size in (8, 28, 31, 32):
        assert num_params(SimpleNet(input_shape=(1, size, size), num_outputs=10)) == lenet


# What the blocks compute


def _reference_norm(x: Tensor) -> Tensor:
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    return (x - mean) / (var + 1e-5).sqrt()


def test_mlp_equals_its_formula() -> None:
    torch.manual_seed(0)
    model, x = MLP(input_shape=(2, 3), num_outputs=4, hidden=[5, 7]), torch.randn(8, 2, 3)
    expected = x.reshape(8, 6)
    for layer in (model.hidden[0][0], model.hidden[1][0]):
        expected = (expected @ layer.weight.T + layer.bias).clamp(min=0)
    torch.testing.assert_close(model(x), expected @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize(("num_out", "stride"), [(4, 1), (6, 1), (6, 2)])
def test_preact_block_equals_its_formula(num_out: int, stride: int) -> None:
    torch.manual_seed(0)
    block, x = PreActBlock(4, num_out, stride), pictures(3, 4, 8, 8)
    active = _reference_norm(x).clamp(min=0)
    inner = _reference_norm(F.conv2d(active, block.conv1.weight, stride=stride, padding=1)).clamp(min=0)
    residual = F.conv2d(inner, block.conv2.weight, padding=1)
    if (num_out, stride) == (4, 1):
        assert block.shortcut is None
        skip = x
    else:
        assert block.shortcut is not None
        skip = F.conv2d(active, block.shortcut.weight, stride=stride)
    torch.testing.assert_close(block(x), residual + skip)


def test_resnext_block_is_a_sum_of_narrow_paths() -> None:
    """Figure 3(a) of the paper, paths summed one by one, equals figure 3(c), one grouped convolution."""
    torch.manual_seed(0)
    block, x = ResNeXtBlock(8, 8, inner=6, groups=3, stride=1), pictures(3, 8, 5, 5)
    first, grouped, last = (m.weight for m in block.residual if isinstance(m, nn.Conv2d))
    paths: list[Tensor] = []
    for g in range(3):
        rows = slice(2 * g, 2 * g + 2)
        path = _reference_norm(F.conv2d(x, first[rows])).clamp(min=0)
        path = _reference_norm(F.conv2d(path, grouped[rows], padding=1)).clamp(min=0)
        paths.append(F.conv2d(path, last[:, rows]))
    torch.testing.assert_close(block(x), (_reference_norm(sum(paths, torch.zeros(()))) + x).clamp(min=0))


def test_dense_layer_keeps_its_input_in_front() -> None:
    torch.manual_seed(0)
    model = DenseNetBC(input_shape=RGB, num_outputs=2, depth=10, growth=3).eval()
    x = pictures(2, 6, 8, 8)
    out = model.stages[0][0](x)
    assert out.shape == (2, 9, 8, 8)
    assert torch.equal(out[:, :6], x)


def test_simple_net_sees_a_small_picture_in_the_middle_of_zeros() -> None:
    torch.manual_seed(0)
    small = SimpleNet(input_shape=(1, 27, 25), num_outputs=10)
    large = SimpleNet(input_shape=(1, 32, 32), num_outputs=10)
    large.load_state_dict(small.state_dict())
    x = pictures(2, 1, 27, 25)
    padded = torch.zeros(2, 1, 32, 32)
    padded[:, :, 2:29, 3:28] = x
    torch.testing.assert_close(small(x), large(padded))


def test_he_normal_has_the_variance_of_the_paper() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(64, 128, 3, bias=False), nn.Conv2d(128, 128, 3, groups=4), nn.Linear(8, 8))
    he_normal(model)
    for conv in model[:2]:
        assert conv.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    assert not model[2].bias.any()


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        (MLP, {}),
        (SmallCNN, {"width": 8}),
        (WideResNet, {"depth": 10, "widen_factor": 1}),
        (DenseNetBC, {"depth": 10, "growth": 4}),
    ],
)
def test_dropout_acts_in_training_only(family: type[nn.Module], arguments: dict[str, Any]) -> None:
    facts = {"input_shape": (1, 8, 8), "num_outputs": 3, **arguments}
    torch.manual_seed(0)
    plain = family(**facts)
    dropping = family(**facts, dropout=0.5)
    dropping.load_state_dict(plain.state_dict())
    x = pictures(4, 1, 8, 8)
    assert torch.equal(dropping.eval()(x), plain.eval()(x))
    plain.train(), dropping.train()
    assert torch.equal(plain(x), plain(x))
    assert not torch.equal(dropping(x), dropping(x))


# Errors


@each(
    "family, arguments, sentence",
    [
        (MLP, {"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        (MLP, {"hidden": [4, 0]}, r"hidden must hold numbers of units >= 1, got \[4, 0\]"),
        (MLP, {"input_shape": (0,)}, r"got input_shape=\(0,\)"),
        (MLP, {"num_outputs": 0}, "num_outputs must be >= 1, got 0"),
        (SimpleNet, {"input_shape": (30,)}, r"SimpleNet takes pictures \(C, H, W\), got input_shape=\(30,\)"),
        (SmallCNN, {"input_shape": (1, 8, 7)}, "SmallCNN needs pictures of at least 8x8 pixels, got 8x7"),
        (SmallCNN, {"width": 0}, "width must be >= 1, got 0"),
        (SmallCNN, {"dropout": -0.1}, "dropout must be in .* got -0.1"),
        (PreActResNet, {"blocks": []}, r"blocks must hold a number >= 1 for each stage, got \[\]"),
        (PreActResNet, {"width": 0}, "width must be >= 1, got 0"),
        (WideResNet, {"depth": 27}, r"depth must be 6 n \+ 4 .* got 27"),
        (WideResNet, {"widen_factor": 0}, "widen_factor must be >= 1, got 0"),
        (DenseNetBC, {"depth": 4}, r"depth must be 6 n \+ 4 .* got 4"),
        (DenseNetBC, {"reduction": 0.0}, r"reduction must be in \(0, 1\], got 0.0"),
        (DenseNetBC, {"input_shape": (1, 3, 3)}, "at least 4x4 pixels, got 3x3"),
        (DenseNetBC, {"growth": 0}, "growth must be >= 1, got 0"),
        (ResNeXt, {"depth": 30}, r"depth must be 9 n \+ 2 .* got 30"),
        (ResNeXt, {"cardinality": 0}, "cardinality must be >= 1, got 0"),
        (ResNeXt, {"base_width": 0}, "base_width must be >= 1, got 0"),
        (torchvision_model, {"name": "resnet19"}, "'resnet19' is not among the models of torchvision; .*: .*resnet18"),
        (
            torchvision_model,
            {"weights": "IMAGENET"},
            "'IMAGENET' is not among the weights of .* resnet18.*IMAGENET1K_V1",
        ),
        (torchvision_model, {"name": "vgg11", "small_stem": True}, r"is defined for resnet\*.*, not for vgg11"),
        (torchvision_model, {"name": "alexnet"}, r"alexnet cannot take pictures of shape \(3, 32, 32\)"),
        (torchvision_model, {"model_args": {"drop": 1}}, "cannot build resnet18 .*unexpected keyword argument 'drop'"),
        (torchvision_model, {"name": "vit_b_16", "input_shape": (3, 32, 48)}, "takes square pictures, got 32x48"),
        (torchvision_model, {"name": "vit_b_16", "input_shape": (3, 20, 20)}, "cannot build vit_b_16 .*patch size"),
    ],
)
def test_bad_arguments_are_told(family: Any, arguments: dict[str, Any], sentence: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=sentence):
        family(**({"input_shape": RGB, "num_outputs": 10} | arguments))


# torchvision


def test_torchvision_small_stem_is_the_resnet18_of_cifar() -> None:
    with torch.device("meta"):
        resnet = torchvision_model(input_shape=RGB, num_outputs=10, small_stem=True)
        dense = torchvision_model(input_shape=RGB, num_outputs=10, small_stem=True, name="densenet121")
    assert num_params(resnet) == 11_173_962
    shapes = []
    resnet.get_submodule("layer1").register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
    resnet(torch.zeros(1, *RGB, device="meta"))
    assert shapes == [(1, 64, 32, 32)]
    assert dense.get_submodule("features")(torch.zeros(1, *RGB, device="meta")).shape == (1, 1024, 4, 4)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("vgg11_bn", 32),
        ("squeezenet1_1", 32),
        ("mobilenet_v3_small", 32),
        ("shufflenet_v2_x0_5", 32),
        ("googlenet", 32),
        ("convnext_tiny", 32),
        ("swin_t", 32),
        ("vit_b_16", 32),
    ],
)
def test_torchvision_families_fit_two_channels(name: str, size: int) -> None:
    with torch.device("meta"):
        model = torchvision_model(input_shape=(2, size, size), num_outputs=5, name=name)
        assert model.training
        assert model(torch.zeros(3, 2, size, size)).shape == (3, 5)


def test_torchvision_new_first_layer_keeps_the_variance_of_the_response() -> None:
    torch.manual_seed(0)
    grey = torchvision_model(input_shape=(1, 32, 32), num_outputs=5).get_submodule("conv1")
    rgb = torchvision_model(input_shape=RGB, num_outputs=5).get_submodule("conv1")
    assert isinstance(grey.weight, Tensor)
    assert isinstance(rgb.weight, Tensor)
    ratio = (grey.weight.square().sum() / rgb.weight.square().sum()).item()
    assert ratio == pytest.approx(1, rel=0.05)


def test_torchvision_weights_are_loaded_under_a_new_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where torch.hub keeps its downloads stands for the published weights: no network is needed."""
    from torchvision import models

    torch.manual_seed(0)
    published = models.squeezenet1_1().eval()
    url = models.SqueezeNet1_1_Weights.DEFAULT.url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(published.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    facts: dict[str, Any] = {"num_outputs": 5, "name": "squeezenet1_1", "weights": "DEFAULT"}

    rgb = torchvision_model(input_shape=(3, 64, 64), **facts).eval()
    x = pictures(2, 3, 64, 64)
    torch.testing.assert_close(rgb.get_submodule("features")(x), published.features(x))
    assert rgb(x).shape == (2, 5)

    grey = torchvision_model(input_shape=(1, 64, 64), **facts).eval()
    x = pictures(2, 1, 64, 64)
    torch.testing.assert_close(grey.get_submodule("features")(x), published.features(x.expand(-1, 3, -1, -1)))


def test_torchvision_failed_download_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))  # no folder, so that nothing can be stored
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")  # so that the host is not asked first
    with pytest.raises(ValueError, match="weights of torchvision's squeezenet1_1 could not be downloaded: "):
        torchvision_model(input_shape=RGB, num_outputs=5, name="squeezenet1_1", weights="DEFAULT")


# timm


def test_timm_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"model=timm needs the package timm: pip install 'mixup-lab\[timm\]'"):
        timm_model(input_shape=RGB, num_outputs=10)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "resnet19"}, "'resnet19' is not among the models of timm; the nearest: .*resnet18"),
        ({"name": "resnet18.nobody"}, "timm cannot build resnet18.nobody .*Invalid pretrained tag"),
        ({"model_args": {"drop": 1}}, "timm cannot build resnet18 .*unexpected keyword argument 'drop'"),
        (
            {"name": "vit_tiny_patch16_224", "input_shape": (1, 8, 8)},
            "timm's vit_tiny_patch16_224 cannot take pictures of",
        ),
    ],
)
def test_timm_bad_arguments_are_told(arguments: dict[str, Any], sentence: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=sentence):
        timm_model(**({"input_shape": RGB, "num_outputs": 10} | arguments))


@pytest.mark.parametrize(
    ("name", "model_args"),
    [("vit_tiny_patch16_224", {"patch_size": 4, "depth": 2}), ("mobilenetv3_small_050", {"drop_rate": 0.1})],
)
def test_timm_fits_the_picture_and_the_classes(name: str, model_args: dict[str, Any]) -> None:
    pytest.importorskip("timm")
    model = timm_model(input_shape=(1, 28, 28), num_outputs=5, name=name, model_args=model_args)
    assert model.training
    assert model(pictures(2, 1, 28, 28)).shape == (2, 5)
