"""The pages under docs/: their code runs, their commands exist, and the reference leaves nothing out."""

import re
import shlex
import textwrap
from pathlib import Path

import jax
import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}


def blocks(page, language):
    """The fenced blocks of a language, which may be indented as in a tab."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_code_of_a_page_runs(page):
    namespace = {}
    # As on a reader's machine, where bias vectors broadcast.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for code in blocks(page, "python"):
            exec(compile(code, page, "exec"), namespace)
            # One in ten is what a step that does nothing would leave.
            assert namespace.get("accuracy", 1.0) > 0.75
