"""Nested dataclasses as one list of flags, in an order of their own rather than that of the nesting."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, get_type_hints

import docstring_parser
from tyro.conf import arg


def flattened(nested: Any, order: Sequence[str]) -> type:
    """A dataclass of all the fields of `nested` and of the dataclasses in it, with their values as defaults.

    `order` names all fields. Each field's help is its docstring without line breaks, which tyro would keep.
    """
    leaves = {name: (hint, value) for name, hint, value in _leaves(nested)}
    if sorted(order) != sorted(leaves):
        raise ValueError(f"{type(nested).__name__}: not in both: {sorted(set(order) ^ set(leaves))}")
    kind = dataclasses.make_dataclass(
        type(nested).__name__,
        [(name, leaves[name][0], dataclasses.field(default=leaves[name][1])) for name in order],
        frozen=True,
    )
    kind.__doc__ = type(nested).__doc__
    return kind


def nested_again(nested: Any, flat: Any) -> Any:
    """The inverse: `nested` with the values of `flat`, an instance of what `flattened` returned for it."""
    changed = {}
    for field in dataclasses.fields(nested):
        value = getattr(nested, field.name)
        is_nested = dataclasses.is_dataclass(value)
        changed[field.name] = nested_again(value, flat) if is_nested else getattr(flat, field.name)
    return dataclasses.replace(nested, **changed)


def _leaves(nested: Any) -> Iterator[tuple[str, Any, Any]]:
    """Name, annotated type and value of each field that is not a dataclass."""
    kind = type(nested)
    hints = get_type_hints(kind, include_extras=True)
    described = {
        param.arg_name: " ".join(param.description.split())
        for param in docstring_parser.parse_from_object(kind).params
        if param.description is not None
    }
    for field in dataclasses.fields(nested):
        value = getattr(nested, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value)
            continue
        # Where nothing is the default, the description says what that means.
        shown = None if value not in (None, ()) and value is not False else ""
        said = arg(help=described.get(field.name), help_behavior_hint=shown)
        yield field.name, Annotated[hints[field.name], said], value
