"""The shapes and dtypes that annotations of the library promise, checked whenever a test calls it.

Other annotations are left to mypy: an `int` where `float` is written is right, and a wrong argument of the
user's has to meet our own message first.
"""

from typing import Any, get_args

import beartype
import jaxtyping


def check(function: Any) -> Any:
    """`function` with its annotations of arrays checked at each call."""
    function.__annotations__ = {
        name: annotation for name, annotation in function.__annotations__.items() if _is_of_arrays(annotation)
    }
    return beartype.beartype(function)


def _is_of_arrays(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(_is_of_arrays(part) for part in get_args(annotation))
