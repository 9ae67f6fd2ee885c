"""What the command line calls a method: LOSS or LOSS+TRANSFORMATION, with hyper-parameters, or a file's."""

import difflib
import functools
import hashlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.methods import METHODS, TRANSFORMATIONS, Method, Setting
from experiments.terminal import UserError, one_line
from noisy_optax import RobustLoss
from noisy_optax.robust_loss import Loss, as_robust_loss


class Part(NamedTuple):
    """A loss or a transformation as the command line names it.

    Attributes:
      name: of the package, or FILE.py:NAME.
      function: what makes it.
      changed: the hyper-parameters that are set.
    """

    name: str
    function: Callable[..., Any]
    changed: dict[str, Any]


def parse(spec: str) -> list[Part]:
    """The parts of `LOSS` or `LOSS+TRANSFORMATION`, each `NAME` or `NAME:KEY=VALUE,...`.

    >>> [part[::2] for part in parse("phuber_cross_entropy:tau=2+saner")]
    [('phuber_cross_entropy', {'tau': 2.0}), ('saner', {})]
    """
    names = _split(spec)
    if len(names) > 2:
        raise UserError(f"{spec}: expected LOSS or LOSS+TRANSFORMATION")
    return [_parse_part(name, kind) for name, kind in zip(names, (METHODS, TRANSFORMATIONS), strict=False)]


def hyperparameters(spec: str) -> dict[str, dict[str, Any]]:
    """All hyper-parameters of each part, by its name: those that are set and the defaults of the rest.

    >>> hyperparameters("generalized_cross_entropy+sam:rho=0.3")
    {'generalized_cross_entropy': {'q': 0.7}, 'sam': {'rho': 0.3}}
    """
    return {part.name: defaults(part.function) | part.changed for part in parse(spec)}


def spelled(hyperparameters: dict[str, dict[str, Any]]) -> str:
    """The inverse of `hyperparameters`; defaults are left out.

    >>> spelled({"generalized_cross_entropy": {"q": 0.7}, "sam": {"rho": 0.3}})
    'generalized_cross_entropy+sam:rho=0.3'
    """
    parts = []
    for (name, own), kind in zip(hyperparameters.items(), (METHODS, TRANSFORMATIONS), strict=False):
        # A file of the user's may be gone; what was set is in the record.
        known = {} if ".py:" in name else defaults(_by_name(name, kind))
        changed = [f"{key}={value}" for key, value in own.items() if key not in known or known[key] != value]
        parts.append(f"{name}:{','.join(changed)}" if changed else name)
    return "+".join(parts)


def build(spec: str, setting: Setting) -> Method:
    """The method that `spec` names."""
    first, *second = parse(spec)
    method = _attempt(first, lambda: _as_method(first, setting))
    if not second:
        return method
    return method._replace(sharpness=_attempt(second[0], lambda: _make(second[0], setting)))


def own_code(spec: str) -> dict[str, str]:
    """Fingerprints of the files of the user's own methods in `spec`, by the methods' names."""
    return {
        f"{own[1]}:{own[2]}": hashlib.sha256(Path(own[1]).read_bytes()).hexdigest()[:16]
        for own in map(_OWN.fullmatch, _split(spec))
        if own
    }


def own_files(spec: str) -> list[Path]:
    """The files of the user's own methods in `spec`."""
    return [Path(own[1]) for own in map(_OWN.fullmatch, _split(spec)) if own]


# FILE.py:FUNCTION, and hyper-parameters.
_OWN = re.compile(r"(.+?\.py):(\w+)(?::(.*))?")


def _split(spec: str) -> list[str]:
    # A plus sign within a number, 1e+3, is followed by a digit.
    return re.split(r"\+(?!\d)", spec)


def _parse_part(spec: str, kind: dict[str, Callable[..., Any]]) -> Part:
    own = _OWN.fullmatch(spec)
    if own:
        name, changes = f"{own[1]}:{own[2]}", own[3]
        function = _from_file(Path(own[1]), own[2])
    else:
        name, colon, rest = spec.partition(":")
        function, changes = _by_name(name, kind), rest if colon else None
    known = defaults(function)
    changed: dict[str, Any] = {}
    for change in () if changes is None else changes.split(","):
        key, _, value = change.partition("=")
        if key in changed:
            raise UserError(f"{spec}: {key} is given twice")
        if key not in known:
            has = ", ".join(known) or "none"
            # The likeliest slip in a function of the user's.
            star = (
                "; put * before it in the signature" if key in inspect.signature(function).parameters else ""
            )
            raise UserError(f"{spec}: {name} has no hyper-parameter {key!r}; it has {has}{star}")
        changed[key] = _converted(spec, key, value, known[key])
    for key, value in known.items():
        if value is inspect.Parameter.empty and key not in changed:
            raise UserError(f"{spec}: {key} has no default; give {name}:{key}=VALUE")
    return Part(name, function, changed)


def _by_name(name: str, kind: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name in kind:
        return kind[name]
    what, other = ("loss", TRANSFORMATIONS) if kind is METHODS else ("transformation", METHODS)
    if name in other:
        raise UserError(
            f"{name} is not a {what}: expected LOSS or LOSS+TRANSFORMATION, e.g. cross_entropy+saner"
        )
    if name.endswith(".py"):
        raise UserError(f"{name}: expected FILE.py:FUNCTION, for example {name}:my_loss")
    nearest = ", ".join(difflib.get_close_matches(name, kind, cutoff=0))
    raise UserError(f"no {what} is called {name!r}; the nearest are {nearest}; `list methods` has all")


def _from_file(path: Path, name: str) -> Callable[..., Any]:
    """The function `name` of a file of the user's."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; expected FILE.py:FUNCTION")
    module_spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path}: {type(error).__name__}: {one_line(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{path}: has no function {name!r}")
    return function


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The hyper-parameters, which are the keyword-only parameters, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("axis", "where")
    }


def _converted(spec: str, key: str, value: str, default: Any) -> Any:
    """`value` as the type of the default; a number where there is none."""
    wanted = float if default is inspect.Parameter.empty or default is None else type(default)
    try:
        return wanted(value)
    except ValueError:
        raise UserError(f"{spec}: {key} must be a {wanted.__name__}, got {value!r}") from None


def _as_method(part: Part, setting: Setting) -> Method:
    """A method from a loss `(logits, labels)`, or from a function of the setting that makes one."""
    parameters = inspect.signature(part.function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) >= 2:
        return Method(as_robust_loss(_with(part.function, setting.num_classes, **part.changed)))
    made = _make(part, setting)
    if not isinstance(made, Method | RobustLoss):
        raise TypeError(
            f"expected a function of logits and labels, or of the setting that returns a RobustLoss; "
            f"got {type(made).__name__}"
        )
    return made if isinstance(made, Method) else Method(made)


def _make(part: Part, setting: Setting) -> Any:
    return part.function(setting, **part.changed)


def _attempt(part: Part, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except UserError:
        raise
    except Exception as error:
        # Any other exception from a method of the package is our mistake.
        if ".py:" not in part.name and not isinstance(error, ValueError | TypeError):
            raise
        raise UserError(f"--method {part.name}: {one_line(error)}") from error


def _with(loss: Callable[..., Any], num_classes: int, **hyperparameters: float) -> Loss:
    """`loss` with its hyper-parameters set, ranges and shape checked now rather than in the first step."""
    bound = functools.partial(loss, **hyperparameters)
    batch = jax.ShapeDtypeStruct((3, num_classes), jnp.float32), jax.ShapeDtypeStruct((3,), jnp.int32)
    found = jax.tree.map(lambda x: x.shape, jax.eval_shape(bound, *batch))
    if found != (3,):
        raise ValueError(
            f"expected one loss for each example, shape (3,) in a trial with 3 of them, got {found}; do not "
            f"average over the batch"
        )
    return bound
