"""New files for a trained model, read as a source reads its own."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mixup_lab.data.source import New
from mixup_lab.files.cache import Cache
from mixup_lab.files.folders import SUFFIXES, files_below, say_others
from mixup_lab.files.keys import SKIP_HINT
from mixup_lab.files.picture import decode, view_of
from mixup_lab.files.pool import FilePool
from mixup_lab.types import UserError, View


@contextmanager
def unskipped() -> Iterator[None]:
    """Errors without the hint that a file or row can be left out: each new one needs a prediction."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).removesuffix(SKIP_HINT)) from error


def files_of(paths: Sequence[Path], suffixes: tuple[str, ...], things: str) -> list[str]:
    """The files among some paths, whatever their names, and in each folder those with these suffixes, sorted.

    Raises:
        UserError: for a path that does not exist, and for a folder without such files.
    """
    files: list[str] = []
    for path in paths:
        if path.is_dir():
            others = Counter[str]()
            below = sorted(name for name, _, _ in files_below(str(path), "", suffixes, others))
            say_others(str(path), others)
            if not below:
                raise UserError(f"{path} has no {things} ({' '.join(suffixes)})")
            files += [os.path.join(path, name) for name in below]
        elif path.exists():
            files.append(str(path))
        else:
            raise UserError(f"{path} does not exist")
    return files


def decoded(
    read: Callable[[str], np.ndarray],
    shape: tuple[int, int, int],
    suffixes: tuple[str, ...],
    things: str,
    dtype: Any = np.uint8,
    view: Callable[[str], View] | None = None,
) -> Callable[[Sequence[Path]], New]:
    """`Loaded.new` of a source whose examples are a file each.

    Args:
        read: from a path to an example of this shape and dtype.
        shape: (C, H, W).
        suffixes: of the files that are taken from a folder.
        things: what messages call the files.
        dtype: of an example.
        view: from a path to the part of the picture that its example shows.
    """

    def new(paths: Sequence[Path]) -> New:
        files = files_of(paths, suffixes, things)
        one = partial(_read, read)
        pool = FilePool("", "new", files, np.zeros(len(files)), shape, one, "", Cache(None, ""), dtype)
        view_at = None if view is None else (lambda i: view(files[i]))
        return New(files, [Path(file).stem for file in files], pool, view_at)

    return new


def _read(read: Callable[[str], np.ndarray], path: str) -> np.ndarray:
    with unskipped():
        return read(path)


def pictures(shape: tuple[int, ...], **decoding: Any) -> Callable[[Sequence[Path]], New] | None:
    """`Loaded.new` for pictures of any size, see `picture.decode` for further arguments.

    None if they are neither grey nor RGB, which files of pictures are.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    channels, height, width = shape
    whole = (channels, height, width)
    read, view = partial(decode, shape=whole, **decoding), partial(view_of, shape=whole, **decoding)
    return decoded(read, whole, SUFFIXES, "pictures", view=view)
