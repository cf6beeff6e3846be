"""The report as one HTML file, light and dark, without scripts or anything from the network."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mixup_lab.look import NARROW, WIDE
from mixup_lab.study import formats, plots, shown
from mixup_lab.study.glossary import explanation
from mixup_lab.study.lenses import by_score
from mixup_lab.study.results import Answer, LensCurve, LensMap, LensSection
from mixup_lab.visible import visible

_COMMANDS = {
    "repeat": "Run it again",
    "confirm": "Confirm on fresh seeds",
    "extend": "Continue with more seeds",
    "report": "Write this report again",
    "look": "Look at the curves",
}


def page(answer: Answer) -> str:
    """The whole report as text of one self-contained HTML file.

    The same answer gives the same text. Everything from the answer is escaped; in SVG, the XML writer did it.
    """
    return _environment().get_template("report.html.j2").render(
        answer=answer,
        lead=answer.confirmed or answer,
        views=_views(answer),
        confirmed_forest=_drawn(plots.differences, answer.confirmed, "confirmed") if answer.confirmed else "",
        formats=formats,
        shown=shown,
        explanation=explanation,
        signs=shown.SIGNS,
        command_names=_COMMANDS,
    )  # fmt: skip


def _views(answer: Answer) -> dict[str, Any]:
    """The pictures, and what their captions depend on."""
    return {
        "dose": _drawn(plots.dose_response, answer, "dose"),
        "differences": _drawn(plots.differences, answer, "differences"),
        "curves": _drawn(plots.curves, answer, "curves"),
        "classes": [
            (arm, _drawn(plots.class_differences, part, f"classes{k}"), shown.shown_classes(part)[1])
            for k, (arm, part) in enumerate(shown.class_parts(answer))
        ],
        "lenses": [_lens(answer, section, f"lens{k}") for k, section in enumerate(answer.lenses)],
        "by_alpha": all(arm.alpha is not None for arm in answer.arms if arm.test.n),
        "trend": _drawn(plots.trend, answer, "trend"),
        "trend_left_out": plots.trend_lines(answer)[1],
        "curves_left_out": plots.curve_arms(answer)[1],
    }


def _lens(answer: Answer, section: LensSection, prefix: str) -> dict[str, Any]:
    """The section of a lens with its pictures."""
    by = by_score(answer, section.scores[0]) if section.scores else None
    names = dict.fromkeys(curve.name for curve in section.curves)
    parts = {name: [curve for curve in section.curves if curve.name == name] for name in names}
    seeds = dict.fromkeys(one.seed for one in section.maps)
    maps = {seed: [one for one in section.maps if one.seed == seed] for seed in seeds}
    drawn_arms = {arm.id for arm in plots.curve_arms(answer)[0]}
    return {
        "section": section,
        "by": by,
        "forest": _drawn(plots.differences, by, f"{prefix}-differences") if by else "",
        "curves": [
            (
                name,
                _drawn(partial(_lens_curves, part), answer, f"{prefix}-curves{k}"),
                len({curve.arm for curve in part} - drawn_arms),
                len({(curve.arm, curve.name) for curve in part}) < len(part),
            )
            for k, (name, part) in enumerate(parts.items())
        ],
        "maps": [
            (seed, _drawn(partial(_lens_maps, part), answer, f"{prefix}-maps{k}"))
            for k, (seed, part) in enumerate(maps.items())
        ],
    }


def _lens_curves(curves: Sequence[LensCurve], answer: Answer, prefix: str, width: float) -> str:
    return plots.lens_curves(answer, curves, prefix, width)


def _lens_maps(maps: Sequence[LensMap], answer: Answer, prefix: str, width: float) -> str:
    return plots.lens_maps(answer, maps, prefix, width)


def _drawn(draw: Callable[[Answer, str, float], str], answer: Answer, prefix: str) -> Markup:
    """A picture twice, for a wide page and for a telephone; the style of the page shows one of them."""
    sizes = {"roomy": WIDE, "narrow": NARROW}
    drawings = {kind: draw(answer, f"{prefix}-{kind}", width) for kind, width in sizes.items()}
    return Markup("".join(f'<div class="{kind}">{svg}</div>' for kind, svg in drawings.items() if svg))


def _environment() -> Environment:
    # The template lies next to this module, in a wheel and in a checkout.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"breakable": _breakable, "tight": _tight}
    return environment


def _breakable(name: str) -> Markup:
    """A name that breaks between its settings, not within a number."""
    return Markup(",<wbr>").join(visible(name).split(","))


def _tight(text: str) -> str:
    """No line begins with a percent sign."""
    return text.replace(" %", "\u00a0%")


def _shown(x: Any) -> Any:
    """None is a dash; characters that a file cannot hold are replaced."""
    if x is None:
        return formats.DASH
    return visible(x) if type(x) is str else x
