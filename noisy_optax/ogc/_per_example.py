"""The shared part of the two transformations of per-example gradients: weights and a weighted mean."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from noisy_optax import per_example
from noisy_optax.losses import _label
from noisy_optax.ogc import _state


class Rule(NamedTuple):
    """How examples are weighted; x is the statistic of each example, `[B]`.

    Attributes:
      init: `init() -> state`.
      statistic: `statistic(updates, extra_args) -> x`; `updates` is None if the gradients are not given.
      observe: `observe(x, where) -> (values, valid)`, what enters the queue.
      refit: `refit(state) -> state`.
      weights: `weights(state, x) -> [B]`, in [0, 1].
    """

    init: Callable[[], Any]
    statistic: Callable[[Any, dict[str, Any]], Float[Array, "B"]]
    observe: Callable[..., tuple[Float[Array, "B"], Bool[Array, "B"]]]
    refit: Callable[[Any], Any]
    weights: Callable[[Any, Float[Array, "B"]], Float[Array, "B"]]


def weighted_mean(
    rule: Rule, bound: optax.Schedule, update_every: int, axis_name: str | None
) -> optax.GradientTransformationExtraArgs:
    """A transformation of per-example gradients to their mean, weighted by the rule."""

    def init_fn(params):
        del params
        return rule.init()

    def update_fn(updates, state, params=None, *, where=None, weighted_gradient=None, **extra_args):
        if weighted_gradient is None:
            _check_per_example(updates, params)
        x = rule.statistic(updates if weighted_gradient is None else None, extra_args)
        if weighted_gradient is None and x.size != per_example.batch_size(updates):
            raise ValueError(
                f"expected log_probabilities of shape ({per_example.batch_size(updates)},), like the "
                f"gradients, got {x.shape}"
            )
        where = None if where is None else _label.example_mask(where, x.shape)
        state = _state.advance(
            state,
            *rule.observe(x, where),
            rule.refit,
            bound=bound,
            update_every=update_every,
            axis_name=axis_name,
        )
        weights = _mean_of(rule.weights(state, x), where)
        if weighted_gradient is not None:
            return weighted_gradient(weights), state
        return jax.tree.map(lambda leaf: _weighted_sum(jnp.asarray(leaf), weights, where), updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def required(extra_args: dict[str, Any], name: str, meaning: str) -> Float[Array, "B"]:
    """The keyword argument `name` of `update`, or ValueError saying what it means."""
    value = extra_args.get(name)
    if value is None:
        raise ValueError(f"ogc needs update(..., {name}=...), shape [B]: {meaning}")
    value = jnp.asarray(value)
    if not jnp.issubdtype(value.dtype, jnp.floating) or value.ndim != 1:
        raise ValueError(f"expected {name} floating of shape [B], got {value.dtype} of shape {value.shape}")
    return jax.lax.stop_gradient(_label.at_least_32_bits(value))


def _mean_of(weights: Float[Array, "B"], where: Bool[Array, "B"] | None) -> Float[Array, "B"]:
    """Weights of a sum that make it the mean over the examples that are kept."""
    if where is None:
        return weights / weights.size
    kept = jnp.maximum(jnp.sum(where, dtype=weights.dtype), 1.0)
    return jnp.where(where, weights, 0.0) / kept


def _weighted_sum(
    leaf: Float[Array, "B ..."], weights: Float[Array, "B"], where: Bool[Array, "B"] | None
) -> Float[Array, "..."]:
    def along(x):
        return x.reshape(-1, *[1] * (leaf.ndim - 1))

    wide = _label.at_least_32_bits(leaf)
    if where is not None:
        # Zero weight is not enough: 0 * nan is nan.
        wide = jnp.where(along(where), wide, 0.0)
    return jnp.sum(wide * along(weights).astype(wide.dtype), axis=0).astype(leaf.dtype)


def _check_per_example(updates: Any, params: Any) -> None:
    """Raises ValueError unless every leaf has the examples on its leading axis."""
    advice = (
        "pass what noisy_optax.per_example_gradients returns; with training_step, use the loss "
        "nox.ogc.ogc_loss instead"
    )
    if not jax.tree.leaves(updates):
        raise ValueError(f"expected per-example gradients, got none; {advice}")
    try:
        size = per_example.batch_size(updates)
    except ValueError as error:
        raise ValueError(f"{error}; {advice}") from None
    if params is None:
        return
    expected: Any = jax.tree.structure(params)
    found: Any = jax.tree.structure(updates)
    if expected != found:
        raise ValueError(
            f"per-example gradients must have the structure of the parameters, {expected}, got {found}"
        )
    for leaf, param in zip(jax.tree.leaves(updates), jax.tree.leaves(params), strict=True):
        if jnp.shape(leaf) != (size, *jnp.shape(param)):
            raise ValueError(
                f"expected per-example gradients of shape {(size, *jnp.shape(param))}, got "
                f"{jnp.shape(leaf)}; {advice}"
            )
