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
from mixup_lab.files.keys import SKIP_HINT, few
from mixup_lab.files.picture import (
    BYTES,
    DEPTH,
    FLOATS,
    HIGH,
    LOW,
    MOST,
    WHOLE,
    Scale,
    decode,
    read_header,
    say_pages,
    scale_among,
    view_of,
)
from mixup_lab.files.pool import FilePool
from mixup_lab.notices import say
from mixup_lab.types import UserError, View

KINDS = {WHOLE: "whole numbers", FLOATS: "floating-point numbers"}


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
    read: Callable[[str], np.ndarray], shape: tuple[int, int, int], suffixes: tuple[str, ...], things: str, dtype: Any
) -> Callable[[Sequence[Path]], New]:
    """`Loaded.new` of a source whose examples are a file each.

    Args:
        read: from a path to an example of this shape and dtype.
        shape: (C, H, W).
        suffixes: of the files that are taken from a folder.
        things: what messages call the files.
        dtype: of an example.
    """
    return lambda paths: _new(files_of(paths, suffixes, things), read, shape, dtype)


def pictures(
    shape: tuple[int, ...], scale: Scale | None = None, **decoding: Any
) -> Callable[[Sequence[Path]], New] | None:
    """`Loaded.new` for pictures of any size, see `picture.decode` for further arguments.

    Those with more than 8 bits are scaled as the pictures of the source are, if these have values of that kind, else by
    the range of the new ones.

    None if they are neither grey nor RGB, which files of pictures are.
    """
    if len(shape) != 3 or shape[0] not in (1, 3):
        return None
    channels, height, width = shape
    whole, most = (channels, height, width), decoding.get("most", MOST)

    def new(paths: Sequence[Path]) -> New:
        files, origin = files_of(paths, SUFFIXES, "pictures"), few(list(map(str, paths)))
        with unskipped():
            headers = np.array([read_header(file, most=most) for file in files], dtype=np.float64)
        say_pages(origin, headers, files)
        found = scale or scale_among(origin, headers)
        _check_scale(origin, found, headers, files)
        own: dict[str, Any] = {**decoding, "shape": whole, "scale": found}
        view: Callable[[str], View] = partial(view_of, **own)
        return _new(files, partial(decode, **own), whole, np.uint8)._replace(view=lambda i: view(files[i]))

    return new


def _new(files: list[str], read: Callable[[str], np.ndarray], shape: tuple[int, int, int], dtype: Any) -> New:
    pool = FilePool("", "new", files, np.zeros(len(files)), shape, partial(_read, read), "", Cache(None, ""), dtype)
    return New(files, [Path(file).stem for file in files], pool)


def _read(read: Callable[[str], np.ndarray], path: str) -> np.ndarray:
    with unskipped():
        return read(path)


def _check_scale(origin: str, scale: Scale | None, headers: np.ndarray, files: Sequence[str]) -> None:
    """Report values that the scale cuts off; `headers` (N, 9) are rows of `Header`.

    Raises:
        UserError: for values of more than 8 bits that are of another kind than those that the scale is for.
    """
    deep = headers[:, DEPTH] != BYTES
    if scale is None or not deep.any():
        return
    for i in np.flatnonzero(deep & (headers[:, DEPTH] != scale.depth)).tolist():
        raise UserError(
            f"{files[i]} holds {KINDS[int(headers[i, DEPTH])]} of more than 8 bits, other pictures of the model or of"
            f" {origin} hold {KINDS[scale.depth]}: save it as they are"
        )
    low, high = (headers[:, column] * scale.factor + scale.shift for column in (LOW, HIGH))
    cut = np.flatnonzero(deep & ((low < 0) | (high >= 256))).tolist()
    if cut:
        low, high = headers[cut[0], [LOW, HIGH]].tolist()
        say(
            f"{len(cut)} pictures in {origin} hold values outside the range of those that the model has learnt, such as"
            f" {files[cut[0]]} from {low:g} to {high:g}: they are cut off"
        )
