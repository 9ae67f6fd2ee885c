"""Lets doctests be shown as code, and ranges such as `> 0` as text: Markdown takes both for quotations."""

import re
from typing import Any

from griffe import Extension, Object

_PARAGRAPH = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)
# A range that begins what is said of an argument.
_RANGE = re.compile(r"^( +\w+: )(?=>)", re.MULTILINE)


class Doctests(Extension):
    """Puts each paragraph of a docstring that starts with `>>>` between fences, and escapes ranges."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for everything that may have a docstring."""
        if obj.docstring is not None:
            escaped = _RANGE.sub(r"\1\\", obj.docstring.value)
            obj.docstring.value = _PARAGRAPH.sub(r"```pycon\n\g<0>\n```", escaped)
