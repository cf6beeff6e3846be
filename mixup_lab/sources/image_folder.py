"""Pictures in folders, one for each class: `ROOT/train/CLASS/*`, and `val` and `test`, or `ROOT/CLASS/*`."""

from dataclasses import dataclass

from mixup_lab.data.source import Loaded
from mixup_lab.files.folders import list_folder
from mixup_lab.sources.file_source import PictureSource
from mixup_lab.targets.classes import Classes


@dataclass
class ImageFolder(PictureSource):
    """Any folder of pictures; for the keys see `PictureSource`.

    `root` holds `train/CLASS/*`, and perhaps `val` and `test` with the same classes; or `CLASS/*`, which is one pool.
    Sub-folders of a class belong to it.

    Raises:
        UserError: for values outside their range, and for folders with another layout.
    """

    ROOT = "DIR to a folder with train/CLASS/ or CLASS/ in it"

    def load(self) -> Loaded:
        """List the files and read their sizes; the pixels follow later."""
        listing = list_folder(self.root)
        problems = self.problems()
        opened = self.open(listing.names, listing.digest, problems, self.header)
        dropped = problems.report(f"of {sum(map(len, listing.names.values()))} pictures in {self.root}")
        listing = listing.keeping(opened.keep, self.root)
        pools = {split: opened.pool(split, listing.names[split], target) for split, target in listing.target.items()}
        kind, keep = Classes(listing.class_names), pools["train"].keep
        return Loaded.of(pools, kind, dropped=dropped, group_pattern=True, keep=keep, new=opened.new)
