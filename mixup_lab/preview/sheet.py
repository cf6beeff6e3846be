"""The sheet of a preview: examples, the histogram of lam and the strips."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mixup_lab.look import BLUE, GRID, INK, MUTED, VERMILLION, short
from mixup_lab.preview.canvas import CHARACTER, LINE, Canvas, plain
from mixup_lab.preview.examples import Beginning, Example
from mixup_lab.preview.shares import BINS, EDGES, NEARLY, Shares, measure
from mixup_lab.preview.strips import DrawnStrip, strips
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch

LEFT, CONTENT, RIGHT = 116, 1096, 16  # pixels: the names of rows, the pictures, the margin
TILE, GAP = 128, 10  # of the examples
COLUMNS, SWATCH = 8, 11  # names in a line of the legend; side of a colour
SMALL, SMALL_GAP = 96, 4  # of a strip
LABEL_LINES = 3  # of each part of a label, at most
DIAGRAM = 620  # pixels across


@dataclass(frozen=True)
class Title:
    """The heading of a sheet."""

    heading: str
    about: str
    facts: tuple[tuple[str, str], ...]


def draw_sheet(parts: Ingredients, title: Title) -> tuple[bytes, tuple[int, int]]:
    """Draw what a run made of these parts would train on: a PNG, with its width and height. Nothing is trained.

    Raises:
        UserError: for data of a kind that cannot be drawn.
    """
    beginning = Beginning(parts)
    examples = beginning.examples()
    untouched = all(torch.equal(example.mixed, example.own) and not example.layer for example in examples)
    canvas = Canvas(LEFT + CONTENT + RIGHT)
    y = canvas.down(62)
    canvas.text(16, y + 18, title.heading, size=14, weight="bold")
    canvas.text(16, y + 38, short(title.about, 150), color=plain(MUTED))
    _examples(canvas, parts, examples, untouched)
    facts = list(title.facts)
    shares = None
    if not untouched or any(example.lam < 1 for example in examples):
        _, batch = beginning.batch(*beginning.steps[0])
        shares = measure(parts.mixer, batch, parts.seed)
        facts += parts.mixer.facts()
        if shares.layers:
            facts.append(("mixed at", ", ".join(f"{name} {share:.0%}" for name, share in shares.layers.items())))
    _numbers(canvas, shares if shares is not None and np.ptp(shares.lam) > 0 else None, facts)
    for strip in _strips(parts, examples):
        _strip(canvas, parts, strip)
    return canvas.png(), (canvas.width, canvas.height)


def _examples(canvas: Canvas, parts: Ingredients, examples: Sequence[Example], untouched: bool) -> None:
    encode = parts.data.encode
    partners = max(len(example.others) for example in examples)
    rows: list[tuple[str, list[np.ndarray | None]]] = []
    if parts.transform.changes:
        stored = encode(torch.stack([example.stored for example in examples]))
        rows.append(("as stored", list(encode.draw(stored, TILE))))
    own = _with_targets(parts, [example.own for example in examples], [example.targets[0] for example in examples])
    rows.append(("trained on" if untouched else parts.mixer.own_title, list(own)))
    for k in range(partners):
        others = [example.others[k] if k < len(example.others) else None for example in examples]
        pairs = [(o, e.targets[k + 1]) for o, e in zip(others, examples, strict=True) if o is not None]
        drawn = iter(_with_targets(parts, [o for o, _ in pairs], [target for _, target in pairs]))
        name = "partner" if partners == 1 else f"partner {k + 1}"
        rows.append((name, [None if other is None else next(drawn) for other in others]))
    if not untouched:
        mixed = encode.draw(torch.stack([example.mixed for example in examples]), TILE)
        mixed = _with_answers(parts, mixed, [example.answer for example in examples])
        inside = [None if example.layer else tile for example, tile in zip(examples, mixed, strict=True)]
        rows.append((parts.mixer.mixed_title, inside))

    high, wide = own.shape[1:3]
    for number, (name, tiles) in enumerate(rows):
        y = canvas.down(high + 8)
        canvas.text(LEFT - 12, _middle(y, high, name), name, ha="right", weight="bold")
        for k, (tile, example) in enumerate(zip(tiles, examples, strict=True)):
            x = _column(k, TILE + GAP, TILE, wide)
            if tile is not None:
                canvas.picture(x, y, tile)
            elif example.layer and number == len(rows) - 1:
                words = f"mixed inside\nthe model, after\n{short(example.layer, 16)}"
                canvas.text(x + wide / 2, _middle(y, high, words), words, ha="center", color=plain(MUTED))
    labels = [[part for line in example.label for part in _caption(line)] for example in examples]
    y = canvas.down(6 + LINE * max(map(len, labels)))
    canvas.text(LEFT - 12, y, "label", ha="right", weight="bold")
    for k, lines in enumerate(labels):
        canvas.text(_column(k, TILE + GAP, TILE, wide), y, "\n".join(lines))
    _legends(canvas, parts)


def _legends(canvas: Canvas, parts: Ingredients) -> None:
    """The colours of the classes in masks and boxes, eight names to a line, and those of the inputs, two to a line."""
    _legend(canvas, "classes", parts.data.kind.legend(), COLUMNS)
    _legend(canvas, "colours", parts.data.encode.legend(), 2)


def _legend(canvas: Canvas, title: str, entries: Sequence[tuple[str, np.ndarray]], columns: int) -> None:
    if not entries:
        return
    lines, step = -(-len(entries) // columns), COLUMNS // columns * (TILE + GAP)
    y = canvas.down(LINE * lines + 10) + 8
    canvas.text(LEFT - 12, y, title, ha="right", weight="bold")
    for number, (name, colour) in enumerate(entries):
        row, column = divmod(number, columns)
        x, top = LEFT + column * step, y + row * LINE
        canvas.picture(x, top + 2, np.broadcast_to(colour, (SWATCH, SWATCH, 3)))
        canvas.text(x + SWATCH + 6, top, short(name, int((step - GAP - SWATCH) / CHARACTER)))


def _with_targets(parts: Ingredients, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> np.ndarray:
    encode, kind = parts.data.encode, parts.data.kind
    tiles = encode.draw(torch.stack(list(inputs)), TILE)
    return kind.draw(tiles, torch.stack(list(targets)).cpu().numpy(), encode.shape)


def _with_answers(
    parts: Ingredients, tiles: np.ndarray, answers: Sequence[tuple[Tensor, Tensor, Tensor]]
) -> np.ndarray:
    """Tiles of mixed examples with the targets drawn onto them that have a place in the picture."""
    drawn = []
    for tile, answer in zip(tiles, answers, strict=True):
        own, partner, lam = (part[None].cpu().numpy() for part in answer)
        drawn.append(parts.data.kind.draw_mixed(tile[None], own, partner, lam, parts.data.encode.shape))
    return np.concatenate(drawn)


def _column(number: int, step: int, box: int, wide: int) -> int:
    return LEFT + number * step + (box - wide) // 2


def _middle(y: int, high: int, text: str) -> float:
    """The top of a text that is centred in a tile."""
    return y + (high - LINE * (text.count("\n") + 1)) / 2


def _caption(line: str) -> list[str]:
    """`0.70 * a name` on as many lines as the width of a tile needs; a word that is wider is cut in its middle."""
    length = int(TILE / CHARACTER)
    words = " ".join(short(word, length - 2) for word in line.split())
    return textwrap.wrap(words, length, subsequent_indent="  ", max_lines=LABEL_LINES, placeholder=" …")


def _numbers(canvas: Canvas, shares: Shares | None, facts: Sequence[tuple[str, str]]) -> None:
    """The histogram, if there is one, and next to it the facts."""
    lines = [(name, part) for name, value in facts for name, part in _wrapped(name, value, 46 if shares else 110)]
    height = max(LINE * len(lines), 190 if shares else 0)
    y = canvas.down(height + (100 if shares else 46)) + 30
    x = LEFT + DIAGRAM + 60 if shares else LEFT
    for k, (name, value) in enumerate(lines):
        canvas.text(x, y + LINE * k, name, color=plain(MUTED))
        canvas.text(x + 96, y + LINE * k, value)
    if shares is not None:
        canvas.axes(LEFT, y + 12, DIAGRAM, height - 4, lambda ax: _histogram(ax, shares))
        canvas.text(LEFT, y - 18, _summary(shares), weight="bold")


def _wrapped(name: str, value: str, length: int) -> list[tuple[str, str]]:
    lines = textwrap.wrap(value, length) or [""]
    return [(name if k == 0 else "", line) for k, line in enumerate(lines)]


def _summary(shares: Shares) -> str:
    alpha = "" if shares.alpha is None else f"alpha = {shares.alpha:g}, "
    return (
        f"{alpha}E[lam] = {shares.mean:.2f}, nearly unmixed (less than {NEARLY:.0%} of one): "
        f"{shares.nearly_unmixed:.0%} of {len(shares.lam):,} draws"
    )


def _histogram(ax: Axes, shares: Shares) -> None:
    heights = 100 * shares.counts / len(shares.lam)
    ax.bar(EDGES[:-1], heights, 1 / BINS, align="edge", color=BLUE, alpha=0.45, linewidth=0, label="as it was done")
    if shares.law is not None:
        ax.stairs(100 * shares.law, EDGES, color=VERMILLION, linewidth=1.4, label="the law that lam is drawn from")
        ax.legend(loc="upper center", ncols=2, frameon=True, framealpha=1, edgecolor="none", facecolor="white")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.22 * max(heights.max(), 0 if shares.law is None else 100 * shares.law.max()))
    ax.set_xticks(np.arange(11) / 10)
    ax.set_xlabel("lam, the share of the own example and label")
    ax.set_ylabel("share of the draws (%)")
    ax.grid(axis="y", color=plain(GRID))


def _strips(parts: Ingredients, examples: Sequence[Example]) -> list[DrawnStrip]:
    """The strips of the example that is mixed most evenly, if possible with a partner of another label."""
    most = max(len(example.others) for example in examples)
    fit = [example for example in examples if len(example.others) == most]

    def order(example: Example) -> tuple[bool, float]:
        alike = all(torch.equal(target, example.targets[0]) for target in example.targets)
        return alike, abs(example.lam - 0.5)

    chosen = min(fit, key=order)
    inputs = torch.stack([chosen.own, *chosen.others])
    return strips(parts.mixer, Batch(inputs, torch.stack(chosen.targets)), parts.seed)


def _strip(canvas: Canvas, parts: Ingredients, strip: DrawnStrip) -> None:
    tiles = _with_answers(parts, parts.data.encode.draw(strip.inputs, SMALL), strip.answers)
    high, wide = tiles.shape[1:3]
    canvas.text(LEFT, canvas.down(28) + 4, strip.title, weight="bold")
    y = canvas.down(high + 4)
    other = any(abs(done - value) > 0.005 for done, value in zip(strip.lam, strip.values, strict=True))
    both = other and any(done < 1 for done in strip.lam)
    words = canvas.down((2 if both else 1) * LINE + 14)
    names = strip.parameter + ("\nlam done" if both else "")
    canvas.text(LEFT - 12, words + 2, names, ha="right")
    for k, (tile, value, done) in enumerate(zip(tiles, strip.values, strip.lam, strict=True)):
        x = _column(k, SMALL + SMALL_GAP, SMALL, wide)
        canvas.picture(x, y, tile)
        lines = f"{value:.2g}" + (f"\n{done:.2f}" if both else "")
        canvas.text(x + wide / 2, words + 2, lines, ha="center", color=plain(INK))
