"""A figure as SVG text for a page: small, without metadata, with its own ids and the colours of the page."""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator

from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from mixup_lab.look import VARIABLES, short


def inline_svg(figure: Figure, prefix: str, title: str) -> str:
    """The figure as SVG for a page with other figures: no metadata, no style sheet, ids that begin with `prefix`."""
    for ax in figure.axes:
        ax.patch.set_alpha(0)
        for axis in (ax.xaxis, ax.yaxis):
            if isinstance(formatter := axis.get_major_formatter(), ScalarFormatter):
                formatter.set_useOffset(False)
    out = io.BytesIO()
    with warnings.catch_warnings():
        # The browser's fonts draw the text, so glyphs that matplotlib's fonts lack do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    root = ET.fromstring(out.getvalue())
    _strip(root)
    used = set(re.findall(r"#([\w-]+)", " ".join(value for node in root.iter() for value in _references(node))))
    for node in root.iter():
        _tidy(node, prefix, used)
    _unwrap(root)
    box = root.get("viewBox", "")
    root.attrib.clear()
    root.attrib |= {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": box,
        "width": box.split()[2],
        "height": box.split()[3],
        "role": "img",
        "aria-label": short(title, 200),
        "style": "stroke-linejoin:round;stroke-linecap:butt;font-family:system-ui,sans-serif",
    }
    name = ET.Element("title")
    name.text = short(title, 200)
    root.insert(0, name)
    return ET.tostring(root, encoding="unicode")


def _references(node: ET.Element) -> Iterator[str]:
    for key, value in node.attrib.items():
        if key.endswith("href") or value.startswith("url("):
            yield value


def _strip(root: ET.Element) -> None:
    """Remove namespaces, metadata and the style sheet, which would apply to the whole page."""
    for node in list(root.iter()):
        node.tag = node.tag.rpartition("}")[2]
        node.attrib = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
    for parent in list(root.iter()):
        for child in list(parent):
            invisible = "opacity: 0" in child.get("style", "").split("; ")  # the empty background
            if invisible or child.tag == "metadata" or (child.tag == "defs" and child.find("style") is not None):
                parent.remove(child)


def _tidy(node: ET.Element, prefix: str, used: set[str]) -> None:
    """Shorten numbers, turn colours into variables, prefix ids; ids without a reference go."""
    if (name := node.attrib.pop("id", None)) in used:
        node.set("id", f"{prefix}-{name}")
    if node.tag == "image":
        del node.attrib["style"]  # which would show the points of a grid as squares
    if node.get("transform", "").startswith("rotate(-0 "):
        del node.attrib["transform"]
    for key, value in list(node.attrib.items()):
        if key == "href" and value.startswith("#"):
            value = f"#{prefix}-{value[1:]}"
        elif key == "clip-path":
            value = value.replace("#", f"#{prefix}-")
        elif key in ("d", "transform", "x", "y", "width", "height") and node.tag != "image":  # its scale must be exact
            value = re.sub(r"-?\d+\.\d+", _rounded, value)
            value = re.sub(r"\s*([A-Za-z])\s*", r"\1", value.strip()) if key == "d" else value
        elif key == "style":
            value = re.sub(r"font-family:[^;]*;?", "", value)  # the page's own, see the root
            value = re.sub(r"\s*([:;])\s*", r"\1", value)
            for colour, variable in VARIABLES.items():
                value = value.replace(colour, variable)
        node.set(key, value)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")


def _unwrap(root: ET.Element) -> None:
    """Replace groups without attributes by their children; whitespace between elements goes."""
    for node in root.iter():
        if node.tag != "text":
            node.text = None
        node.tail = None
    for parent in list(root.iter()):
        children = list(parent)
        while any(child.tag == "g" and not child.attrib for child in children):
            children = [
                inner for child in children for inner in (child if child.tag == "g" and not child.attrib else [child])
            ]
        parent[:] = children
