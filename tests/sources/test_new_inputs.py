"""New rows and texts for a trained model: what differs from training is read right, or named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixup_lab.data.source import New
from mixup_lab.sources.new_rows import Form, NewRows
from mixup_lab.sources.new_texts import new_texts
from mixup_lab.types import UserError


def rows(path: Path, content: str, *forms: Form) -> list[Any]:
    path.write_text(content)
    pool: Any = NewRows(forms)([path]).pool
    return pool.inputs.tolist()


def test_categories_that_training_did_not_have_are_named(tmp_path: Path, capsys: Any) -> None:
    forms = Form("a"), Form("b", ["red", "blue"])
    content = "a,b\n1,red\n2,Red\n3,\n4,green\n"
    assert np.isnan([b for _, b in rows(tmp_path / "n.csv", content, *forms)]).tolist() == [False, True, True, True]
    assert (
        f"{tmp_path}/n.csv, line 3: column b holds 'Red', which training did not have; such categories count as missing"
        " (rows: 2 of 4)"
    ) in " ".join(capsys.readouterr().err.split())
    rows(tmp_path / "n.csv", "a,b\n1,red\n2,blue\n3,\n", *forms)
    assert "did not have" not in capsys.readouterr().err


def test_a_model_of_one_column_reads_a_file_of_one_column(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    assert rows(path, "zip\n01001\n01002\n", Form("zip", ["01002", "01001"])) == [[1], [0]]
    assert rows(path, '"town"\nNew York\nBad Aibling\n', Form("town", ["Bad Aibling", "New York"])) == [[1], [0]]
    assert rows(path, "zip,y\n5,1\n6,1\n", Form("zip")) == [[5], [6]]
    with pytest.raises(UserError, match="line 3: 0 values instead of 1"):
        rows(path, "zip\n5\n\n7\n", Form("zip"))
    with pytest.raises(UserError, match="only one column"):
        rows(path, "zip\n5\n", Form("zip"), Form("b"))


def read_texts(*paths: Path) -> tuple[New, list[str]]:
    seen: list[str] = []

    def encode(texts: Any) -> tuple[np.ndarray, np.ndarray]:
        seen.extend(texts)
        return np.zeros((len(seen), 1), np.int32), np.ones(len(seen), np.int64)

    return new_texts(paths, "text", "auto", True, "auto", encode), seen


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_in_a_file(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "n.txt").write_bytes("Größe, text\nund mehr".encode(encoding))
    new, texts = read_texts(tmp_path / "n.txt")
    assert ([Path(name).name for name in new.names], texts) == (["n.txt"], ["Größe, text\nund mehr"])


def test_a_table_may_be_called_txt(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("label\ttext\np\tone\nq\ttwo\n")
    assert read_texts(tmp_path / "n.txt")[1] == ["one", "two"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("one\ncafé".encode("latin-1"), r"n\.txt, line 2: byte 0xe9 is not UTF-8; convert the file"),
        (b"\x00\x01\x02", r"n\.txt is not a text: it has a byte of value 0"),
        (b" \n", r"n\.txt is empty"),
    ],
)
def test_files_that_are_not_texts(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "n.txt").write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_texts(tmp_path / "n.txt")
