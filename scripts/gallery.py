"""Draw what every method of `conf/aug` does to one pair of pictures: `scripts/gallery [--data ROOT]`.

ROOT holds train/CLASS/*, such as CIFAR-10 as JPEG files; without it the embedded digits are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir

from mixup_lab.config.assemble import ingredients
from mixup_lab.config.build import build
from mixup_lab.config.schema import RunConfig, parse, register
from mixup_lab.config.words import config_dir
from mixup_lab.disk import write_atomically
from mixup_lab.mixing.mixer import Bound, Mixer, Request, at_step, upload
from mixup_lab.preview.canvas import LINE, Canvas
from mixup_lab.preview.examples import Beginning, label_lines
from mixup_lab.preview.strips import strips
from mixup_lab.seeding import stream
from mixup_lab.targets.target import Target
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch

TILE, GAP = 64, 5  # pixels
NAME = 136  # width of the names
WIDTH = NAME + 5 * (TILE + GAP) + 21
HEIGHT = TILE + LINE + 8
COLUMNS = 2
LAMS = (0.75, 0.5, 0.25)
# For methods whose lam cannot be chosen.
VALUES = {
    "kfold_mixup": (0.6, 1 / 3),
    "noise": (0.1, 0.4, 1.0),
    "resizemix": (0.3, 0.55, 0.8),
    "smoothmix": (0.25, 0.375, 0.5),
}
REMARKS = {
    "cmixup": "partners with\nnear labels",
    "kfold_mixup": "three pictures",
    "label_smoothing": "the label alone\nis changed",
    "manifold_mixup": "else inside\nthe model",
    "mixup_io": "label of the\nlarger share",
    "noise": "nothing is mixed",
    "mixup_cutmix": "one or the other",
    "noise_mix": "and noise",
    "none": "the baseline",
    "regmixup": "and the own\none as it is",
}


def main() -> None:
    """Draw and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", metavar="ROOT", help="a folder with train/CLASS/*; default: the embedded digits")
    parser.add_argument("--seed", type=int, default=5, help="chooses the pictures, masks and places")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "gallery.png")
    arguments = parser.parse_args()
    register()
    data = ["dataset=image_folder", f"dataset.root='{Path(arguments.data).resolve()}'"] if arguments.data else []
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [*data, f"seed={arguments.seed}", "model=small_cnn", "trainer.device=cpu", "trainer.threads=1",
                 "trainer.batch_size=128"]  # fmt: skip
        parts = ingredients(configured(*words))
        png = gallery(parts, {name: mixer_of(parts, name) for name in options()})
    write_atomically(arguments.out, lambda file: file.write(png))
    print(f"{arguments.out}: {len(png) / 1000:.0f} kB")


def configured(*words: str) -> RunConfig:
    """The configuration that `mixup-lab train WORDS` composes."""
    return parse(compose("train", overrides=list(words)))


def options() -> list[str]:
    """The methods, the baseline and Mixup first."""
    names = sorted(path.stem for path in (config_dir() / "aug").glob("*.yaml"))
    return sorted(names, key=lambda name: (name != "none", name != "mixup"))


def mixer_of(parts: Ingredients, name: str) -> Mixer:
    """A method, set up as in a run."""
    mixer: Mixer = build("aug", configured(f"aug={name}").aug)
    mixer.bind(Bound(parts.model, parts.task.loss, parts.data.input_shape, parts.task.labels))
    return mixer


def gallery(parts: Ingredients, mixers: dict[str, Mixer]) -> bytes:
    """Rows of a picture, its partner and three mixtures."""
    beginning = Beginning(parts)
    _, batch = beginning.batch(*beginning.steps[0])
    rows = {int(k): i for i, k in reversed(list(enumerate(batch.target)))}  # the first of each class
    chosen = torch.tensor(sorted(rows.values())[:3])
    three = Batch(batch.inputs[chosen], batch.target[chosen])
    canvas = Canvas(COLUMNS * WIDTH)
    deep = -(-len(mixers) // COLUMNS)
    canvas.down(deep * HEIGHT + 34)
    for column in range(COLUMNS):
        for k, title in enumerate(("own", "partner", "mixed, and the own share")):
            canvas.text(column * WIDTH + NAME + k * (TILE + GAP), 8, title, weight="bold")
    for number, (name, mixer) in enumerate(mixers.items()):
        x, y = number // deep * WIDTH + NAME, number % deep * HEIGHT + 30
        remark = REMARKS.get(name, "")
        top = y + (TILE - LINE * (1 + len(remark.splitlines()))) / 2
        canvas.text(x - 8, top, name, ha="right", weight="bold", size=9)
        canvas.text(x - 8, top + LINE, remark, ha="right", size=8)
        tiles = row(beginning, name, mixer, three)
        for tile, caption in tiles:
            if tile is not None:
                canvas.picture(x, y, tile)
                canvas.text(x + TILE / 2, y + TILE + 2, caption, ha="center", size=8)
            x += TILE + GAP
        if len(tiles) == 1:  # the method has nothing to show but its label
            label = "\n".join(label_of(mixer, three, parts.data.kind))
            canvas.text(x + 4, y + TILE / 2 - LINE, label, size=9)
    return canvas.png()


Tile = tuple[np.ndarray | None, str]


def row(beginning: Beginning, name: str, mixer: Mixer, three: Batch) -> list[Tile]:
    """The pictures that go in, and mixtures of them, each with a caption."""
    count = {"none": 1, "label_smoothing": 1, "noise": 1, "kfold_mixup": 3}.get(name, 2)
    batch = Batch(three.inputs[:count], three.target[:count])
    encode = beginning.parts.data.encode
    tiles: list[Tile] = [(tile, "") for tile in encode.draw(batch.inputs, TILE)]
    drawn = strips(mixer, batch, beginning.parts.seed, VALUES.get(name, LAMS))
    if not drawn:
        return tiles
    if name == "noise":
        tiles.append((None, ""))
    for k in range(5 - len(tiles)):
        strip = drawn[k % len(drawn)]
        (tile,) = encode.draw(strip.inputs[k : k + 1], TILE)
        tiles.append((tile, f"sigma {strip.values[k]:g}" if name == "noise" else f"{strip.lam[k]:.2f}"))
    return tiles


def label_of(mixer: Mixer, batch: Batch, kind: Target) -> tuple[str, ...]:
    """The label of the first picture after mixing."""
    size = len(batch.target)
    request = Request(1, size, shape=tuple(batch.inputs.shape[1:]))
    draw = at_step(upload(mixer.draw(stream(0, "preview"), request), batch.target.device), 0)
    return label_lines(mixer.apply(batch, draw), 0, batch.target[:1].unbind(), kind)


if __name__ == "__main__":
    main()
