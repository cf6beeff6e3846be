"""Object detection by a dense detector: every point of a grid predicts the box around it, if there is one.

N: examples, n: some of them, B: examples in a batch, C: classes, P: points, M: boxes of an example (padded with
class -1), K: boxes found.
"""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from mixup_lab.targets.average_precision import coco_average_precision, require_pycocotools
from mixup_lab.targets.points import CELLS, Points, assign, centerness, distances, edges, giou, grid
from mixup_lab.targets.target import Moves, Settings, Shown, Target, Task, label_shift
from mixup_lab.types import Labels, UserError

EXTRA = 5  # channels besides the classes: four distances and the centerness
ALPHA, GAMMA = 0.25, 2.0  # of the focal loss (Lin et al., 2017)
SCORE, OVERLAP = 0.05, 0.6  # least score of a box found, and largest IoU with a better one of its class
CANDIDATES, MOST = 500, 100  # boxes of a picture before and after overlapping ones are left out; 100 as in COCO
SURE = 0.5  # the score from which a box is named and drawn among mistakes
GOLDEN = 0.618034  # turn of the hue from one class to the next: neighbours differ, however many there are


@dataclass(frozen=True)
class Boxes(Target):
    """Boxes with a class: float32 (N, M, 5) of class, left, top, right, bottom in pixels; class -1: none.

    `ids` are those of the C classes in files; empty: 1..C.
    """

    ids: tuple[int | str, ...] = field(default=(), compare=False)
    kind, noun = "boxes", "class"
    placed = True
    predictions = "predictions.json"
    models = "dense_detector or torchvision_detection"

    def check(self, where: str, target: np.ndarray) -> None:
        self._require(where, target, np.float32, 3, 5)
        real = target[target[..., 0] >= 0]
        if len(real) and real[:, 0].max() >= len(self.names):
            most = real[:, 0].max()
            raise UserError(f"classes of boxes of {where} must lie in 0..{len(self.names) - 1}, found {most:g}")
        if len(real) and not (real[:, 1:3] < real[:, 3:5]).all():
            raise UserError(f"a box of {where} has no area")
        if where == "train" and not len(real):
            raise UserError("train has no boxes: there is nothing to learn")

    def describe_one(self, target: np.ndarray) -> str:
        return counted(target[target[:, 0] >= 0, 0], self.names)

    def move(self, target: Tensor, transform: Moves, draw: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
        return transform.move_boxes(target, draw, shape)

    def draw(self, tiles: np.ndarray, targets: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Outlines, a colour for each class; `targets` (n, M, 5 or more)."""
        high, wide = tiles.shape[1:3]
        scale = np.array([wide / shape[2], high / shape[1]] * 2)
        drawn = []
        for tile, rows in zip(tiles, targets, strict=True):
            image = Image.fromarray(np.ascontiguousarray(tile))
            pen = ImageDraw.Draw(image)
            for number, *corners in rows[rows[:, 0] >= 0, :5].tolist():
                left, top, right, bottom = np.clip(np.round(corners * scale), 0, [wide, high, wide, high]).tolist()
                pen.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour(int(number)))
            drawn.append(np.asarray(image))
        return np.stack(drawn) if drawn else tiles

    def draw_mixed(
        self, tiles: np.ndarray, own: np.ndarray, partner: np.ndarray, lam: np.ndarray, shape: tuple[int, ...]
    ) -> np.ndarray:
        """The boxes of the partner, then the own ones over them, each if their share is not 0."""
        tiles = tiles.copy()
        for boxes, shown in ((partner, lam < 1), (own, lam > 0)):
            tiles[shown] = self.draw(tiles[shown], boxes[shown], shape)
        return tiles

    def legend(self) -> list[tuple[str, np.ndarray]]:
        return [(name, np.array(colour(number), dtype=np.uint8)) for number, name in enumerate(self.names)]

    def documents(self, chances: np.ndarray, shown: Sequence[Shown]) -> Iterator[tuple[str, bytes]]:
        """One file of COCO instances with scores, from boxes found (n, 100, 6), see `Detection.decode`."""
        ids = self.ids or tuple(range(1, len(self.names) + 1))
        images: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        for number, (found, (name, view)) in enumerate(zip(chances, shown, strict=True), 1):
            width, height = view.size
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            corner, step = np.tile(view.corner, 2), np.tile(view.step, 2)
            for kind, score, *corners in found[found[:, 0] >= 0].tolist():
                left, top, right, bottom = corner + np.array(corners) * step
                box = [round(float(edge), 3) for edge in (left, top, right - left, bottom - top)]
                if min(box[2:]) > 0:  # one without an area cannot be read again
                    about = {"id": len(boxes) + 1, "image_id": number, "category_id": ids[int(kind)], "bbox": box}
                    boxes.append({**about, "area": box[2] * box[3], "iscrowd": 0, "score": score})
        categories = [{"id": key, "name": name} for key, name in zip(ids, self.names, strict=True)]
        content = {"images": images, "annotations": boxes, "categories": categories}
        yield "", json.dumps(content, ensure_ascii=False).encode()

    def task(self, target: np.ndarray, device: torch.device, **settings: Unpack[Settings]) -> Detection:
        self._refuse_class_settings(settings)
        real = torch.from_numpy(target[target[..., 0] >= 0])
        each = torch.bincount(real[:, 0].long(), minlength=len(self.names))
        return Detection(self.names, settings.get("input_shape", ()), len(real) / len(target), each / each.sum())


def colour(number: int) -> tuple[int, int, int]:
    """A bright RGB colour for class `number`, each value in 0..255."""
    red, green, blue = colorsys.hsv_to_rgb(number * GOLDEN % 1, 1.0, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


def counted(classes: np.ndarray, names: Sequence[str]) -> str:
    """`2 cat, 1 dog` from the classes of the boxes (M,) of a picture."""
    counts = np.bincount(classes.astype(np.int64), minlength=len(names)).tolist()
    return ", ".join(f"{n} {name}" for n, name in zip(counts, names, strict=True) if n) or "no box"


def union(own: Tensor, partner: Tensor, lam: Tensor) -> Tensor:
    """The boxes of both pictures in one set, with their share in one more column; a share of 0 leaves a box out.

    Args:
        own: (B, M, 5) floating point of class, left, top, right, bottom; class -1 for none.
        partner: (B, M, 5) likewise.
        lam: (B,), the share of the own boxes.

    Returns:
        (B, 2 * M, 6).

    Raises:
        ValueError: for other targets than boxes.
    """
    if own.dim() != 3 or own.shape[2] != 5 or not own.is_floating_point() or lam.dim() != 1:
        raise ValueError(f"labels=union joins boxes (B, M, 5) of mixed pictures, got {own.dtype} {tuple(own.shape)}")
    parts = []
    for boxes, share in ((own, lam), (partner, 1 - lam)):
        shares = share.to(boxes.dtype)[:, None].expand(boxes.shape[:2])
        kept = torch.where(shares > 0, boxes[..., 0], -1.0)
        parts.append(torch.cat([kept.unsqueeze(2), boxes[..., 1:], shares.unsqueeze(2)], 2))
    return torch.cat(parts, 1)


class Answer(NamedTuple):
    """The output of a model, point by point."""

    logits: Tensor  # (B, P, C)
    distance: Tensor  # (B, P, 4) >= 0, pixels to the left, top, right and bottom edge
    centerness: Tensor  # (B, P) logits
    points: Points


class Detection(Task):
    """Targets are boxes (B, M, 5): class, left, top, right, bottom in pixels, class -1 for none.

    Outputs are maps (B, C + 5, h, w) over the picture: a logit for each class, distances >= 0 to the four edges of the
    box in cells of the map, and a logit of the centerness. Or rows (B, P, C + 8) of points of several maps, with three
    more columns for their place: x, y and the size of a cell in pixels.

    The loss is that of FCOS (Tian et al., 2019): focal loss of every class at every point, and at points with a box
    (see `points.assign`) one minus its GIoU, and cross-entropy of the centerness. It is divided by the mean number of
    boxes in a training picture times 9, the points of a box: the same for every example, so that both terms of a
    mixture share one normaliser, all boxes have the same weight, and a picture without boxes has a loss as well.

    What mixing means here: pictures are mixed as a whole and the boxes of both are kept, as in Zhang et al. (2019, Bag
    of Freebies for Training Object Detection Neural Networks). With `labels=two_term`, the loss of the own boxes has
    the weight lam and that of the partner's boxes 1 - lam. Edges and centerness: the same as one loss of all boxes,
    each with its share, except at points with a box of both pictures, which then learn both boxes. Classes: where one
    picture has a box and the other none, the point learns the class with its share and background with the rest, like
    soft labels. With `labels=union` there is one loss of the joined boxes: a point is background only where neither
    picture has a box, each box is a full target whose terms are weighted by its share, and where two boxes meet the
    smaller one is learnt. This differs, and is how detectors are trained on mixed pictures in practice.

    Args:
        names: of the classes.
        input_shape: (channels, height, width) of the pictures.
        boxes_per_picture: mean over the training pictures, > 0.
        label_shares: (C,) how often each class occurs among the boxes of train, which sum to 1.

    Raises:
        UserError: if pycocotools, which measures average precision, is missing.
    """

    primary = "map"
    maximize = True
    labels = Labels(averaged=False, one_each=False, whole=True, join=union)

    def __init__(
        self,
        names: Sequence[str],
        input_shape: Sequence[int],
        boxes_per_picture: float,
        label_shares: Tensor | None = None,
    ) -> None:
        if not names:
            raise ValueError("there must be at least one class of boxes")
        if len(input_shape) != 3:
            raise ValueError(f"detection needs pictures (C, H, W), got examples of shape {tuple(input_shape)}")
        if not boxes_per_picture > 0:
            raise ValueError(f"boxes_per_picture must be greater than 0, got {boxes_per_picture}")
        require_pycocotools()
        self.names = tuple(names)
        self.num_outputs = len(names) + EXTRA
        self.height, self.width = input_shape[1:]
        self.normaliser = boxes_per_picture * CELLS
        self.label_shares = label_shares

    def accepts(self, output: Tensor) -> bool:
        """Maps (B, C + 5, h, w), or points (B, P, C + 8)."""
        return super().accepts(output) or (output.dim() == 3 and output.shape[2] == self.num_outputs + 3)

    def element_loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """(B, C + 5, h, w) or (B, P, C + 8), and boxes (B, M, 5), or (B, M, 6) with their weights -> (B,)."""
        answer = self._read(scores)
        has_box, box = assign(answer.points, target)
        counts = box[..., 5] if target.shape[2] > 5 else torch.ones_like(box[..., 0])
        is_class = box[..., :1] == torch.arange(len(self.names), device=box.device)
        positive = has_box.unsqueeze(2) & is_class
        classes = _focal(answer.logits, positive) * torch.where(positive, counts.unsqueeze(2), 1.0)
        wanted = torch.where(has_box.unsqueeze(2), distances(answer.points, box), 1.0)  # any value without a box
        off = 1 - giou(answer.distance, wanted)
        middle = F.binary_cross_entropy_with_logits(answer.centerness, centerness(wanted), reduction="none")
        places = torch.where(has_box, counts, 0.0) * (off + middle)
        return (classes.sum((1, 2)) + places.sum(1)) / self.normaliser

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """`label_mass` (C,): how many boxes of each class are in the labels, weighted by their shares."""
        classes = torch.arange(len(self.names), device=target.device)
        mass = output.new_zeros(len(self.names), dtype=torch.float32)
        joined = target.shape[2] > 5  # the union of both, with the shares in it
        for boxes, share in ((target, torch.ones_like(lam)),) if joined else ((target, lam), (partner, 1 - lam)):
            counts = (boxes[..., 5] if joined else torch.ones_like(boxes[..., 0])) * share.unsqueeze(1)
            mass = mass + ((boxes[..., :1] == classes) * counts.unsqueeze(2)).sum((0, 1))
        return {"label_mass": mass}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        return label_shift(sums["label_mass"], self.label_shares)

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """`boxes` (B, 100, 6) found, see `decode`; `target` (B, M, 5); `each_loss` (B,)."""
        return {"boxes": self.decode(output), "target": target, "each_loss": self.loss(output, target)}

    def decode(self, output: Tensor) -> Tensor:
        """The boxes that an output predicts, the highest score first: (B, 100, 6), class -1 for none.

        Each is class, score, left, top, right, bottom. The score is the geometric mean of the probabilities of class
        and centerness. Of boxes of one class with an IoU above 0.6 the one with the highest score stays.
        """
        from torchvision.ops import batched_nms  # imported late: torchvision takes long

        answer = self._read(output)
        sure = (answer.logits.sigmoid() * answer.centerness.sigmoid().unsqueeze(2)).sqrt()  # (B, P, C)
        count = min(CANDIDATES, sure[0].numel())
        scores, place = sure.flatten(1).topk(count, dim=1)
        point, kind = place // len(self.names), place % len(self.names)
        corners = edges(answer.points, answer.distance).gather(1, point.unsqueeze(2).expand(-1, -1, 4))
        # Which boxes stay depends on their values: the host decides it, and the device is waited for once a batch.
        rows = torch.cat([kind.unsqueeze(2).to(scores.dtype), scores.unsqueeze(2), corners], 2).cpu()
        rows[..., 2:] = rows[..., 2:].clamp_min(0).minimum(rows.new_tensor([self.width, self.height] * 2))
        found = rows.new_full((len(rows), MOST, 6), -1.0)
        found[..., 1:] = 0
        for own, best in zip(rows, found, strict=True):
            likely = own[own[:, 1] >= SCORE]
            kept = batched_nms(likely[:, 2:], likely[:, 1], likely[:, 0], OVERLAP)[:MOST]
            best[: len(kept)] = likely[kept]
        return found.to(output.device)

    def chances(self, answer: Tensor) -> Tensor:
        """The boxes found, (B, 100, 6)."""
        return self.decode(answer)

    def as_target(self, output: Tensor) -> Tensor:
        """The boxes that the model is sure of, (B, 100, 5)."""
        boxes = self.decode(output)
        sure = boxes[..., 1] >= SURE
        return torch.cat([torch.where(sure, boxes[..., 0], -1.0).unsqueeze(2), boxes[..., 2:]], 2)

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """Examples of the largest loss, with the number of boxes of each class that the model is sure of."""
        order = kept["each_loss"].argsort(descending=True, stable=True)[:count].tolist()
        boxes = kept["boxes"].cpu().numpy()
        return [(i, counted(boxes[i, boxes[i, :, 1] >= SURE, 0], names)) for i in order]

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """`loss` as in training, `map` and `map50`: average precision, the mean over the classes that occur.

        `map` is COCO's, the mean over overlaps (IoU) of 0.50, 0.55, ..., 0.95; `map50` that at 0.50. In a split without
        any box both are 0.
        """
        found, target = kept["boxes"].cpu().double().numpy(), kept["target"].cpu().double().numpy()
        return {
            "loss": float(kept["each_loss"].double().mean()),
            **coco_average_precision(found, target, len(self.names), MOST),
        }

    def _read(self, output: Tensor) -> Answer:
        count = len(self.names)
        if output.dim() == 4 and output.shape[1] == count + EXTRA:
            points = grid(self.height, self.width, output.shape[2], output.shape[3], output.device)
            rows = output.flatten(2).transpose(1, 2)
        elif output.dim() == 3 and output.shape[2] == count + EXTRA + 3:
            points = Points(*output[0, :, -3:].detach().unbind(1))
            rows = output
        else:
            raise ValueError(
                f"the model gives {tuple(output.shape)}; boxes of {count} classes need maps (B, {count + EXTRA}, h, w)"
                f" or points (B, P, {count + EXTRA + 3}), as of model=dense_detector or model=torchvision_detection"
            )
        distance = rows[..., count : count + 4] * points.size.unsqueeze(1)
        return Answer(rows[..., :count], distance, rows[..., count + 4], points)


def _focal(logits: Tensor, positive: Tensor) -> Tensor:
    """The focal loss of each logit (Lin et al., 2017, eq. 5), as in FCOS."""
    probability = logits.sigmoid()
    missed = torch.where(positive, 1 - probability, probability)
    weight = torch.where(positive, ALPHA, 1 - ALPHA)
    return weight * missed**GAMMA * F.softplus(torch.where(positive, -logits, logits))
