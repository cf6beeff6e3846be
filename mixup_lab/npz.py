"""Reading npz files that may be damaged or come from somebody else: sizes are compared before memory is taken."""

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from mixup_lab.types import UserError

# Arrays of so many bytes must be more than a hundredth of that in the file. Pictures and predictions compress less; a
# file of a few MB that grows to many GB is an attack.
LARGE, MOST_COMPRESSED = 256 * 2**20, 100
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # as NumPy writes them


def read_npz(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name, without those that are not wanted. Nothing is unpickled.

    Raises:
        FileNotFoundError: if there is no such file.
        UserError: if it is damaged, encrypted, or promises more than it can hold.
    """
    try:
        if not path.is_file() and path.exists():
            raise ValueError("it is not a file")
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            size = path.stat().st_size
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(archive, info, size) for name, info in members.items() if wanted(name)}
    except FileNotFoundError:
        raise
    except Exception as error:  # of the many that a damaged header or member ends in
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path} cannot be read as an npz file: {reason}") from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> np.ndarray:
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_type not in PLAIN:
        raise ValueError(f"{info.filename} is compressed in a way that NumPy does not use")
    if info.compress_size > size or (info.file_size > LARGE and info.file_size > MOST_COMPRESSED * info.compress_size):
        raise ValueError(f"{info.filename} cannot hold {info.file_size} bytes")
    with archive.open(info) as member:
        shape, _, dtype = _header(member)
        if dtype.hasobject or not dtype.itemsize or any(length < 0 for length in shape):
            raise ValueError(f"{info.filename} does not hold plain values")
        if math.prod(shape) * dtype.itemsize + member.tell() != info.file_size:
            raise ValueError(f"{info.filename} does not have the size of {dtype} {shape}")
    with archive.open(info) as member:
        array: np.ndarray = npy.read_array(member, allow_pickle=False)
    return array


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(member)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of its arrays is not known")
    header: tuple[tuple[int, ...], bool, np.dtype] = read(member)
    return header
