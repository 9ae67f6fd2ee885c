"""What the library's losses are: made from their docstrings and signatures, so that it stays true."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from experiments import docstrings
from noisy_optax import losses, ogc
from noisy_optax.robust_loss import Loss

NUM_CLASSES = 10
_MAKERS: tuple[Callable[..., Any], ...] = (
    losses.dal,
    losses.clip_slope,
    losses.with_logit_bias,
    ogc.ogc_loss,
)


class Parameter(NamedTuple):
    """A hyper-parameter: its default as it is written, or None, and its range and published values."""

    name: str
    default: str | None
    meaning: str


class Entry(NamedTuple):
    """What there is to know of a loss.

    Attributes:
      values: which values it takes, as its docstring says.
      bounded: whether it stays bounded where p is 0; None if that depends on another loss.
      symmetric: whether it sums to the same over all labels, whatever the prediction; None likewise.
    """

    name: str
    what: str
    parameters: tuple[Parameter, ...]
    values: str
    bounded: bool | None
    symmetric: bool | None
    paper: str


def plain_losses() -> dict[str, Loss]:
    """Every public function of logits and labels that is a loss, by name."""
    public = {name: getattr(losses, name) for name in losses.__all__}
    return {
        name: function
        for name, function in public.items()
        if inspect.isfunction(function)
        and tuple(inspect.signature(function).parameters)[:2] == ("logits", "labels")
        and not name.startswith("label_")
    }


def entries() -> list[Entry]:
    """All losses by name, then the functions that make a loss of another one or of a schedule."""
    found = [_entry(name, loss, *properties(loss)) for name, loss in plain_losses().items()]
    return found + [_entry(maker.__name__, maker, None, None) for maker in _MAKERS]


def properties(loss: Loss) -> tuple[bool, bool]:
    """Whether a loss is bounded, and whether it is symmetric, at some examples.

    Bounded: small where the prediction could hardly be more wrong. Symmetric: the losses of all labels sum
    to the same number whatever the prediction.
    """
    wrong = np.zeros((2, NUM_CLASSES), np.float32)
    wrong[:, 0] = -1e4
    wrong[0, 1] = 1e4
    several = 3 * np.random.default_rng(0).normal(size=(8, 1, NUM_CLASSES)).astype(np.float32)
    logits = np.concatenate([wrong, np.broadcast_to(several, (8, NUM_CLASSES, NUM_CLASSES)).reshape(80, -1)])
    labels = np.concatenate([np.zeros(2, np.int32), np.tile(np.arange(NUM_CLASSES, dtype=np.int32), 8)])
    values = np.asarray(jax.jit(loss)(logits, labels))
    totals = values[2:].reshape(8, NUM_CLASSES).sum(axis=1)
    return bool(np.all(values[:2] < 1e3)), bool(np.ptp(totals) < 1e-4 * np.max(np.abs(totals)))


def value_and_slope(loss: Loss, probability: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """The loss where the label has `probability` and the others share the rest, and minus its slope in p."""

    def at(log_odds):
        rest = -jnp.log(jnp.asarray(NUM_CLASSES - 1, log_odds.dtype))
        logits = jnp.concatenate([log_odds[None], jnp.broadcast_to(rest, (NUM_CLASSES - 1,))])
        return loss(logits, jnp.zeros([], jnp.int32))

    log_odds = jnp.asarray(np.log(probability) - np.log1p(-probability), jnp.float32)
    values, by_log_odds = jax.jit(jax.vmap(jax.value_and_grad(at)))(log_odds)
    return np.asarray(values), -np.asarray(by_log_odds) / (probability * (1 - probability))


def curves(plain: dict[str, Loss]) -> dict[str, tuple[NDArray, NDArray, NDArray]]:
    """Probabilities of the label with each loss's values and slopes there."""
    probability = np.linspace(0.005, 0.995, 199)
    return {name: (probability, *value_and_slope(loss, probability)) for name, loss in plain.items()}


def show(listed: list[Entry], console: Console) -> None:
    """Prints the page."""
    console.print(
        f"Bounded and symmetric are computed, for {NUM_CLASSES} classes and the defaults. p is the softmax "
        "probability of the given label.\n"
    )
    for entry in listed:
        flags = [
            text if holds else f"not {text}"
            for text, holds in (("bounded", entry.bounded), ("symmetric", entry.symmetric))
            if holds is not None
        ]
        console.print(Text(entry.name, style="bold").append(f"  {', '.join(flags)}", style="dim"))
        lines = [entry.what, *map(_describe, entry.parameters), entry.values, entry.paper]
        for line in filter(None, lines):
            console.print(Padding(Text(line), (0, 0, 0, 4)))
        console.print()


def _describe(parameter: Parameter) -> str:
    default = "" if parameter.default is None else f" = {parameter.default}"
    return f"{parameter.name}{default}: {parameter.meaning}"


def _entry(name: str, function: Callable[..., Any], bounded: bool | None, symmetric: bool | None) -> Entry:
    text = inspect.getdoc(function) or ""
    what, _, _ = text.partition("\n")
    parameters = tuple(
        Parameter(key, _default(parameter), meaning)
        for key, (parameter, meaning) in docstrings.hyperparameters(function).items()
    )
    values = re.split(r", float32|\. ", docstrings.one_line(docstrings.section(text, "Returns")))[0]
    return Entry(
        name,
        what,
        parameters,
        values,
        bounded,
        symmetric,
        docstrings.one_line(docstrings.section(text, "References")),
    )


def _default(parameter: inspect.Parameter) -> str | None:
    if parameter.default is inspect.Parameter.empty:
        return None
    return getattr(parameter.default, "__name__", None) or repr(parameter.default)
