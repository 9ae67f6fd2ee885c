"""Several robust losses as one, so that a compiled program serves all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from noisy_optax import RobustLoss


class OneOfState(NamedTuple):
    """State of `one_of`.

    Attributes:
      index: int32 scalar, which of the losses is meant; `init` says the first.
      states: those of all losses, of which only the chosen one's changes.
    """

    index: Int[Array, ""]  # type: ignore[assignment]  # tuple's
    states: tuple[Any, ...]


def one_of(losses: Sequence[RobustLoss]) -> RobustLoss:
    """The loss that `state.index` names; a step computes that one only, unless it runs under `vmap`."""

    def init_fn():
        return OneOfState(jnp.zeros([], jnp.int32), tuple(loss.init() for loss in losses))

    def update_fn(state, logits, labels, *, where=None, indices=None):
        def branch(i):
            def update(states):
                updated = losses[i].update(states[i], logits, labels, where=where, indices=indices)
                return (*states[:i], updated, *states[i + 1 :])

            return update

        branches = [branch(i) for i in range(len(losses))]
        return state._replace(states=jax.lax.switch(state.index, branches, state.states))

    def value_fn(state, logits, labels, *, where=None, indices=None):
        def branch(i):
            return lambda logits: losses[i].value(
                state.states[i], logits, labels, where=where, indices=indices
            )

        branches = [branch(i) for i in range(len(losses))]
        return jax.lax.switch(state.index, branches, logits)

    return RobustLoss(init_fn, update_fn, value_fn)
