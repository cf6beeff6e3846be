"""The contract of a lens."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mixup_lab.evaluation.finished import Finished
from mixup_lab.runs.findings import Line, Score, Surface


class Unsuited(Exception):
    """A run that a lens cannot look at: why, in one sentence. The others go on."""


@dataclass
class Found:
    """What a lens finds in one run; see `mixup_lab.runs.findings.Finding`."""

    scores: dict[str, Score]
    lines: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    examples: dict[str, np.ndarray] = field(default_factory=dict)
    surface: Surface | None = None


class Lens(ABC):
    """One option of the group `lens`: a dataclass whose fields are its settings.

    A constructor with a parameter `load_data` gets a function from the words of another data set, such as
    `["svhn", "root=DIR"]`, to its `Loaded`. Attributes that begin with an underscore are not settings.

    Chance comes from `run.stream(purpose)` alone, so that a look can be repeated.
    """

    title: ClassVar[str]  # of its section in the report
    about: ClassVar[str]  # what it looks at and how to read the numbers, in some sentences of plain English
    needs_weights: ClassVar[bool] = False  # whether the model is needed, not its predictions alone

    def prepare(self) -> None:  # noqa: B027
        """Do what all runs need before the first one is looked at, and refuse settings that suit no run.

        Default: nothing.

        Raises:
            UserError: for such settings; the command ends.
        """

    def companions(self, run: Finished, others: Sequence[Finished]) -> Sequence[Finished]:
        """Those of the other runs that the finding in this run depends on: with others the lens looks again.

        Default: none.
        """
        return ()

    @abstractmethod
    def measure(self, run: Finished, others: Sequence[Finished]) -> Found:
        """Look at one run, and measure.

        Args:
            run: finished.
            others: the other finished runs of the line, for lenses that compare or combine runs.

        Raises:
            Unsuited: if the lens does not suit this run, such as a kind of target that it does not know.
        """
