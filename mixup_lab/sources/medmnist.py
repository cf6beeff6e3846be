"""MedMNIST: small medical pictures in one npz file, with their own train, val and test.

Yang et al. (2023), "MedMNIST v2 - A large-scale lightweight benchmark for 2D and 3D biomedical image classification",
Scientific Data 10, 41. The sets are under CC BY 4.0 (DermaMNIST: CC BY-NC 4.0); cite the source of each as well.
"""

import zipfile
from pathlib import Path

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.keys import SPLITS, path_given
from mixup_lab.notices import say
from mixup_lab.npz import read_npz
from mixup_lab.sources.medmnist_names import names_of
from mixup_lab.sources.new_files import pictures
from mixup_lab.targets.classes import Classes
from mixup_lab.targets.tags import Tags
from mixup_lab.targets.target import Target
from mixup_lab.types import UserError

MOST = 2**16  # classes


class MedMNIST:
    """A 2D set of MedMNIST, with pictures of any size, or any other file with this layout.

    The file holds `train_images`, `train_labels` and likewise val and test: pictures uint8 (N, H, W) or (N, H, W, 3),
    labels (N, 1) of a class, (N, T) of 0 and 1 for T tags. The grades of an ordinal set are classes here.

    Args:
        root: the npz file, or a folder that holds it.
        name: of the set, such as `pneumoniamnist`: the file in the folder, without .npz, and the key to the names of
            the classes. None: the name of the only file.

    Raises:
        UserError: for a file that does not exist or has another layout.
    """

    def __init__(self, root: str | None = None, name: str | None = None) -> None:
        self.root, self.name = Path(path_given("root", root, "FILE.npz, or a folder with dataset.name=NAME")), name

    def load(self) -> Loaded:
        """Read the file."""
        path = self._path()
        arrays = _read(path)
        pools = {split: _pool(path, split, arrays) for split in SPLITS}
        for split in SPLITS[1:]:
            if pools[split].shape != pools["train"].shape:
                raise UserError(
                    f"{path}: pictures of {split} have shape {pools[split].shape}, those of train"
                    f" {pools['train'].shape}"
                )
        return Loaded.of(pools, _kind(self.name or path.stem, pools), new=pictures(pools["train"].shape))

    def _path(self) -> Path:
        if self.root.is_file():
            return self.root
        if not self.root.is_dir():
            raise UserError(f"dataset.root={self.root} does not exist")
        if self.name is not None:
            path = self.root / f"{self.name}.npz"
            if not path.is_file():
                raise UserError(f"dataset.root={self.root} has no {path.name}{_listed(self.root)}")
            return path
        paths = sorted(self.root.glob("*.npz"))
        if len(paths) != 1:
            raise UserError(f"dataset.name must choose a file of dataset.root={self.root}{_listed(self.root)}")
        return paths[0]


def _listed(folder: Path) -> str:
    names = ", ".join(path.stem for path in sorted(folder.glob("*.npz")))
    return f"; dataset.name may be: {names}" if names else "; it holds no npz file"


def _read(path: Path) -> dict[str, np.ndarray]:
    wanted = [f"{split}_{what}" for split in SPLITS for what in ("images", "labels")]
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} cannot be read as an npz file: it is not an npz file, or incomplete")
    arrays = read_npz(path, lambda name: name in wanted)
    missing = [key for key in wanted if key not in arrays]
    if missing:
        with zipfile.ZipFile(path) as archive:
            names = ", ".join(name.removesuffix(".npy") for name in archive.namelist())
        raise UserError(f"{path} has no {missing[0]}, so it is not a MedMNIST file; it holds {names}")
    return arrays


def _pool(path: Path, split: str, arrays: dict[str, np.ndarray]) -> ArrayPool:
    images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise UserError(
            f"{path}: {split}_images must be uint8 (N, H, W) or (N, H, W, 3), found {images.dtype} {images.shape}"
            + "; sets of volumes cannot be used" * (images.ndim > 3)
        )
    labels = labels[:, None] if labels.ndim == 1 else labels
    if labels.ndim != 2 or len(labels) != len(images) or labels.dtype.kind not in "iu":
        raise UserError(
            f"{path}: {split}_labels must be whole numbers, one row for each of {len(images)} pictures, found"
            f" {labels.dtype} {labels.shape}"
        )
    target = labels.astype(np.float32) if labels.shape[1] > 1 else labels[:, 0].astype(np.int64)
    return ArrayPool(images[:, None] if images.ndim == 3 else np.moveaxis(images, 3, 1), target)


def _kind(name: str, pools: dict[str, ArrayPool]) -> Target:
    train = pools["train"].target
    if len({pool.target.shape[1:] for pool in pools.values()}) > 1:
        raise UserError(f"{name}: train, val and test must have labels of equal width")
    if train.ndim == 2:
        if (train.sum(1) == 1).all():
            say(
                f"{name}: each row of train_labels has a single 1 (one-hot) and is read as {train.shape[1]} tags; to"
                " have classes, save their numbers"
            )
        return Tags(names_of(name, train.shape[1], "tag"))
    count = int(train.max(initial=-1)) + 1
    if count > MOST:
        raise UserError(
            f"{name}: train_labels has the class {count - 1}; the numbers of classes are at most {MOST - 1}"
        )
    for split in SPLITS[1:]:
        most = int(pools[split].target.max(initial=-1))
        if most >= count:
            raise UserError(f"{name}: {split} has the class {most}, but the classes of train are 0 to {count - 1}")
    return Classes(names_of(name, count, "class"))
