"""The use of each column of a table: an input, a target, or the split, group or time of its row."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mixup_lab.files.columns import NUMBER, TEXT, TIME, Column
from mixup_lab.files.index_columns import useless_columns
from mixup_lab.files.keys import few, matching
from mixup_lab.files.table import TableFile
from mixup_lab.notices import say
from mixup_lab.pasting import word
from mixup_lab.types import UserError

KINDS = {"auto": None, "classification": TEXT, "regression": NUMBER, "multilabel": NUMBER}  # of targets, by task


@dataclass(frozen=True)
class Uses:
    """The user's columns by their use. `special` maps `split`, `group` and `time` to theirs, if they have one.

    Raises:
        UserError: for a column that is named twice.
    """

    targets: tuple[str, ...]
    categorical: tuple[str, ...]
    drop: tuple[str, ...]
    special: dict[str, str]

    def __post_init__(self) -> None:
        keys: dict[str, str] = {}
        for key, name in self._named():
            if name in keys:
                places = f"dataset.{key} twice" if keys[name] == key else f"dataset.{keys[name]} and in dataset.{key}"
                raise UserError(f"column {name} is named in {places}; a column has one use")
            keys[name] = key

    @property
    def extras(self) -> tuple[str, ...]:
        """Columns that are read, but are not inputs."""
        return (*self.targets, *self.special.values())

    def among(self, train: TableFile) -> "Uses":
        """The same with the columns of a table in place of names with *; `drop` has the columns of row numbers too.

        Raises:
            UserError: for a name with * that matches none, and for a column without a name that is not an index.
        """
        taken = {name for _, name in self._named()}
        targets, categorical, drop = (
            matching(key, named, train.names, taken)
            for key, named in (("target", self.targets), ("categorical", self.categorical), ("drop", self.drop))
        )
        chosen = replace(self, targets=targets, categorical=categorical, drop=drop)
        useless = useless_columns(train, [name for _, name in chosen._named()])
        for name, reason in useless.items():
            say(f"{train.path}: column {name} ({train.names.index(name) + 1}) is left out: {reason}")
        return replace(chosen, drop=(*drop, *useless))

    def check(self, files: dict[str, TableFile]) -> None:
        """Raise UserError unless the files have all named columns, and the same columns as one another."""
        train = files["train"]
        columns = few(train.names, 12, f", ... ({len(train.names)} in all)")
        if not self.targets:
            raise UserError(f"dataset.target has no value; {train.path} has the columns {columns}")
        for key, name in self._named():
            if name not in train.names:
                raise UserError(f"dataset.{key}={name} is not a column of {train.path}; it has {columns}")
        for file in files.values():
            for one, other in ((train, file), (file, train)):
                for name in one.names:
                    if name not in other.names and name not in self.drop:
                        alone = word("dataset.root", str(train.path))
                        hint = f"; {alone} uses this file alone" if name in self.targets and other is not train else ""
                        raise UserError(f"{other.path} has no column {name}, which {one.path} has{hint}")
        if not [name for name in train.names if name not in self.extras and name not in self.drop]:
            raise UserError(f"{train.path} has no column besides the target that could be an input")

    def columns(
        self, names: Sequence[str], missing: Sequence[str], task: str, decimal: str
    ) -> tuple[list[Column], list[Column]]:
        """Inputs in the order of the file; and the others: targets, then those of `special`."""
        special = {"split": TEXT, "group": TEXT, "time": TIME}
        alone = len(self.targets) == 1
        kind = KINDS[task] if alone or task != "classification" else NUMBER  # one-hot
        others = [Column(name, missing, kind, decimal=decimal, labels=alone) for name in self.targets]
        others += [
            Column(name, missing, special[key], largest=None, decimal=decimal) for key, name in self.special.items()
        ]
        inputs = [
            Column(name, missing, TEXT if name in self.categorical else None, decimal=decimal)
            for name in names
            if name not in self.extras and name not in self.drop
        ]
        return inputs, others

    def _named(self) -> list[tuple[str, str]]:
        named = [("target", name) for name in self.targets] + [("drop", name) for name in self.drop]
        named += [("categorical", name) for name in self.categorical]
        return named + [(f"{key}_column", name) for key, name in self.special.items()]
