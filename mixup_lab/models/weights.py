"""Weights from elsewhere: state dicts in files, and published ones that are downloaded at first use."""

import pickle
import socket
import threading
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import Tensor, nn

from mixup_lab.notices import say

# Where training programs keep the state dict in their files; averaged weights come first.
INSIDE = ("state_dict_ema", "model_ema", "ema", "state_dict", "model_state_dict", "model", "module", "net")
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "features.")  # before every key of a wrapped model
SHOWN = 3  # keys of a file that does not fit
PATIENCE = 4.0  # seconds for a host to answer, its name to be found included


def is_file(weights: str | None) -> bool:
    """Whether `weights` is a path; names of published weights are single words."""
    return weights is not None and not weights.isidentifier()


def read_weights(key: str, file: str) -> dict[str, Tensor]:
    """The state dict in a file: `.safetensors`, or written by `torch.save` and loaded as data, never as code.

    Args:
        key: the argument that names the file, for messages.
        file: its path.

    Raises:
        ValueError: if it is missing, damaged, or holds more than plain data.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"{key}={file}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with warnings.catch_warnings(action="ignore"):  # about how a foreign file was pickled
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ValueError(f"{key}={file} needs the package safetensors: pip install safetensors") from error
    # Each of the readers has errors of its own for a damaged file; those of safetensors derive from Exception alone.
    except Exception as error:
        more = " (it holds more than tensors)" if isinstance(error, pickle.UnpicklingError) else ""
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{key}={file} cannot be loaded as a state_dict{more}: {reason}") from error
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        content = next((content[name] for name in INSIDE if isinstance(content.get(name), Mapping)), None)
    if not isinstance(content, Mapping):
        raise ValueError(f"{key}={file} holds no state_dict, which maps the names of a model's tensors to tensors")
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def load_weights(
    name: str, model: nn.Module, key: str, file: str, content: dict[str, Tensor], heads: Sequence[str]
) -> None:
    """Put the state dict of a file into a model. A head of another size keeps the model's own initial weights.

    Args:
        name: of the model, for messages.
        model: takes the weights.
        key: the argument that names the file.
        file: as the user wrote it.
        content: the state dict.
        heads: modules whose size depends on the classes; the file may have them or not, in any size.

    Raises:
        ValueError: if any other tensor is missing, unknown or of another shape; it names up to three.
    """
    own = model.state_dict()
    content = _unwrapped(content, own)
    head = tuple(f"{path}." for path in heads)
    shapes = {k: tuple(v.shape) for k, v in own.items()}
    found = {k: tuple(v.shape) for k, v in content.items()}
    # BatchNorm counts its batches, if it is not frozen; nothing depends on it.
    wanted = {k for k in {**shapes, **found} if not k.startswith(head) and not k.endswith("num_batches_tracked")}
    wrong = [k for k in {**shapes, **found} if k in wanted and shapes.get(k) != found.get(k)]
    if wrong:
        sizes = (f"{k} is {_size(found.get(k))} there, {_size(shapes.get(k))} in the model" for k in wrong)
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise ValueError(f"{key}={file} does not fit {name}: {'; '.join(islice(sizes, SHOWN))}{more}")
    new = any(shapes[k] != found.get(k) for k in shapes if k.startswith(head))
    model.load_state_dict({k: v for k, v in content.items() if k in own and not (new and k.startswith(head))}, False)
    if new:
        say(f"model.{key}={file}: the last layer of {name} is new, as the file has another number of classes")


def _unwrapped(content: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that a wrapper has put before every key that the model knows."""
    for wrapper in WRAPPERS:
        inner = {k.removeprefix(wrapper): v for k, v in content.items()}
        if len(inner.keys() & own.keys()) > len(content.keys() & own.keys()):
            content = inner
    return content


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape)) or "one number"


def check_reachable(name: str, url: str) -> None:
    """Raise `ValueError` unless the host of `url` answers within seconds; libraries try for minutes.

    Behind a proxy only the library itself can tell.
    """
    parts = urlsplit(url)
    if parts.hostname is None or {parts.scheme, "all"} & getproxies().keys():
        return
    address = parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)
    answered = threading.Event()

    def knock() -> None:
        try:
            socket.create_connection(address, timeout=PATIENCE).close()
        except OSError:
            return
        answered.set()

    # The search for the name of a host has no time limit, so it may outlive the wait.
    thread = threading.Thread(target=knock, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not answered.is_set():
        raise ValueError(
            f"the weights of {name} are not on this machine, and {parts.hostname} does not answer; download {url}"
            " elsewhere and set model.weights=FILE, or leave the weights out"
        )
