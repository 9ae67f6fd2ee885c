"""Whether what a JSON file says is of the types that its reader expects."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal

# What is a number to JSON and fits no number of an array.
_LARGEST = 2**63


def mismatch(value: Any, kind: Any, name: str = "") -> str | None:
    """The first place where `value` is not of a type, in words; None if there is none.

    Args:
      value: as `json.loads` returns it.
      kind: a type as annotations have it: int, list[str], a Literal, a TypedDict, a dataclass and so on. A
        tuple is a list in JSON, and a whole number is a float.
      name: where the value comes from, with dots between the names.

    >>> mismatch({"a": [1, "b"]}, dict[str, list[int]])
    "a.1 must be int, got 'b'"
    """
    return next(_mismatches(value, kind, name), None)


def _mismatches(value: Any, kind: Any, name: str) -> Iterator[str]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return
    if origin in (typing.Union, types.UnionType):
        found = [mismatch(value, one, name) for one in inner]
        if None not in found:
            # What is wrong within a list or an object says more than that it is wrong.
            yield (
                found[0] if isinstance(value, dict | list | tuple) and found[0] else _wrong(value, kind, name)
            )
    elif origin is Literal:
        # Neither is 1 True, nor may it be a list, which no set takes.
        if not any(type(value) is type(one) and value == one for one in inner):
            yield _wrong(value, kind, name)
    elif origin in (list, tuple):
        yield from _in_list(value, kind, name)
    elif origin is dict or dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        if not isinstance(value, dict):
            yield _wrong(value, "an object", name)
        elif origin is dict:
            for key, item in value.items():
                yield from _mismatches(item, inner[1], _within(name, key))
        else:
            yield from _in_object(value, kind, name)
    elif not _is_plain(value, kind):
        yield _wrong(value, kind, name)


def _in_list(value: Any, kind: Any, name: str) -> Iterator[str]:
    inner = typing.get_args(kind)
    fixed = typing.get_origin(kind) is tuple and Ellipsis not in inner
    if not isinstance(value, list | tuple) or (fixed and len(value) != len(inner)):
        yield _wrong(value, f"a list of {len(inner)}" if fixed else "a list", name)
        return
    kinds: Iterable[Any] = inner if fixed else [inner[0]] * len(value)
    for number, (item, one) in enumerate(zip(value, kinds, strict=True)):
        yield from _mismatches(item, one, _within(name, number))


def _in_object(value: dict[str, Any], kind: Any, name: str) -> Iterator[str]:
    hints = typing.get_type_hints(kind)
    if dataclasses.is_dataclass(kind):
        required = {
            field.name
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        for key in value:
            if key not in hints:
                yield f"{_within(name, key)} is not known"
    else:
        required = kind.__required_keys__
    for key, one in hints.items():
        if key in value:
            yield from _mismatches(value[key], one, _within(name, key))
        elif key in required:
            yield f"{_within(name, key)} is missing"


def _is_plain(value: Any, kind: Any) -> bool:
    if kind in (None, type(None)):
        return value is None
    if kind in (int, float):
        is_number = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
        return is_number and (isinstance(value, float) or abs(value) < _LARGEST)
    return isinstance(value, kind)


def _within(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _wrong(value: Any, kind: Any, name: str) -> str:
    found = repr(value)
    return f"{name or 'it'} must be {_in_words(kind)}, got {found[:60]}{'...' if len(found) > 60 else ''}"


def _in_words(kind: Any) -> str:
    if isinstance(kind, str):
        return kind
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, typing.get_args(kind)))
    if typing.get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(kind)))
    return "null" if kind in (None, type(None)) else getattr(kind, "__name__", str(kind))
