"""Semantic segmentation: a class for each pixel; cross-entropy per pixel, mean IoU from confusion matrices.

B: examples in the batch, C: classes, H x W: pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mixup_lab.types import VOID, UserError


class Segmentation:
    """Targets are masks uint8 (B, H, W) of class indices, 255 for void; outputs are logits (B, C, H, W).

    What mixing means here. Mixup mixes the pictures linearly, and every pixel is asked for the labels that both masks
    have at its place: `lam * L(output, own) + (1 - lam) * L(output, partner)`. As cross-entropy is linear in the label
    this equals, at each pixel, the cross-entropy with the soft label `lam * own + (1 - lam) * partner`. CutMix, FMix
    and their like decide pixel by pixel: lam is (B, H, W), and a pixel is asked for the label of the picture that it
    comes from. (ResizeMix shrinks what it pastes; its labels are those of the partner at the same place, so that its
    masks are not exact.) A void pixel has the loss 0: where one of two masks is void, the other one's share alone is
    left. The mean is over all pixels, void ones included, so that it is linear in the label too.

    Args:
        num_classes: C, in 2..255.
        label_smoothing: in [0, 1), as in `Classification`, for each pixel.
        class_weights: w (C,), >= 0: in training a pixel of class c counts w[c] times.
    """

    primary = "miou"
    maximize = True

    def __init__(self, num_classes: int, label_smoothing: float = 0.0, class_weights: Tensor | None = None) -> None:
        if not 2 <= num_classes <= VOID:
            raise ValueError(f"num_classes must be in 2..{VOID}, got {num_classes}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
        if class_weights is not None and class_weights.shape != (num_classes,):
            raise ValueError(f"class_weights must be {num_classes} numbers, got the shape {tuple(class_weights.shape)}")
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    @property
    def num_outputs(self) -> int:
        """How many channels the map of a model needs."""
        return self.num_classes

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The training loss of each pixel: (B, C, H, W), (B, H, W) or soft (B, C, H, W) -> (B, H, W); 0 for void.

        Raises:
            UserError: if the model gives no map of the masks' size.
        """
        return self.normalized_loss(self.normalize(output), target)

    def normalize(self, output: Tensor) -> Tensor:
        """Log-probabilities, which the losses of both labels are of: half of the work that a loss of so many takes."""
        return F.log_softmax(output, 1)

    def normalized_loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """`loss` from log-probabilities (B, C, H, W)."""
        self._check_map(scores, target)
        eps, classes = self.label_smoothing, self.num_classes
        if target.is_floating_point():  # its sum is the share of the pixel that is not void
            smooth = target * (1 - eps) + target.sum(1, keepdim=True) * (eps / classes) if eps else target
            return -(self._weighed(scores) * smooth).sum(1)
        losses = F.nll_loss(scores, target.long(), self.class_weights, ignore_index=VOID, reduction="none")
        if not eps:
            return losses
        even = -self._weighed(scores).sum(1) * (target != VOID)
        return losses * (1 - eps) + even * (eps / classes)

    def _weighed(self, scores: Tensor) -> Tensor:
        return scores if self.class_weights is None else scores * self.class_weights[:, None, None]

    def _check_map(self, output: Tensor, target: Tensor) -> None:
        wanted = (len(target), self.num_classes, *target.shape[-2:])
        if output.shape != wanted:
            raise UserError(
                f"masks need a model that gives a map {wanted}, this one gives {tuple(output.shape)};"
                " choose model=unet or model=torchvision_segmentation"
            )

    def train_sums(self, output: Tensor, target: Tensor, partner: Tensor, lam: Tensor) -> dict[str, Tensor]:
        """`accuracy_mixed`: over the pixels, the share of the label that the prediction hits; and `label_share`.

        The latter is how many pixels are not void, each by its share. `lam` is (B,) or (B, H, W).
        """
        lam = lam if lam.dim() == 3 else lam[:, None, None]
        prediction = predicted(output)
        if target.is_floating_point():
            between = partner.lerp(target, lam.unsqueeze(1))
            return {
                "accuracy_mixed": between.gather(1, prediction.unsqueeze(1)).sum(),
                "label_share": between.sum(),
            }
        hit = torch.lerp((prediction == partner).float(), (prediction == target).float(), lam)
        real = torch.lerp((partner != VOID).float(), (target != VOID).float(), lam)
        return {"accuracy_mixed": hit.sum(), "label_share": real.sum()}

    def train_scalars(self, sums: dict[str, Tensor]) -> dict[str, float]:
        """`train/accuracy_mixed`, over all pixels that are not void."""
        return {"train/accuracy_mixed": float(sums["accuracy_mixed"]) / max(float(sums["label_share"]), 1.0)}

    def observe(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """No logits: `confusion` (B, C, C) int64, pixels by true and predicted class without void; `loss_sum` (B,).

        The sum of a confusion matrix is the number of pixels that `loss_sum` is of.
        """
        self._check_map(output, target)
        wide = target.long()
        losses = F.cross_entropy(output, wide, ignore_index=VOID, reduction="none")
        batch, classes = len(target), self.num_classes
        first = torch.arange(batch, device=target.device).view(-1, 1, 1) * (classes + 1)
        row = first + wide.clamp_max(classes)  # void has a row of its own, which is left out
        cells = (row * classes + predicted(output)).flatten()
        counts = torch.bincount(cells, minlength=batch * (classes + 1) * classes)
        confusion = counts.view(batch, classes + 1, classes)[:, :classes].contiguous()
        return {"confusion": confusion, "loss_sum": losses.flatten(1).sum(1)}

    def as_target(self, output: Tensor) -> Tensor:
        """The predicted mask, uint8 (B, H, W)."""
        return predicted(output).byte()

    def mistakes(self, kept: dict[str, Tensor], names: Sequence[str], count: int) -> list[tuple[int, str]]:
        """Those with the largest share of wrong pixels, with the most frequent mistake in two lines."""
        wrong = kept["confusion"].cpu().double()
        pixels = wrong.sum((1, 2)).clamp_min(1)
        wrong.diagonal(dim1=1, dim2=2).zero_()
        share = wrong.sum((1, 2)) / pixels
        order = [i for i in share.argsort(descending=True, stable=True)[:count].tolist() if share[i] > 0]
        found = []
        for i in order:
            true, said = divmod(int(wrong[i].argmax()), self.num_classes)
            found.append((i, f"{names[said]}\nfor {names[true]}, {share[i]:.0%} off"))
        return found

    def metrics(self, kept: dict[str, Tensor]) -> dict[str, float]:
        """`loss` (negative log-likelihood of a pixel), `miou`, `pixel_accuracy` and `dice`, without smoothing, weights.

        Intersections and unions are of the whole split, not means over pictures. `miou` and `dice` are means over the
        classes that occur, in a mask or in a prediction.
        """
        confusion = kept["confusion"].cpu().sum(0).double()
        pixels = confusion.sum()
        both, either = confusion.diag(), confusion.sum(0) + confusion.sum(1)
        occurs = either > 0
        return {
            "loss": float(kept["loss_sum"].cpu().double().sum() / pixels),
            "miou": float((both / (either - both))[occurs].mean()),
            "pixel_accuracy": float(both.sum() / pixels),
            "dice": float((2 * both / either)[occurs].mean()),
        }


def predicted(output: Tensor) -> Tensor:
    """The most likely class of each pixel, (B, C, H, W) -> (B, H, W). On a CPU argmax would take up to four times."""
    return output.max(1).indices
