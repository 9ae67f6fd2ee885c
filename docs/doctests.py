"""Lets the doctests at the end of a docstring be shown as code: Markdown takes `>>>` for quotations."""

import re
from typing import Any

from griffe import Extension, Object

_PARAGRAPH = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.DOTALL | re.MULTILINE)


class Doctests(Extension):
    """Puts each paragraph of a docstring that starts with `>>>` between fences."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for everything that may have a docstring."""
        if obj.docstring is not None:
            obj.docstring.value = _PARAGRAPH.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
