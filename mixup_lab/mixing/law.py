"""The law of lam, the share of the sample's own input and label."""

import math
from dataclasses import dataclass

import numpy as np

LAWS = ("beta", "uniform", "fixed")


@dataclass(frozen=True)
class Law:
    """A law on [0, 1]: Beta(alpha, beta), uniform or one fixed value; truncated to [low, high]; folded to [1/2, 1].

    alpha is an argument of every draw, since it may change from step to step; alpha = 0 means lam = 1 for every law.

    Args:
        kind: `beta`, `uniform` or `fixed`.
        beta: second parameter of Beta, > 0; None: the same as alpha, which makes the law symmetric.
        value: of the fixed law, between low and high.
        low: with `high` the interval, 0 <= low < high <= 1, to which Beta and the uniform law are truncated.
        high: see `low`.
        fold: use max(lam, 1 - lam), so that the own label never has the smaller share.

    Raises:
        ValueError: if an argument is outside its range.
    """

    kind: str = "beta"
    beta: float | None = None
    value: float = 0.5
    low: float = 0.0
    high: float = 1.0
    fold: bool = False

    def __post_init__(self) -> None:
        if self.kind not in LAWS:
            raise ValueError(f"law must be one of {', '.join(LAWS)}, got {self.kind}")
        if self.beta is not None and not (math.isfinite(self.beta) and self.beta > 0):
            raise ValueError(f"beta must be null (the same as alpha) or a finite number > 0, got {self.beta}")
        if self.beta is not None and self.kind != "beta":
            raise ValueError(f"beta={self.beta} belongs to law=beta, not to law={self.kind}")
        if not 0 <= self.value <= 1:
            raise ValueError(f"lam must be in [0, 1], got {self.value}")
        if not 0 <= self.low < self.high <= 1:
            raise ValueError(f"lam_min and lam_max must be 0 <= lam_min < lam_max <= 1, got {self.low} and {self.high}")
        if self.kind == "fixed" and not self.low <= self.value <= self.high:
            raise ValueError(f"lam={self.value} is outside lam_min={self.low} .. lam_max={self.high}")

    def draw(self, rng: np.random.Generator, alpha: np.ndarray, per_step: int) -> np.ndarray:
        """lam as float32 (steps, per_step) for alpha (steps,), each >= 0.

        Raises:
            ValueError: if Beta has no mass in the interval to which it is truncated.
        """
        off = alpha == 0
        column = np.where(off, 1.0, alpha)[:, None]
        shape = (len(alpha), per_step)
        if self.kind == "fixed":
            lam = np.full(shape, self.value)
        elif self.kind == "uniform":
            lam = rng.uniform(self.low, self.high, shape)
        elif (self.low, self.high) == (0.0, 1.0):
            a = column[0, 0] if len(column) == 1 else column  # numpy is faster with a number than with an array
            lam = rng.beta(a, self._beta(a), shape)
        else:
            lam = self._truncated(rng, column, shape)
        if self.fold:
            lam = np.maximum(lam, 1 - lam)
        lam[off] = 1.0
        return lam.astype(np.float32)

    def cdf(self, x: np.ndarray, alpha: float) -> np.ndarray:
        """P(lam <= x), for x of any shape and alpha > 0."""
        x = np.asarray(x, dtype=float)
        if self.fold:  # without P(lam < 1 - x); only the fixed law has mass at a point
            below = self._unfolded(np.nextafter(1 - x, -1), alpha)
            return np.where(x < 0.5, 0.0, self._unfolded(x, alpha) - below)
        return self._unfolded(x, alpha)

    def _unfolded(self, x: np.ndarray, alpha: float) -> np.ndarray:
        if self.kind == "fixed":
            return np.where(x >= self.value, 1.0, 0.0)
        inside = np.clip(x, self.low, self.high)
        if self.kind == "uniform":
            return np.asarray((inside - self.low) / (self.high - self.low))
        from scipy import special

        a, b, low, high, mirrored = self._lower_tail(np.asarray(alpha, dtype=float))
        first, last = special.betainc(a, b, low), special.betainc(a, b, high)
        if mirrored:
            return np.asarray((last - special.betainc(a, b, 1 - inside)) / (last - first))
        return np.asarray((special.betainc(a, b, inside) - first) / (last - first))

    def _truncated(self, rng: np.random.Generator, alpha: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Draw by inverting the distribution function over the interval that is kept."""
        from scipy import special  # late: most runs do not need it, and it takes a while to load

        a, b, low, high, mirrored = self._lower_tail(alpha)
        first, last = special.betainc(a, b, low), special.betainc(a, b, high)
        empty = np.broadcast_to(~(first < last), alpha.shape)
        if empty.any():
            least, other = float(alpha[empty][0]), float(self._beta(alpha)[empty][0])
            raise ValueError(
                f"Beta({least:g}, {other:g}) has no mass between lam_min={self.low} and lam_max={self.high}"
            )
        lam = np.clip(special.betaincinv(a, b, rng.uniform(first, last, shape)), low, high)
        return np.asarray(np.where(mirrored, 1 - lam, lam))

    def _lower_tail(self, alpha: np.ndarray) -> tuple[np.ndarray, ...]:
        """Parameters of Beta, the interval, and whether both are mirrored to describe 1 - lam.

        They are if the interval is above the mean: the distribution function is more precise close to 0 than to 1.
        """
        beta = self._beta(alpha)
        mirrored = self.low >= alpha / (alpha + beta)
        a, b = np.where(mirrored, beta, alpha), np.where(mirrored, alpha, beta)
        low, high = np.where(mirrored, 1 - self.high, self.low), np.where(mirrored, 1 - self.low, self.high)
        return a, b, low, high, mirrored

    def _beta(self, alpha: np.ndarray) -> np.ndarray:
        return alpha if self.beta is None else np.full_like(alpha, self.beta)


def mean_minor_share(alpha: float) -> float:
    """E[min(lam, 1 - lam)] for lam ~ Beta(alpha, alpha), alpha > 0: the mean share of the smaller label in Mixup.

    Equals twice the mean of lam over lam < 1/2, which is I_{1/2}(alpha + 1, alpha) by the incomplete Beta function.
    """
    from scipy import special

    return float(special.betainc(alpha + 1, alpha, 0.5))
