"""What the library's losses are: made from their docstrings and signatures, so that it stays true."""

import html
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

from experiments.methods import LOSSES
from experiments.pages import docstrings
from noisy_optax import losses, memory, ogc
from noisy_optax.robust_loss import Loss

NUM_CLASSES = 10
# What makes a loss of another loss, of a schedule or for each example, and what is a part of a loss.
_OTHERS: tuple[Callable[..., Any], ...] = (
    losses.sparsity,
    losses.dal,
    losses.clip_slope,
    losses.with_logit_bias,
    losses.with_logit_clip,
    ogc.ogc_loss,
    memory.early_learning_regularization,
)


class Parameter(NamedTuple):
    """A hyper-parameter: its default as it is written, or None, and its range and published values."""

    name: str
    default: str | None
    meaning: str


class Entry(NamedTuple):
    """What there is to know of a loss.

    Attributes:
      address: the full name, as the documentation links to it.
      formula: LaTeX of the loss, or empty if it is too long for a table.
      values: which values it takes, as its docstring says.
      bounded: whether it stays bounded where p is 0; None if that depends on another loss.
      symmetric: whether it sums to the same over all labels, whatever the prediction; None likewise.
    """

    name: str
    address: str
    what: str
    formula: str
    parameters: tuple[Parameter, ...]
    values: str
    bounded: bool | None
    symmetric: bool | None
    paper: str


def entries() -> list[Entry]:
    """All losses by name, then the functions that make a loss of another one or of a schedule."""
    return [_entry(loss, losses.properties(loss)) for loss in (*LOSSES.values(), *_OTHERS)]


def table() -> str:
    """The losses of `LOSSES` as a table in Markdown, for the documentation."""
    lines = ["| loss and source | formula | hyper-parameters | properties |", "| --- | --- | --- | --- |"]
    for loss in LOSSES.values():
        entry = _entry(loss, losses.properties(loss))
        properties = [name for name in ("bounded", "symmetric") if getattr(entry, name)]
        parameters = "<br>".join(html.escape(_describe(parameter)) for parameter in entry.parameters)
        cells = (
            f"[`{entry.name}`][{entry.address}]" + (f"<br>{entry.paper}" if entry.paper else ""),
            f"${entry.formula}$" if entry.formula else entry.what,
            parameters,
            ", ".join(properties),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


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
        "The properties bounded and symmetric hold for the default hyper-parameters. p is the softmax "
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


def _entry(function: Callable[..., Any], known: losses.Properties | None) -> Entry:
    text = inspect.getdoc(function) or ""
    what, _, _ = text.partition("\n")
    parameters = tuple(
        Parameter(key, _default(parameter), meaning)
        for key, (parameter, meaning) in docstrings.hyperparameters(function).items()
    )
    values = re.split(r", float32|\. ", docstrings.one_line(docstrings.section(text, "Returns")))[0]
    return Entry(
        function.__name__,
        ".".join([*function.__module__.split("._")[0].split("."), function.__name__]),
        what,
        _formula(text),
        parameters,
        values,
        known and known.bounded,
        known and known.symmetric,
        docstrings.one_line(docstrings.section(text, "References")),
    )


def _formula(text: str) -> str:
    """The right-hand side of the first formula of a docstring, if it fits into a table."""
    found = re.search(r"\$\$\\ell(?:_\w+)?(?:\(.*?\))? = (.*?)(?:,\s*\\qquad.*?)?\$\$", text, re.DOTALL)
    # A bar would end the cell of a table.
    formula = docstrings.one_line(found[1]).replace(r"\|", r"\Vert ") if found else ""
    return formula if len(formula) < 100 and "cases" not in formula else ""


def _default(parameter: inspect.Parameter) -> str | None:
    if parameter.default is inspect.Parameter.empty:
        return None
    return getattr(parameter.default, "__name__", None) or repr(parameter.default)
