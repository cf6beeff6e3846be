"""Well-known data sets that torchvision can download."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files import idx as idx_files
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError

DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class _Known:
    """What is known of a data set before it is read. Mean and std are those of its training pictures."""

    torchvision: str  # name of the class, and for the MNIST family of the folder
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] | None = None  # None: the files tell
    family: str = "mnist"


# Mean and std are the values in common use.
KNOWN = {
    "mnist": _Known("MNIST", (0.1307,), (0.3081,), DIGITS),
    "fashion_mnist": _Known(
        "FashionMNIST",
        (0.2860,),
        (0.3530,),
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    "kmnist": _Known("KMNIST", (0.1918,), (0.3483,), ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
    "cifar10": _Known("CIFAR10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), family="cifar"),
    "cifar100": _Known("CIFAR100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), family="cifar"),
    "svhn": _Known("SVHN", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), DIGITS, family="svhn"),
}


class TorchvisionSet:
    """One of MNIST, Fashion-MNIST, KMNIST, CIFAR-10, CIFAR-100 and SVHN; val is carved from train.

    Args:
        name: a key of `KNOWN`.
        root: folder of the files, as torchvision lays them out; the four files of the MNIST family may also lie in it
            directly. `~` and the working directory count.
        download: whether to fetch files that are not there. What is there is never fetched again.

    Raises:
        UserError: if the data is not there and cannot or must not be fetched, or is damaged.
    """

    def __init__(self, name: str, root: str = "data", download: bool = True) -> None:
        if name not in KNOWN:
            raise UserError(f"dataset.name must be one of {', '.join(KNOWN)}, got {name}")
        self.name = name
        self.root = Path(root).expanduser()
        self.download = download

    def load(self) -> Loaded:
        """Read train and test, after fetching them if need be."""
        known = KNOWN[self.name]
        if known.family == "mnist":
            folder = idx_files.find(self.root, known.torchvision)
            if folder is None:
                # Here torchvision only fetches; reading the files without it saves a second at every start.
                self._open(train=True)
                folder = idx_files.find(self.root, known.torchvision)
            if folder is None:
                raise UserError(f"dataset={self.name}: {self.root} lacks some of the four files *-ubyte")
            pools = [ArrayPool(*idx_files.read_part(folder, part)) for part in ("train", "test")]
            class_names = known.class_names
        else:
            sets = [self._open(train) for train in (True, False)]
            pools = [_pool(known.family, opened) for opened in sets]
            class_names = known.class_names or tuple(sets[0].classes)
        assert class_names is not None
        return Loaded(pools[0], None, pools[1], Classes(class_names), known.mean, known.std)

    def _open(self, train: bool) -> Any:
        """The data set as torchvision's object, fetched first if it is missing and may be fetched."""
        import torchvision.datasets

        kind = getattr(torchvision.datasets, KNOWN[self.name].torchvision)
        arguments = {"split": "train" if train else "test"} if self.name == "svhn" else {"train": train}
        try:
            return self._read(kind, arguments)
        except RuntimeError as error:  # torchvision's word for: not there, or not what it should be
            if not self.download:
                raise UserError(
                    f"dataset={self.name}: no data in {self.root}; set dataset.root=DIR,"
                    " or dataset.download=true to fetch it"
                ) from error
        return downloaded(self.name, kind, self.root, arguments)

    def _read(self, kind: Any, arguments: dict[str, Any]) -> Any:
        try:
            return kind(str(self.root), download=False, **arguments)
        except (OSError, EOFError, ValueError, KeyError) as error:
            raise UserError(f"dataset={self.name}: the files in {self.root} cannot be read ({error})") from error


def downloaded(name: str, kind: Any, root: Path, arguments: dict[str, Any]) -> Any:
    """A data set of torchvision as `kind(root, **arguments)` gives it, fetched now, by one process at a time.

    Raises:
        UserError: where that fails, such as without a network.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with alone(root):
            return kind(str(root), download=True, **arguments)
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"dataset={name}: not in {root} and the download failed ({reason}); set dataset.root=DIR to where the"
            " files are"
        ) from error


def _pool(family: str, opened: Any) -> ArrayPool:
    """(N, C, H, W) from torchvision's arrays: CIFAR keeps (N, H, W, C), SVHN (N, C, H, W). In memory: channels last."""
    images, target = (
        (opened.data, opened.targets) if family == "cifar" else (opened.data.transpose(0, 2, 3, 1), opened.labels)
    )
    return ArrayPool(np.ascontiguousarray(images).transpose(0, 3, 1, 2), np.asarray(target, dtype=np.int64))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time download: runs of a sweep may start together. The next one finds the files."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with open(folder / ".download.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
