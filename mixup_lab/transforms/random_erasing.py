"""Random erasing, with the keys of `Augment`."""

from dataclasses import dataclass

from mixup_lab.transforms.augment import Augment


@dataclass(kw_only=True)
class RandomErasing(Augment):
    """A random rectangle of some pictures is erased (Zhong et al., 2020); see `BlankRectangle`."""

    erasing: float = 0.5
