"""The sweeper's entry for Hydra, which imports this file at every start."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore


@dataclass
class ProductSweeperConf(BasicSweeperConf):
    """The keys of `hydra.sweeper`."""

    _target_: str = "hydra_plugins.mixup_lab_product.product_sweeper.ProductSweeper"
    composed: bool = False  # whether the caller has composed the runs already


class ProductSweeper(BasicSweeper):
    """Hydra's own sweeper, which would compose every run of a sweep before the first one begins.

    This one composes one run of those that differ in their seed alone: they are right or wrong together.
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


ConfigStore.instance().store(group="hydra/sweeper", name="product", node=ProductSweeperConf, provider="mixup_lab")
