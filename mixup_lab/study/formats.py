"""Numbers, settings and names as every view writes them."""

import math
from typing import Any

from mixup_lab.study.results import Interval, Metric, Moments

DASH = "–"
MINUS = "−"
TINY = 1e-4  # a metric below it is written with an exponent


def finite(x: float | None) -> float | None:
    """The number itself; None for None, NaN and infinity."""
    return x if x is not None and math.isfinite(x) else None


def scaled(x: float | None, metric: Metric) -> float:
    """A value as it is drawn: in percent if the metric is; NaN for None."""
    return math.nan if x is None else 100 * x if metric.percent else x


def value(x: float | None, metric: Metric) -> str:
    """A value of the metric: "97.22 %", or four significant digits."""
    x = finite(x)
    if x is None:
        return DASH
    return f"{_written(100 * x, '.2f')} %" if metric.percent else _written(x, _digits(x, 4))


def spread(moments: Moments, metric: Metric) -> str:
    """Mean and standard deviation: "97.22 ± 0.31 %"; the mean alone for one seed."""
    mean, sd = finite(moments.mean), finite(moments.sd)
    if mean is None or sd is None:
        return value(mean, metric)
    if metric.percent:
        return f"{_written(100 * mean, '.2f')} ± {_written(100 * sd, '.2f')} %"
    digits = _digits(mean, 4)
    if digits.endswith("f") and sd:
        digits = f".{max(_decimals(mean, 4), min(8, _decimals(sd, 2)))}f"
    return f"{_written(mean, digits)} ± {_written(sd, digits)}"


def difference(x: float | None, metric: Metric, unit: bool = True) -> str:
    """A difference of the metric with its sign: "+0.31 points", or three significant digits."""
    x = finite(x)
    if x is None:
        return DASH
    if metric.percent:
        return f"{_written(100 * x, '.2f', sign=True)}{' points' if unit else ''}"
    return _written(x, _digits(x, 3), sign=True)


def interval(pair: Interval | None, metric: Metric) -> str:
    """Both ends of an interval of differences: "−0.05 to +0.67". Its unit is in the heading."""
    if pair is None or finite(pair[0]) is None or finite(pair[1]) is None:
        return DASH
    scale, digits = (100, ".2f") if metric.percent else (1, _digits(max(map(abs, pair)), 3))
    return " to ".join(_written(scale * end, digits, sign=True) for end in pair)


def difference_heading(metric: Metric) -> str:
    """The end of a heading of differences: " (points)", " (lower is better)", or nothing."""
    notes = ["points"] * metric.percent + ["lower is better"] * (metric.maximize is False)
    return f" ({'; '.join(notes)})" if notes else ""


def magnitude(x: float, metric: Metric) -> str:
    """The size of a difference, without a sign: "0.5 points"."""
    return f"{100 * x:.3g} points" if metric.percent else f"{x:.3g}"


def p_value(p: float | None) -> str:
    """A p as papers print it: "0.25", "0.008", "< 0.0001"."""
    p = finite(p)
    if p is None:
        return DASH
    if p < 0.0001:
        return "< 0.0001"
    digits = 4 if p < 0.001 else 3 if p < 0.1 else 2
    return "1" if p > 0.995 else f"{p:.{digits}f}"


def duration(seconds: float | None) -> str:
    """A time for readers: "0.82 s", "3 min 05 s", "2 h 07 min"."""
    seconds = finite(seconds)
    if seconds is None:
        return DASH
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def ratio(x: float | None) -> str:
    """A ratio to the baseline: "1.08 ×"."""
    x = finite(x)
    return DASH if x is None else f"{x:.2f} ×"


def _written(x: float, digits: str, sign: bool = False) -> str:
    text = f"{x:{'+' if sign else ''}{digits}}"
    # A number that rounds to zero has no sign: "-0.00" would claim a direction.
    text = text.lstrip("+-") if not float(text) else text
    return text.replace("-", MINUS) if "e" not in text else text.replace("-", MINUS, int(x < 0))


def _digits(x: float, significant: int) -> str:
    """The format that shows so many significant digits: fixed, but for tiny numbers with an exponent."""
    return f".{significant - 1}e" if 0 < abs(x) < TINY else f".{_decimals(x, significant)}f"


def _decimals(x: float, significant: int) -> int:
    return max(0, significant - 1 - math.floor(math.log10(abs(x)))) if x else significant - 1


def setting(x: Any) -> str:
    """A value of the configuration, as typed on a command line."""
    if isinstance(x, bool) or x is None:
        return {True: "true", False: "false", None: "null"}[x]
    if isinstance(x, float):
        return f"{x:.10g}"
    if isinstance(x, list | tuple):
        return f"[{', '.join(map(setting, x))}]"
    if isinstance(x, dict):
        return f"{{{', '.join(f'{key}: {setting(inner)}' for key, inner in x.items())}}}"
    return str(x)
