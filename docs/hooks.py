"""Called by MkDocs with each page: formulas become MathML here, so that no script has to be loaded."""

import html
import re
from pathlib import Path

from latex2mathml import converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from experiments.pages import loss_page

# What pymdownx.arithmatex makes of $...$ and $$...$$.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)
# LaTeX that the converter does not know, in LaTeX that it does, and a space that it would leave out.
_REWORDED = (
    (re.compile(r"\\_"), "_"),
    (re.compile(r"\\arg\\max"), r"\\text{arg max}\\,"),
    (re.compile(r"\\log(?=\s*\\?[a-zA-Z])(?!\s*\\left)"), r"\\log\\,"),
)

# A prime is raised already: as a superscript it would be raised twice.
_PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>&#x02032;</mi></msup>")
_SUBSCRIPT_PRIME = re.compile(r"<msubsup>(<mi>[^<]*</mi><mi>[^<]*</mi>)<mi>&#x02032;</mi></msubsup>")

_CELL = re.compile(r"<td[^>]*><code>.*?</code>")


CLAIMS = Path(__file__).parent.parent / "experiments" / "results" / "claims"


def on_files(files: Files, config: MkDocsConfig, **_) -> Files:
    """The pictures that the included pages of results show, which lie beside the results."""
    for picture in CLAIMS.glob("*.png"):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """The Markdown of a page, with the table of all losses in place of its mark."""
    return markdown.replace("<!-- losses -->", loss_page.table())


def on_page_content(content: str, *, page: Page, **_) -> str:
    """The HTML of a page, with MathML, and with places in table cells where long names may break."""
    if page.file.src_uri.startswith("api/") and "<blockquote>" in content:
        raise PluginError(f"{page.file.src_uri}: a quotation, where a range was meant")
    content = _INLINE.sub(lambda found: mathml(found[1], "inline"), content)
    content = _BLOCK.sub(lambda found: mathml(found[1], "block"), content)
    if "arithmatex" in content:
        raise PluginError("a formula was not understood")
    return _CELL.sub(lambda found: found[0].replace(",", ",<wbr>"), content)


def mathml(escaped: str, display: str) -> str:
    """A formula in LaTeX, as it stands in HTML, as MathML."""
    latex = html.unescape(escaped)
    for pattern, known in _REWORDED:
        latex = pattern.sub(known, latex)
    formula = converter.convert(latex, display=display)
    if "\\" in formula:
        raise PluginError(f"latex2mathml does not know all of {latex}")
    prime = '<mo lspace="0" rspace="0">&#x02032;</mo>'
    formula = _PRIME.sub(rf"<mrow>\1{prime}</mrow>", formula)
    formula = _SUBSCRIPT_PRIME.sub(rf"<mrow><msub>\1</msub>{prime}</mrow>", formula)
    # As names, not operators, which have wide space around them.
    return re.sub("<mo>(max|min)</mo>", r"<mi>\1</mi>", formula)
