"""Weights from files: what is loaded, what is new, and which files are refused."""

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.cases import each
from torch import Tensor, nn

from mixup_lab.models import weights as module
from mixup_lab.models.timm import timm_model
from mixup_lab.models.torchvision import torchvision_model
from mixup_lab.models.torchvision_detection import TorchvisionDetection
from mixup_lab.models.torchvision_segmentation import TorchvisionSegmentation
from mixup_lab.models.weights import check_reachable, load_weights, read_weights

SQUEEZE: dict[str, Any] = {"name": "squeezenet1_1", "input_shape": (3, 64, 64)}


def pictures(channels: int) -> Tensor:
    return torch.rand(2, channels, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, str]:
    """A model of seven classes, and its file as many programs write it: nested, from a wrapped model."""
    from torchvision import models

    torch.manual_seed(0)
    model = models.squeezenet1_1(num_classes=7).eval()
    file = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    state = {f"module.{key}": value for key, value in model.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, file)
    return model, str(file)


def test_a_file_gives_the_same_model(squeezenet: tuple[nn.Module, str], capsys: pytest.CaptureFixture[str]) -> None:
    published, file = squeezenet
    x = pictures(3)
    same = torchvision_model(num_outputs=7, weights=file, **SQUEEZE).eval()
    torch.testing.assert_close(same(x), published(x))
    assert capsys.readouterr().err == ""

    fewer = torchvision_model(num_outputs=3, weights=file, **SQUEEZE).eval()
    torch.testing.assert_close(fewer.get_submodule("features")(x), published.get_submodule("features")(x))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "the last layer of torchvision's squeezenet1_1 is new" in said

    grey = torchvision_model(num_outputs=7, weights=file, name="squeezenet1_1", input_shape=(1, 64, 64)).eval()
    torch.testing.assert_close(grey(pictures(1)), published(pictures(1).expand(-1, 3, -1, -1)))


def test_a_segmentation_model_takes_a_file_of_the_whole_or_of_its_backbone(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(0)
    facts: dict[str, Any] = {"name": "lraspp_mobilenet_v3_large", "input_shape": (3, 64, 64)}
    whole = models.get_model(facts["name"], weights=None, weights_backbone=None, num_classes=4).eval()
    torch.save(whole.state_dict(), tmp_path / "whole.pt")
    x = pictures(3)
    same = TorchvisionSegmentation(num_outputs=4, weights=str(tmp_path / "whole.pt"), **facts).eval()
    torch.testing.assert_close(same(x), whole(x)["out"])
    fewer = TorchvisionSegmentation(num_outputs=2, weights=str(tmp_path / "whole.pt"), **facts).eval()
    torch.testing.assert_close(fewer.net.get_submodule("backbone")(x), whole.backbone(x))

    classifier = models.mobilenet_v3_large().eval()
    torch.save(classifier.state_dict(), tmp_path / "backbone.pt")
    backed = TorchvisionSegmentation(num_outputs=2, weights_backbone=str(tmp_path / "backbone.pt"), **facts).eval()
    blocks = list(backed.net.get_submodule("backbone").children())[:7]  # later ones have larger steps in a classifier
    torch.testing.assert_close(nn.Sequential(*blocks)(x), classifier.features[:7](x))


def test_a_detector_takes_a_file_of_the_whole_or_of_its_backbone(tmp_path: Path) -> None:
    from torchvision import models

    torch.manual_seed(0)
    facts: dict[str, Any] = {"name": "fcos_resnet18_fpn", "input_shape": (3, 64, 64)}
    classifier = models.resnet18().eval()
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    backed = TorchvisionDetection(num_outputs=8, weights_backbone=str(tmp_path / "resnet18.pth"), **facts).eval()
    x = pictures(3)
    stages = nn.Sequential(*list(classifier.children())[:-2])
    torch.testing.assert_close(backed.model.backbone.body(x)["2"], stages(x), rtol=1e-3, atol=1e-3)  # frozen BatchNorm

    torch.save(backed.state_dict(), tmp_path / "whole.pth")  # of this program, with `model.` before each key
    other = TorchvisionDetection(num_outputs=6, weights=str(tmp_path / "whole.pth"), **facts).eval()
    torch.testing.assert_close(other(x)[..., 1:5], backed(x)[..., 3:7], rtol=1e-3, atol=1e-3)


def test_a_file_that_does_not_fit_is_refused_with_three_names(
    tmp_path: Path, squeezenet: tuple[nn.Module, str]
) -> None:
    published, _ = squeezenet
    state = published.state_dict()
    state["stem.weight"] = state.pop("features.0.weight")
    state["features.0.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "w.pth")
    sentence = (
        r"^weights=\S+ does not fit torchvision's squeezenet1_1: features.0.weight is missing there, 64x3x3x3 in the "
        r"model; features.0.bias is 3 there, 64 in the model; stem.weight is 64x3x3x3 there, missing in the model$"
    )
    with pytest.raises(ValueError, match=sentence):
        torchvision_model(num_outputs=7, weights=str(tmp_path / "w.pth"), **SQUEEZE)
    torch.save({"a.weight": torch.zeros(2), "b": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"; and 49 more$"):
        torchvision_model(num_outputs=7, weights=str(tmp_path / "w.pth"), **SQUEEZE)


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model": Code()}, tmp_path / "code.pth")
    (tmp_path / "text.pth").write_text("not weights")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    cases = {
        "code.pth": "holds more than tensors",
        "text.pth": "cannot be loaded as a state_dict",
        "empty.pth": "holds no state_dict",
        "none.pth": "there is no such file",
    }
    for name, sentence in cases.items():
        with pytest.raises(ValueError, match=rf"^weights=.*{name}.*{sentence}"):
            read_weights("weights", str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_safetensors_are_read_if_the_package_is_there(tmp_path: Path) -> None:
    weights = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    file = str(tmp_path / "w.safetensors")
    try:
        from safetensors.torch import save_file
    except ImportError:
        Path(file).touch()
        with pytest.raises(ValueError, match="needs the package safetensors"):
            read_weights("weights", file)
        return
    save_file(weights, file)
    model = nn.Linear(3, 2)
    load_weights("a layer", model, "weights", file, read_weights("weights", file), ())
    torch.testing.assert_close(model.weight.detach(), weights["weight"])


def test_a_host_that_does_not_answer_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable("a model", f"http://127.0.0.1:{port}/file.pth")
    with pytest.raises(ValueError, match=r"a model are not on this machine, and 127\.0\.0\.1 does .*weights=FILE"):
        check_reachable("a model", f"http://127.0.0.1:{port}/file.pth")
    check_reachable("a model", "file:///nowhere/file.pth")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    check_reachable("a model", f"http://127.0.0.1:{port}/file.pth")  # only the library knows


def test_a_name_that_is_never_found_takes_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host behind a listener with a full queue: its connections are neither taken nor refused."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(address)
        start = time.monotonic()
        with pytest.raises(ValueError, match="does not answer"):
            check_reachable("a model", f"http://127.0.0.1:{address[1]}/file.pth")
        assert time.monotonic() - start < 2
        for client in waiting:
            client.close()


# timm


@each("argument", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"])
def test_arguments_of_timm_that_load_files_are_refused(argument: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=f"^model_args must hold arguments of the network, got {argument} of"):
        timm_model(num_outputs=3, name="resnet18", input_shape=(3, 64, 64), model_args={argument: "FILE"})


def test_timm_takes_a_file_for_pictures_of_other_channels(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    published = timm.create_model("mobilenetv3_small_050", num_classes=7).eval()
    file = str(tmp_path / "w.pth")
    torch.save(published.state_dict(), file)
    facts: dict[str, Any] = {"name": "mobilenetv3_small_050", "weights": file}
    same = timm_model(num_outputs=7, input_shape=(3, 64, 64), **facts).eval()
    torch.testing.assert_close(same(pictures(3)), published(pictures(3)))
    grey = timm_model(num_outputs=7, input_shape=(1, 64, 64), **facts).eval()
    torch.testing.assert_close(grey(pictures(1)), published(pictures(1).expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-3)
    fewer = timm_model(num_outputs=2, input_shape=(3, 64, 64), **facts).eval()
    torch.testing.assert_close(fewer.forward_features(pictures(3)), published.forward_features(pictures(3)))  # type: ignore[operator]
    with pytest.raises(ValueError, match="does not fit timm's resnet18"):
        timm_model(num_outputs=7, name="resnet18", input_shape=(3, 64, 64), weights=file)
    with pytest.raises(ValueError, match="exclude each other"):
        timm_model(num_outputs=7, input_shape=(3, 64, 64), pretrained=True, **facts)


def test_timm_finds_downloaded_weights_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    published = timm.create_model("mobilenetv3_small_050").eval()
    url = timm.get_pretrained_cfg("mobilenetv3_small_050").url
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(published.state_dict(), tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = timm_model(num_outputs=2, name="mobilenetv3_small_050", pretrained=True, input_shape=(3, 64, 64)).eval()
    torch.testing.assert_close(model.forward_features(pictures(3)), published.forward_features(pictures(3)))  # type: ignore[operator]
