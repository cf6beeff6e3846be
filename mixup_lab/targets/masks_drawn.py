"""Masks drawn over tiles: a tint for each class, dark stripes where a pixel is void."""

from __future__ import annotations

import numpy as np

# Okabe and Ito (2008), then Tol's muted scheme (2021): neighbours differ for colour-blind eyes too. What comes after
# these are the same colours, darker.
COLOURS = (
    "56b4e9", "d55e00", "009e73", "f0e442", "0072b2", "cc79a7", "e69f00", "332288", "882255", "999933", "44aa99",
    "ddcc77", "cc6677", "117733", "aa4499", "88ccee",
)  # fmt: skip
UNTINTED = "background"  # a class of this name is left as it is
OPACITY = 0.55
DARK, STRIPE = 40, 4  # grey level of void, and width of its stripes in pixels of the tile


def colours(count: int) -> np.ndarray:
    """Of this many classes, uint8 (count, 3)."""
    base = np.array([list(bytes.fromhex(code)) for code in COLOURS], dtype=float)
    number = np.arange(count)
    return np.asarray((base[number % len(base)] * 0.6 ** (number // len(base))[:, None]).round().astype(np.uint8))


def draw_masks(tiles: np.ndarray, masks: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """The tiles tinted by their masks.

    Args:
        tiles: uint8 (n, height, width, 3).
        masks: uint8 (n, H, W) of class indices, 255 for void; or soft, floating point (n, C, H, W).
        names: of the classes.
    """
    return _over(tiles, *_tint(masks, names, *tiles.shape[1:3]))


def draw_mixed_masks(
    tiles: np.ndarray, own: np.ndarray, partner: np.ndarray, lam: np.ndarray, names: tuple[str, ...]
) -> np.ndarray:
    """The tiles tinted by two masks, each as strongly as its share: lam (n,), or (n, H, W) for each pixel."""
    high, wide = tiles.shape[1:3]
    share = lam[:, None, None, None] if lam.ndim == 1 else _sized(lam, high, wide)[..., None]
    both = zip(_tint(own, names, high, wide), _tint(partner, names, high, wide), strict=True)
    colour, opacity = (share * one + (1 - share) * other for one, other in both)
    return _over(tiles, colour, opacity)


def _over(tiles: np.ndarray, colour: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return np.asarray((tiles * (1 - opacity) + colour).round().astype(np.uint8))


def _tint(masks: np.ndarray, names: tuple[str, ...], high: int, wide: int) -> tuple[np.ndarray, np.ndarray]:
    """Colours times opacities (n, high, wide, 3), and opacities (n, high, wide, 1)."""
    opaque = np.array([0.0 if name == UNTINTED else OPACITY for name in names])
    shown = _sized(masks, high, wide)
    soft = shown if np.issubdtype(shown.dtype, np.floating) else shown[:, None] == np.arange(len(names))[:, None, None]
    weights = np.moveaxis(soft * opaque[:, None, None], 1, -1)  # (n, high, wide, C)
    row, column = np.arange(high)[:, None], np.arange(wide)
    striped = np.where((row + column) // STRIPE % 2, 0.85, 0.45)
    void = ((1 - soft.sum(1)).clip(0, 1) * striped)[..., None]
    return weights @ colours(len(names)).astype(float) + void * DARK, weights.sum(-1, keepdims=True) + void


def _sized(values: np.ndarray, high: int, wide: int) -> np.ndarray:
    """(..., H, W) to (..., high, wide): at each pixel of the tile the nearest value."""
    height, width = values.shape[-2:]
    row, column = (((np.arange(new) + 0.5) * old / new).astype(int) for old, new in ((height, high), (width, wide)))
    return np.asarray(values[..., row[:, None], column])
