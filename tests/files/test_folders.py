"""Folders and lists as people have them: names of splits, files that are left out, names that lack something."""

import os
import socket
from collections import Counter
from pathlib import Path

import pytest

from mixup_lab.files.folders import files_below, find_files, list_folder, names_of_splits, say_unlisted
from mixup_lab.types import UserError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "valid", "test"), {"train": "train", "val": "valid", "test": "test"}),
        (("training", "validation"), {"train": "training", "val": "validation"}),
        (("Train", "dev", "TESTING"), {"train": "Train", "val": "dev", "test": "TESTING"}),
        (("train", "eval"), {"train": "train", "val": "eval"}),
    ],
)
def test_usual_names_of_splits(tmp_path, names, splits):
    tree(tmp_path, *(f"{name}/{label}/{i}.png" for name in names for label in "ab" for i in range(2)))
    listing = list_folder(str(tmp_path))
    expected = [f"{label}/{i}.png" for label in "ab" for i in range(2)]
    assert listing.names == {split: [f"{name}/{file}" for file in expected] for split, name in splits.items()}
    assert {split: target.tolist() for split, target in listing.target.items()} == {
        split: [0, 0, 1, 1] for split in splits
    }


def test_two_names_of_one_split_are_refused(tmp_path):
    tree(tmp_path, "train/a/1.png", "val/a/1.png", "valid/a/1.png")
    with pytest.raises(UserError, match=r"/val and .*/valid are both val; keep one of them, or rename one"):
        names_of_splits(str(tmp_path))
    (tmp_path / "valid/a/1.png").unlink()
    (tmp_path / "valid/a").rmdir()
    (tmp_path / "valid").rmdir()
    (tmp_path / "valid").symlink_to("val")
    assert names_of_splits(str(tmp_path)) == {"train": "train", "val": "val"}


@pytest.mark.parametrize(("labels"), [("cat", "dog"), ("car", "plane", "train")])
def test_folders_of_classes_without_train_are_one_pool(tmp_path, labels):
    tree(tmp_path, *(f"{label}/{i}.png" for label in labels for i in range(3)), "readme.txt")
    listing = list_folder(str(tmp_path))
    assert listing.class_names == labels
    assert listing.names == {"train": [f"{label}/{i}.png" for label in labels for i in range(3)]}


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (
            ("val/a/1.png", "test/b/1.png"),
            r"has no folder train; .* CLASS/ for at least two .*; its folders: test, val$",
        ),
        (("set/train/a/1.png", "set/val/a/1.png"), r"its folders: set; did you mean .dataset\.root='/.*/set'.\?$"),
        (("a/1.png",), r"has no folder train; .*; its folders: a$"),
        (("train/a/1.png",), r"at least 2 class folders in train, found 1 \(a\)$"),
        (("train/1.png", "test/1.png", "a/1.png", "b/1.png"), "at least 2 class folders in train, found 0"),
        (("train/a/1.png", "train/b/1.heic"), r"has no pictures in train/b \(\.jpg .*\); it has 1 \.heic$"),
        (("a/1.png", "b/1", "b/2"), r"has no pictures in b \(\.jpg .*\); it has 2 without ending$"),
    ],
)
def test_what_is_not_a_folder_of_classes(tmp_path, names, sentence):
    with pytest.raises(UserError, match=sentence):
        list_folder(str(tree(tmp_path, *names)))


def test_the_folder_of_one_class_is_not_the_root(tmp_path):
    tree(tmp_path, "set/train/cat/1.png", "set/train/dog/1.png")
    with pytest.raises(UserError, match=rf"its folders: none; if cat is a class, set .*root='?{tmp_path}/set\b"):
        list_folder(str(tmp_path / "set/train/cat"))


def test_folders_inside_of_classes_are_said(tmp_path, capsys):
    tree(tmp_path, "a/1.png", "b/1.png", "b/deep/er/2.png", "b/deep/3.png")
    assert list_folder(str(tmp_path)).target["train"].tolist() == [0, 1, 1, 1]
    said = f"2 pictures of {tmp_path} are in folders inside of those of classes, such as b/deep/3.png of class b\n"
    assert said in capsys.readouterr().err


def test_what_a_list_does_not_name(tmp_path, capsys):
    """Files next to those that are listed, and below them, by any way to write a path; not those elsewhere."""
    tree(tmp_path, "data/in/1.png", "data/in/sub/2.png", "data/in/3.txt", "data/else/4.png", "data/in/.5.png")
    root = tmp_path / "data"
    (tmp_path / "link").symlink_to(root)
    absolute = [str(place / "in/1.png") for place in (root, tmp_path / "link")]
    for name in ("in/1.png", "in/sub/../1.png", "../link/in/1.png", *absolute):
        say_unlisted(str(root), [name], (".png",), "pictures")
        said = f"1 pictures of {root} are not used, such as in/sub/2.png: nothing that is read lists them\n"
        assert capsys.readouterr().err == said, name
    say_unlisted(str(root), ["in/1.png", "in/sub/2.png"], (".png",), "pictures")
    say_unlisted(str(root / "in"), ["../else/4.png"], (".png",), "pictures")
    say_unlisted(str(root), [], (".png",), "pictures", ["gone"])
    say_unlisted(str(root), [], (".png",), "pictures")
    assert capsys.readouterr().err == ""
    say_unlisted(str(root), ["in/1.png"], (".png",), "pictures", ["in", "./else", "in/"])
    assert "2 pictures of" in capsys.readouterr().err


def test_what_is_left_out_is_said(tmp_path, capsys):
    tree(tmp_path, *(f"train/{label}/{i}.{end}" for label in "ab" for i in range(2) for end in ("jfif", "heic")))
    tree(tmp_path, "train/a/Thumbs.db", "train/a/.DS_Store", "train/0.png", "extra/a/1.png", "val/a/1.tif")
    listing = list_folder(str(tmp_path))
    assert listing.names["train"] == [f"train/{label}/{i}.jfif" for label in "ab" for i in range(2)]
    assert listing.target["val"].tolist() == [0]
    said = capsys.readouterr().err
    assert f"5 files below {tmp_path} are left out because of their ending: 4 .heic, 1 .db\n" in said
    assert f"1 pictures of {tmp_path}/train are left out: they are not in one of its folders" in said
    assert f"folders of {tmp_path} are not used: extra; those of splits are called train, training, val, valid" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_pipes_and_sockets_are_passed_over(tmp_path, monkeypatch):
    tree(tmp_path, "a/1.png", "a/folder.png/2.png")
    os.mkfifo(tmp_path / "a/x.png")
    monkeypatch.chdir(tmp_path / "a")  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("y.png")
        others = Counter[str]()
        found = sorted(name for name, _, _ in files_below(str(tmp_path / "a"), "a/", (".png",), others))
    assert found == ["a/1.png", "a/folder.png/2.png"]
    assert others == {"pipe/socket": 2}
    assert [size for _, size, _ in find_files(str(tmp_path), ["a/x.png", "a", "a/1.png"], [], (".png",))] == [-1, -1, 1]


def test_names_in_lists(tmp_path):
    tree(tmp_path, "pics/7.png", "pics/a.b.jpg", "pics/sub/8.PNG", "pics/0007", "9.png", "other/10.tif")
    wanted = {
        "7.png": "7.png", "7": "7.png", "a.b": "a.b.jpg", "sub\\8.PNG": "sub/8.PNG", "sub\\8": "sub/8.PNG",
        "0007": "0007", "9.png": "../9.png", "pics/7": "7.png", "./7": "7.png", "other\\10": "../other/10.tif",
        "7.jpg": "7.jpg", "nothing": "nothing", str(tmp_path / "9"): str(tmp_path / "9.png"),
    }  # fmt: skip
    suffixes = (".png", ".jpg", ".tif")
    found = find_files(str(tmp_path / "pics"), list(wanted), [str(tmp_path)], suffixes)
    assert [os.path.normpath(tmp_path / "pics" / name) for name, _, _ in found] == [
        os.path.normpath(tmp_path / "pics" / name) for name in wanted.values()
    ]
    assert [size for _, size, _ in found] == [-1 if name in ("7.jpg", "nothing") else 1 for name in wanted]
    tree(tmp_path, "pics/7.jpg")
    with pytest.raises(UserError, match=r"7 may be 7\.jpg or 7\.png in .*pics; write it with its ending"):
        find_files(str(tmp_path / "pics"), ["7"], [], suffixes)


def test_folders_of_archives_of_macos_are_hidden(tmp_path, capsys):
    tree(tmp_path, "train/a/1.png", "train/b/1.png", "train/__MACOSX/a/._1.png", "__MACOSX/train/a/._1.png")
    assert list_folder(str(tmp_path)).class_names == ("a", "b")
    assert capsys.readouterr().err == ""


def test_a_class_that_is_a_broken_link_is_named(tmp_path):
    tree(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "c").symlink_to("gone")
    with pytest.raises(UserError, match=r"/c is a link to gone, which does not exist; if it is not a class, remove it"):
        list_folder(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_without_permission_are_named(tmp_path):
    tree(tmp_path, "a/1.png", "b/in/1.png")
    (tmp_path / "b/in").chmod(0)
    with pytest.raises(UserError, match=r"the folder .*/b/in cannot be read \(Permission denied\)"):
        list_folder(str(tmp_path))
    (tmp_path / "b/in").chmod(0o700)
