"""Turns the formulas of the pages, and of the docstrings in them, into MathML while the site is built."""

import html
import re

from latex2mathml import converter
from mkdocs.exceptions import PluginError

# What pymdownx.arithmatex makes of $...$ and $$...$$.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
# LaTeX that the converter leaves as it is.
_UNKNOWN = {r"\_": "_", r"\arg\max": r"\operatorname{arg\,max}"}


def on_page_content(content: str, **_) -> str:
    """Called by MkDocs with the HTML of a page."""
    content = _INLINE.sub(lambda found: mathml(found[1], "inline"), content)
    return _BLOCK.sub(lambda found: mathml(found[1], "block"), content)


def mathml(escaped: str, display: str) -> str:
    """A formula in LaTeX, as it stands in HTML, as MathML."""
    latex = html.unescape(escaped)
    for unknown, known in _UNKNOWN.items():
        latex = latex.replace(unknown, known)
    formula = converter.convert(latex, display=display)
    if "\\" in formula:
        raise PluginError(f"latex2mathml does not know all of {latex}")
    return formula
