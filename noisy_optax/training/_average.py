"""An exponential average of the parameters over the optimizer's steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from noisy_optax.sharpness import _tree


class Average(NamedTuple):
    """Running averages over the optimizer's steps.

    Attributes:
      steps: int32 scalar, the number of averaged steps.
      params: like the parameters.
      aux: like the auxiliary result of `forward`, None if that is not averaged.
    """

    steps: Int[Array, ""]
    params: Any
    aux: Any


def nothing(params: Any, aux: Any) -> Average:
    """The state before the first step."""
    # Copies: the caller may donate the parameters and the state to the same call.
    zero = jnp.zeros([], jnp.int32)
    return Average(zero, jax.tree.map(jnp.array, params), jax.tree.map(jnp.array, aux))


def add(state: Average, decay: float, params: Any, aux: Any) -> Average:
    """Takes in the parameters after one step, and what `forward` returned beside the logits."""
    steps = optax.safe_increment(state.steps)
    # The weights decay^0, decay^1, ... of the steps so far, normalised: the first step counts whole.
    share = (1 - decay) / (1 - jnp.asarray(decay, float) ** steps.astype(float))

    def mix(mean, new):
        new = jnp.asarray(new)
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        wide = mean.astype(_tree.wide_dtype(mean.dtype))
        return (wide + share.astype(wide.dtype) * (new.astype(wide.dtype) - wide)).astype(mean.dtype)

    averaged = None if state.aux is None else jax.tree.map(mix, state.aux, aux)
    return Average(steps, jax.tree.map(mix, state.params, params), averaged)
