"""What a docstring in the house style says of a function's arguments, result and source."""

import inspect
import re
from collections.abc import Callable
from typing import Any


def section(text: str, heading: str) -> str:
    """The indented lines under `heading:`; empty if there are none."""
    found = re.search(rf"^{heading}:\n((?:  .*\n|\n(?=  ))*)", text + "\n", re.MULTILINE)
    return found[1] if found else ""


def arguments(text: str) -> dict[str, str]:
    r"""Names and meanings of the arguments, each on one line.

    >>> arguments("Rounds.\n\nArgs:\n  x: floating,\n    and finite.\n  digits: >= 0.\n")
    {'x': 'floating, and finite.', 'digits': '>= 0.'}
    """
    lines = re.findall(r"^  (\S+): (.*\n(?:    .*\n)*)", section(text, "Args"), re.MULTILINE)
    return {name: one_line(meaning) for name, meaning in lines}


def hyperparameters(loss: Callable[..., Any]) -> dict[str, tuple[inspect.Parameter, str]]:
    """The hyper-parameters of a loss, each with what the docstring says of it."""
    meanings = arguments(inspect.getdoc(loss) or "")
    return {
        name: (parameter, meanings[name])
        for name, parameter in inspect.signature(loss).parameters.items()
        if name not in ("logits", "labels", "axis", "where")
    }


def one_line(text: str) -> str:
    """`text` without line breaks."""
    return " ".join(text.split())
