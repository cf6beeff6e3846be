"""Text classification, from CSV or TSV files with a column of texts and one of labels."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from mixup_lab.data.source import ArrayPool, Loaded
from mixup_lab.files.group_columns import unused_groups
from mixup_lab.files.keys import check, check_choice
from mixup_lab.files.labelled import TextRows, one_spelling, read_rows
from mixup_lab.files.table import open_table, split_files
from mixup_lab.inputs.tokens import Tokens
from mixup_lab.inputs.vocabulary import TOKENIZERS, cut, learn_vocabulary, padded
from mixup_lab.notices import say
from mixup_lab.sources.file_source import FileSource
from mixup_lab.sources.label_columns import ordered
from mixup_lab.sources.new_texts import new_texts
from mixup_lab.targets.classes import Classes
from mixup_lab.types import UserError
from mixup_lab.visible import brief

ENDINGS = (".csv", ".tsv", ".txt")
COVERED = 99  # percent of the training texts that are not cut, if no length is set


@dataclass
class TextTable(FileSource):
    """One file, or a folder with a file for train and, optionally, for val and test.

    The vocabulary and the length of texts are learnt from the training split alone. All tokens that it lacks become one
    unknown token.

    Args:
        root: a file, from which val and test are carved; or a folder.
        text_column: name of the column; its index from 0 if there is no header.
        label_column: likewise. Labels may be any texts; classes are in numerical or alphabetical order. If all are
            numbers, 1 and 1.0 are one class.
        group_column: likewise, of groups that stay in one split, such as the document of a sentence; None: no groups.
        delimiter: one character, or `tab`; `auto`: detected in the first lines. In files with tabs quotation marks are
            plain characters.
        encoding: as Python names it; `auto`: UTF-8, or UTF-16 with a byte order mark.
        header: whether the first line holds the names of the columns.
        train_file: name within the folder; None: train or training with .csv, .tsv or .txt.
        val_file: likewise; None: val, valid, validation or dev, if it exists.
        test_file: likewise; None: test or testing, if it exists.
        class_names: a name for each label, in their order; None: the labels themselves.
        lowercase: whether to turn upper case into lower case.
        tokenizer: `words` (and punctuation marks), `spaces` (parts between spaces) or `bpe` (parts of words).
        vocabulary_size: maximum number of tokens; None: all words, or 8,000 with bpe.
        min_count: tokens that occur less often in train are unknown, >= 1.
        max_length: maximum number of tokens in a text, which is cut off there; None: enough for 99 % of the training
            texts.

    Raises:
        UserError: for values outside their range, and for files with other contents.
    """

    ROOT = "FILE.csv, or a folder with train.csv in it"

    text_column: str | int = "text"
    label_column: str | int = "label"
    delimiter: str | None = "auto"
    _: KW_ONLY
    encoding: str = "auto"
    group_column: str | int | None = None
    header: bool = True
    train_file: str | None = None
    val_file: str | None = None
    test_file: str | None = None
    class_names: Sequence[str] | None = None
    lowercase: bool = True
    tokenizer: str = "words"
    vocabulary_size: int | None = None
    min_count: int = 1
    max_length: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("tokenizer", self.tokenizer, TOKENIZERS)
        for key, least in (("vocabulary_size", 3), ("min_count", 1), ("max_length", 1)):
            number = getattr(self, key)
            check(number is None or number >= least, key, number, f"at least {least}")

    def load(self) -> Loaded:
        """Read the files. Until the vocabulary is learnt, an example is the index of its row."""
        names = {"train": self.train_file, "val": self.val_file, "test": self.test_file}
        files = split_files(self.root, ENDINGS, names)
        tables = {split: self._read(path) for split, path in files.items()}
        column = self._column("label_column")
        train = tables["train"]
        if not self.header and train.columns[column].count(label := train.columns[column][0]) == 1:
            say(
                f"{train.where(0)}: no other row has the label {brief(label)!r}; if this line names the columns, set"
                " dataset.header=true, and their names"
            )
        spelt = one_spelling(text for table in tables.values() for text in table.columns[column])
        for table in tables.values():
            table.columns[column] = [spelt[text] for text in table.columns[column]]
        dropped = sum(table.dropped for table in tables.values())
        labels = self._labels(tables["train"])
        pools = {split: self._pool(table, labels) for split, table in tables.items()}
        used = [name for _, name in self._named() if name is not None]
        notes = () if self.group_column is not None else unused_groups(tables["train"].table, used)
        loaded = Loaded.of(pools, Classes(self._names(labels)), dropped=dropped, notes=notes)
        texts = {split: table.columns[self._column("text_column")] for split, table in tables.items()}
        return replace(loaded, fit=lambda rows: self._fitted(loaded, texts, rows))

    def _read(self, path: Path) -> TextRows:
        table = open_table(path, self.delimiter, self.header, plain_tabs=True, encoding=self.encoding)
        for key, name in self._named():
            if not self.header and name is not None and name not in table.names:
                allowed = f"a number from 0 to {len(table.names) - 1}, since {path} is read without a header"
                check(False, key, getattr(self, key), allowed)
        return read_rows(table, self._named(), self.skip)

    def _named(self) -> list[tuple[str, str | None]]:
        """The keys of columns, and the name of each column as the table has it."""
        keys = ("text_column", "label_column", "group_column")
        return [(key, None if getattr(self, key) is None else self._column(key)) for key in keys]

    def _column(self, key: str) -> str:
        """The name of a column in the table: c0, c1, ... without a header."""
        return str(getattr(self, key)) if self.header else f"c{getattr(self, key)}"

    def _names(self, labels: Sequence[str]) -> tuple[str, ...]:
        names = self.class_names
        right = names is None or len(names) == len(labels)
        check(right, "class_names", names, f"{len(labels)} names, for the labels {', '.join(labels)}")
        return tuple(map(str, labels if names is None else names))

    def _labels(self, train: TextRows) -> list[str]:
        """The distinct labels of train, in order."""
        texts = train.columns[self._column("label_column")]
        labels, path = ordered(texts), train.table.path
        column = f"{path}: the column {self.label_column}"
        if len(labels) == 1:
            raise UserError(f"{column} is {labels[0]} in every row; at least 2 classes are needed")
        if len(labels) > max(2, len(texts) // 2):
            raise UserError(
                f"{column} has {len(labels)} different labels in {len(texts)} rows; set dataset.label_column to the"
                " column of the classes"
            )
        return labels

    def _pool(self, table: TextRows, labels: Sequence[str]) -> ArrayPool:
        number = {label: k for k, label in enumerate(labels)}
        texts = table.columns[self._column("label_column")]
        for i, label in enumerate(texts):
            if label not in number:
                raise UserError(f"{table.where(i)}: train has no example whose {self.label_column} is {label}")
        target = np.array([number[label] for label in texts], dtype=np.int64)
        groups = None if self.group_column is None else np.array(table.columns[self._column("group_column")])
        return ArrayPool(np.arange(len(target))[:, None], target, groups=groups)

    def _fitted(self, loaded: Loaded, texts: dict[str, list[str]], rows: np.ndarray) -> Loaded:
        """The same examples as token ids, with vocabulary and length learnt from these rows of train alone."""
        words = {split: [cut(text, self.tokenizer, self.lowercase) for text in part] for split, part in texts.items()}
        chosen = [words["train"][row] for row in rows.tolist()]
        vocabulary = learn_vocabulary(chosen, self.tokenizer, self.vocabulary_size, self.min_count)
        ids = {split: vocabulary.encode(part) for split, part in words.items()}
        lengths = [len(ids["train"][row]) for row in rows.tolist()]
        longest = max(lengths)
        length = longest if self.max_length is None else min(longest, self.max_length)
        if self.max_length is None:
            length = max(1, int(np.percentile(lengths, COVERED, method="higher")))
            if length < longest:
                say(
                    f"texts are cut off after {length} tokens, which {COVERED} % of the training texts do not exceed"
                    f" (the longest has {longest}); dataset.max_length=N sets another length"
                )
        pools: dict[str, ArrayPool] = {}
        for split, pool in (("train", loaded.train), ("val", loaded.val), ("test", loaded.test)):
            if pool is not None:
                tokens, token_counts = padded(ids[split], length)
                pools[split] = ArrayPool(tokens, pool.target, token_counts)

        def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
            return padded(vocabulary.encode(cut(text, self.tokenizer, self.lowercase) for text in texts), length)

        new = partial(
            new_texts, column=self._column("text_column"), delimiter=self.delimiter, header=self.header,
            encoding=self.encoding, encode=encode,
        )  # fmt: skip
        return replace(
            loaded, train=pools["train"], val=pools.get("val"), test=pools.get("test"),
            encoder=Tokens(vocabulary.names, length), fit=None, new=new,
        )  # fmt: skip
