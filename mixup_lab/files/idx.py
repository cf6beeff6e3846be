"""The four files of MNIST and its relatives, in the IDX format, plain or gzipped.

IDX: two zero bytes, a type code (8: uint8), the number of dimensions, each size as a big-endian uint32, the values.
"""

import gzip
from pathlib import Path

import numpy as np

from mixup_lab.types import UserError

STEMS = {"train": "train", "test": "t10k"}


def find(root: Path, folder: str) -> Path | None:
    """The folder that holds all four files: `root/FOLDER/raw` as torchvision makes it, `root/raw`, or `root` itself."""
    places = (root / folder / "raw", root / "raw", root)
    return next(
        (p for p in places if all(_file(p, part, kind) for part in STEMS for kind in ("images", "labels"))), None
    )


def read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures (N, 1, H, W) and classes of `part`, train or test. Raises UserError for a damaged file."""
    images, labels = _array(folder, part, "images", 3), _array(folder, part, "labels", 1)
    if len(images) != len(labels):
        raise UserError(f"dataset.root={folder} holds {len(images)} pictures for {part}, but {len(labels)} labels")
    return images[:, None], labels.astype(np.int64)


def _file(folder: Path, part: str, kind: str) -> Path | None:
    name = f"{STEMS[part]}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _array(folder: Path, part: str, kind: str, ndim: int) -> np.ndarray:
    path = _file(folder, part, kind)
    assert path is not None  # checked by `find`
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        shape = np.frombuffer(content, dtype=">u4", count=ndim, offset=4).tolist()
        if content[:4] != bytes((0, 0, 8, ndim)):
            raise ValueError("it is not an IDX file of this kind")
        # A copy: torch needs memory that can be written to.
        return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); delete it to have it fetched again") from error
