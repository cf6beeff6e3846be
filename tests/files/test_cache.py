from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from helpers.data_examples import picture, prepared, small_folder

from mixup_lab.data import prepare
from mixup_lab.files import cache as disk_cache
from mixup_lab.files.cache import Cache, default_folder
from mixup_lab.sources.image_folder import ImageFolder
from mixup_lab.types import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small_folder(tmp_path / "pictures", ("train", "test"))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def start(root: Path, kept: Path, **arguments: Any) -> torch.Tensor:
    """What a start of the program reads."""
    loaded = ImageFolder(str(root), cache_dir=str(kept), **arguments).load()
    assert loaded.test is not None
    return torch.cat([loaded.train.load(), loaded.test.load()])


def files(kept: Path) -> list[Path]:
    return sorted(path for path in kept.rglob("*") if path.is_file())


def spoil_pictures_but_not_their_times(root: Path) -> None:
    """From here on only the cache knows what the pictures look like."""
    for path in root.rglob("*.png"):
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_second_start_opens_no_picture(root: Path, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = start(root, kept)
    assert capsys.readouterr().err.count(" ...\n") == 3  # headers, train, test
    spoil_pictures_but_not_their_times(root)
    assert torch.equal(start(root, kept), first)
    assert capsys.readouterr().err == ""
    assert len(files(kept)) == 3


@pytest.mark.parametrize("where", [0, -1, 300])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_damage_is_noticed_and_mended(
    root: Path, kept: Path, capsys: pytest.CaptureFixture[str], which: int, where: int
) -> None:
    first = start(root, kept)
    path = files(kept)[which]
    content = bytearray(path.read_bytes())
    content[min(where, len(content) - 1)] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert torch.equal(start(root, kept), first)
    assert capsys.readouterr().err.count("cannot be used (its") == 1
    assert torch.equal(start(root, kept), first)
    assert capsys.readouterr().err == ""


def test_file_cut_short_is_noticed(root: Path, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = start(root, kept)
    for path in files(kept):
        path.write_bytes(path.read_bytes()[:-7])
    assert torch.equal(start(root, kept), first)
    assert capsys.readouterr().err.count("its size is wrong") == 3


@pytest.mark.parametrize("storage", ["resident", "streaming"])
def test_mean_and_std_are_kept_for_each_choice_of_pictures(
    root: Path, kept: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    def values(**changes: Any) -> tuple[tuple[float, ...], ...]:
        data = prepared(ImageFolder(str(root), cache_dir=str(kept)), storage=storage, val_fraction=0.5, **changes)
        return data.encode.mean, data.encode.std

    counted = []
    count = prepare.moments
    monkeypatch.setattr(prepare, "moments", lambda *words: counted.append(1) or count(*words))
    first = values()
    assert values() == first
    assert len(counted) == 1
    assert values(split_seed=1) != first
    assert len(counted) == 2
    picture(seed=999).save(root / "train" / "cat" / "0.png")
    picture(seed=998).save(root / "train" / "dog" / "0.png")
    values()
    values(split_seed=1)
    assert len(counted) == 4


def test_changed_picture_is_seen_and_the_old_state_deleted(root: Path, kept: Path) -> None:
    first, old = start(root, kept), files(kept)
    picture(seed=999).save(root / "train" / "cat" / "0.png")
    second = start(root, kept)
    assert (second != first).flatten(1).any(1).tolist() == [True] + [False] * 15
    assert len(files(kept)) == 3
    assert not set(files(kept)) & set(old)


def test_new_time_alone_counts_as_a_change(root: Path, kept: Path) -> None:
    start(root, kept)
    old = files(kept)
    os.utime(root / "test" / "dog" / "3.png", ns=(1, 1))
    start(root, kept)
    assert not set(files(kept)) & set(old)


def test_sizes_and_channels_are_kept_side_by_side(root: Path, kept: Path) -> None:
    start(root, kept)
    assert start(root, kept, image_size=3, channels=1).shape == (16, 1, 3, 3)
    assert start(root, kept).shape == (16, 3, 5, 6)
    assert len(files(kept)) == 5  # the headers serve both


def test_skipped_pictures_stay_skipped(root: Path, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "train" / "cat" / "0.png").write_bytes(b"no picture")
    first = start(root, kept, on_error="skip")
    assert torch.equal(start(root, kept, on_error="skip"), first)
    assert capsys.readouterr().err.count("1 of 16 pictures") == 2


def test_what_skipping_kept_does_not_hide_errors_later(root: Path, kept: Path) -> None:
    (root / "train" / "cat" / "0.png").write_bytes(b"no picture")
    start(root, kept, on_error="skip")
    with pytest.raises(UserError, match=r"train/cat/0\.png cannot be read"):
        start(root, kept)


def test_a_look_at_headers_does_not_serve_skipping_which_decodes(root: Path, kept: Path) -> None:
    path = root / "train" / "cat" / "0.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated"):
        start(root, kept)
    assert len(start(root, kept, on_error="skip")) == 15


def test_no_cache_writes_nothing(root: Path, kept: Path) -> None:
    start(root, kept, cache=False)
    assert not kept.exists()


def test_folder_that_cannot_be_written_is_said_once(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    first = start(root, tmp_path / "file" / "kept")
    assert first.shape == (16, 3, 5, 6)
    assert capsys.readouterr().err.count("decoded data are not kept in") == 1


def test_full_disk_leaves_nothing_behind(
    root: Path, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: IO[bytes], array: np.ndarray) -> None:
        file.write(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk_cache, "_write", full)
    assert start(root, kept).shape == (16, 3, 5, 6)
    assert files(kept) == []
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_unfinished_files_are_removed_when_they_are_old(root: Path, kept: Path) -> None:
    start(root, kept)
    folder = files(kept)[0].parent
    young, old = folder / "young.part", folder / "old.part"
    for path in (young, old):
        path.write_bytes(b"")
    os.utime(old, (time.time() - 2 * disk_cache.ABANDONED,) * 2)
    start(root, kept, image_size=3)
    assert (young.exists(), old.exists()) == (True, False)


WRITE_AND_READ = """
import sys
import numpy as np
from pathlib import Path
from mixup_lab.files.cache import Cache

array = np.arange(50_000)
for i in range(60):
    cache = Cache(Path(sys.argv[1]), f"state {i % 2 if sys.argv[2] == 'changing' else 0}")
    cache.write("array", array)
    read = cache.read("array")
    assert (read is None and sys.argv[2] == "changing") or np.array_equal(read, array)
"""


@pytest.mark.parametrize("state", ["same", "changing"])
def test_two_processes_at_once(kept: Path, state: str) -> None:
    command = [sys.executable, "-c", WRITE_AND_READ, str(kept), state]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert errors == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert len(files(kept)) <= 2


def test_arrays_of_any_size_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "BLOCK", 100)
    cache = Cache.of("somewhere", "digest", tmp_path)
    for count in (1, 25, 26, 1001):
        array = np.random.default_rng(0).integers(-9, 9, (count, 1), dtype=np.int32)
        cache.write("array", array)
        np.testing.assert_array_equal(cache.read("array"), array)
    assert cache.read("nothing") is None


def test_folders_of_one_name_have_caches_of_their_own(tmp_path: Path) -> None:
    assert Cache.of("a/data", "d", tmp_path).folder != Cache.of("b/data", "d", tmp_path).folder


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "mixup-lab"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "mixup-lab"
