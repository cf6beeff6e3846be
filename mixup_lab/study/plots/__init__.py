"""The pictures of a report, as SVG text to be put into a page. No state is shared with pyplot.

Colours of ink, grid and paper are CSS variables of the page, so that a picture follows its light or dark mode; the
colours of the data are those of Okabe and Ito, and markers and line styles tell apart what they tell apart.
A picture of nothing is the empty string.
"""

from mixup_lab.study.plots.dose import dose_response
from mixup_lab.study.plots.epochs import curve_arms, curves
from mixup_lab.study.plots.forest import class_differences, differences

__all__ = ["class_differences", "curve_arms", "curves", "differences", "dose_response"]
