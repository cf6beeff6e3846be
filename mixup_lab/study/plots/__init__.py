"""The pictures of a report, as SVG text for a page. No state is shared with pyplot.

Ink, grid and paper are CSS variables of the page, so a picture follows its light or dark mode. The colours of the data
are those of Okabe and Ito; markers and line styles repeat their message. Without data, the text is empty.
"""

from mixup_lab.study.plots.dose import dose_response
from mixup_lab.study.plots.epochs import curve_arms, curves
from mixup_lab.study.plots.forest import class_differences, differences
from mixup_lab.study.plots.lens_curves import lens_curves
from mixup_lab.study.plots.lens_maps import lens_maps
from mixup_lab.study.plots.trend import trend, trend_lines

__all__ = [
    "class_differences", "curve_arms", "curves", "differences", "dose_response", "lens_curves", "lens_maps", "trend",
    "trend_lines",
]  # fmt: skip
