"""The sweeper's entry for Hydra, which imports this file at every start."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class ProductSweeper(BasicSweeper):
    """Hydra's own sweeper, which would compose every run of a sweep before the first one begins.

    This one composes one run of those that differ in their seed alone: they are right or wrong together. Its keys are
    in `mixup_lab.config.schema`, since every composition names it.

    Args:
        composed: whether the caller has composed the runs already.
        settings: those of Hydra's sweeper.
    """

    def __init__(self, composed: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self._composed = composed

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose runs, so that a mistake is found before any of them begins.

        Raises:
            HydraException: for a run that cannot be composed.
        """
        if not self._composed:
            first = {tuple(word for word in words if not word.startswith("seed=")): words for words in reversed(batch)}
            super().validate_batch_is_legal(list(reversed(first.values())))
