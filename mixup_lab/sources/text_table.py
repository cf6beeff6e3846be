"""Texts to be classified, from CSV or TSV files with a column of texts and one of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.texts import Layout, Table, find_files, read_table
from mixup_lab.inputs.tokens import Tokens
from mixup_lab.inputs.vocabulary import TOKENIZERS, cut, learn_vocabulary, padded
from mixup_lab.notices import say
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError

ON_ERROR = ("raise", "skip")
COVERED = 99  # per cent of the training texts that are not cut, where nobody says how long texts may be
DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ","}


@dataclass(frozen=True)
class Cutting:
    """How texts become tokens."""

    tokenizer: str
    lowercase: bool
    vocabulary_size: int | None
    min_count: int
    max_length: int | None


class TextTable:
    """One file, or a folder with a file for train and, if there are, for val and test.

    The vocabulary and the length of texts are learnt from the training split alone. Tokens that it does not have are
    one and the same unknown token.

    Args:
        root: a file, from which val and test are carved; or a folder.
        text_column: name of the column; its number from 0 where there is no header.
        label_column: likewise. Labels are whatever stands there; classes are in numerical or alphabetical order.
        delimiter: one character, or `tab`; None: a comma in .csv, a tab in .tsv and .txt.
        header: whether the first line holds the names of the columns.
        train_file: name within the folder; None: train.csv, .tsv or .txt.
        val_file: likewise; None: val, valid, validation or dev, if it is there.
        test_file: likewise; None: test, if it is there.
        class_names: a name for each label, in their order; None: the labels themselves.
        lowercase: whether upper-case letters are lower-case ones.
        tokenizer: `words` (and punctuation marks), `spaces` (what stands between spaces) or `bpe` (parts of words).
        vocabulary_size: tokens, at most; None: all words, or 8,000 of bpe.
        min_count: tokens that train has less often are unknown, >= 1.
        max_length: tokens of a text, the rest is cut off; None: what 99 % of the training texts have.
        on_error: `raise` stops at a row without text or label; `skip` leaves it out and says how many there were.

    Raises:
        UserError: for values outside their range, and for files that are not so.
    """

    def __init__(
        self,
        root: str | None = None,
        text_column: str | int = "text",
        label_column: str | int = "label",
        delimiter: str | None = None,
        header: bool = True,
        train_file: str | None = None,
        val_file: str | None = None,
        test_file: str | None = None,
        class_names: Sequence[str] | None = None,
        lowercase: bool = True,
        tokenizer: str = "words",
        vocabulary_size: int | None = None,
        min_count: int = 1,
        max_length: int | None = None,
        on_error: str = "raise",
    ) -> None:
        if root in (None, "", "???"):
            raise UserError("dataset.root has no value; set dataset.root=FILE.csv, or a folder with train.csv in it")
        for key, value, allowed in (("tokenizer", tokenizer, TOKENIZERS), ("on_error", on_error, ON_ERROR)):
            if value not in allowed:
                raise UserError(f"dataset.{key} must be one of {', '.join(allowed)}, got {value}")
        delimiter = DELIMITERS.get(delimiter or "", delimiter)
        if delimiter is not None and len(delimiter) != 1:
            raise UserError(f"dataset.delimiter must be null, tab or one character, got {delimiter!r}")
        for key, number, least in (
            ("vocabulary_size", vocabulary_size, 3), ("min_count", min_count, 1), ("max_length", max_length, 1)
        ):  # fmt: skip
            if number is not None and number < least:
                raise UserError(f"dataset.{key} must be at least {least}, got {number}")
        self.root = str(root)
        self.files = {"train": train_file, "val": val_file, "test": test_file}
        self.layout = Layout(text_column, label_column, delimiter, header)
        self.class_names = class_names
        self.cutting = Cutting(tokenizer, lowercase, vocabulary_size, min_count, max_length)
        self.on_error = on_error

    def load(self) -> Loaded:
        """Read the files. Until the vocabulary is learnt an example is the number of its row."""
        files = find_files(self.root, self.files)
        tables = {split: read_table(path, self.layout, self.on_error == "skip") for split, path in files.items()}
        dropped = sum(table.dropped for table in tables.values())
        if dropped:
            rows = dropped + sum(len(table.texts) for table in tables.values())
            say(f"{dropped} of {rows} rows in {self.root} have no text or no label, left out")
        labels = _labels(tables["train"], self.layout.label_column)
        pools = {split: _rows(table, labels, self.layout.label_column) for split, table in tables.items()}
        loaded = Loaded(
            pools["train"],
            pools.get("val"),
            pools.get("test"),
            Classes(self._names(labels)),
            dropped=dropped,
        )
        return replace(loaded, fit=lambda rows: _fitted(loaded, tables, rows, self.cutting))

    def _names(self, labels: Sequence[str]) -> tuple[str, ...]:
        if self.class_names is None:
            return tuple(labels)
        if len(self.class_names) != len(labels):
            raise UserError(
                f"dataset.class_names must be {len(labels)} names, for the labels {', '.join(labels)}; got"
                f" {len(self.class_names)}"
            )
        return tuple(map(str, self.class_names))


def _labels(train: Table, column: str | int) -> list[str]:
    """The labels of train in their order."""
    labels = sorted(set(train.labels))
    if len(labels) == 1:
        raise UserError(f"{train.path}: the column {column} is {labels[0]} in every row; at least 2 classes are needed")
    if len(labels) > max(2, len(train.labels) // 2):
        raise UserError(
            f"{train.path}: the column {column} has {len(labels)} different labels in {len(train.labels)} rows; set"
            " dataset.label_column to the column of the classes"
        )
    try:
        return sorted(labels, key=float)
    except ValueError:
        return labels


def _rows(table: Table, labels: Sequence[str], column: str | int) -> ArrayPool:
    number = {label: k for k, label in enumerate(labels)}
    for label, line in zip(table.labels, table.lines, strict=True):
        if label not in number:
            raise UserError(f"{table.path}, line {line}: train has no example of the {column} {label}")
    target = np.array([number[label] for label in table.labels], dtype=np.int64)
    return ArrayPool(np.arange(len(target))[:, None], target)


def _fitted(loaded: Loaded, tables: dict[str, Table], rows: np.ndarray, how: Cutting) -> Loaded:
    """The same examples as token ids, with a vocabulary and a length that follow from these rows of train alone."""
    words = {split: [cut(text, how.tokenizer, how.lowercase) for text in t.texts] for split, t in tables.items()}
    chosen = [words["train"][row] for row in rows.tolist()]
    vocabulary = learn_vocabulary(chosen, how.tokenizer, how.vocabulary_size, how.min_count)
    ids = {split: vocabulary.encode(texts) for split, texts in words.items()}
    longest = max(len(ids["train"][row]) for row in rows.tolist())
    length = longest if how.max_length is None else min(longest, how.max_length)
    if how.max_length is None:
        usual = int(np.percentile([len(ids["train"][row]) for row in rows.tolist()], COVERED, method="higher"))
        length = max(1, usual)
        if length < longest:
            say(
                f"texts are cut off after {length} tokens, which {COVERED} % of the training texts do not exceed (the"
                f" longest has {longest}); dataset.max_length=N sets another length"
            )
    pools: dict[str, ArrayPool] = {}
    for split, pool in (("train", loaded.train), ("val", loaded.val), ("test", loaded.test)):
        if pool is not None:
            tokens, lengths = padded(ids[split], length)
            pools[split] = ArrayPool(tokens, pool.target, lengths)
    return replace(
        loaded,
        train=pools["train"],
        val=pools.get("val"),
        test=pools.get("test"),
        encoder=Tokens(vocabulary.names, length),
        fit=None,
    )
