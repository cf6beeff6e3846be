"""The site that `scripts/docs` builds from the pages, which are plain Markdown that a forge renders as well."""

import re
from pathlib import Path

import mixup_lab

ROOT = Path(__file__).resolve().parents[1]

project = "mixup-lab"
copyright = "the authors of mixup-lab, MIT licence"
release = mixup_lab.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
smartquotes = False  # they would turn --cfg into –cfg
html_theme = "furo"
html_title = "mixup-lab"

myst_heading_anchors = 3  # links to headings, as a forge makes them

default_role = "code"  # docstrings write `name`
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_use_rtype = False
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!mixup_lab\.).*"),  # types of other libraries, whose sites a build does not fetch
]

# A forge would show a toctree as code, so the pages have lists of links, and the table of contents is added here.
CONTENTS = """
```{toctree}
:hidden:
:caption: Guide

guide/your-data
guide/choosing-alpha
guide/methods
guide/statistics
guide/lenses
guide/tensorboard
guide/use
guide/clusters-and-gpus
guide/own-components
```

```{toctree}
:hidden:
:caption: Reference

reference/configuration
reference/api
```

```{toctree}
:hidden:
:caption: The project

statistics
performance
reliability
architecture
contributing
```
"""


def _complete(app, docname, source):
    """Add the contents to the first page; show CONTRIBUTING.md of the checkout as the page that links to it."""
    if docname == "index":
        source[0] += CONTENTS
    elif docname == "contributing":
        source[0] = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")


def _escape(app, what, name, obj, options, lines):
    """Escape |x| and (B, *shape) in docstrings, which reStructuredText takes for substitutions and emphasis."""
    for i, line in enumerate(lines):
        parts = line.split("`")
        parts[::2] = [re.sub(r"(?<!\\)([|*])", r"\\\1", part) for part in parts[::2]]
        lines[i] = "`".join(parts)


def _shorten(app, what, name, obj, options, signature, result):
    """Hide the arguments that every method has; they are listed once, at PairMixer."""
    if what == "class" and name.startswith("mixup_lab.mixing.") and name.count(".") == 2:
        return re.sub(r"\*, law: .*\)$", "*, ...)", signature or ""), result
    return None


def setup(app):
    """Connect the functions above; Sphinx calls this."""
    app.connect("source-read", _complete)
    app.connect("autodoc-process-docstring", _escape)
    app.connect("autodoc-process-signature", _shorten)
