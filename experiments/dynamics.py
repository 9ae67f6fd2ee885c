"""What training early on says of each given label, before a model has learnt the wrong ones by heart."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# Of the epochs, the share that is recorded: later ones say less the more wrong labels a model has learnt.
EARLY = 1 / 5


class Dynamics(NamedTuple):
    """Sums over the early epochs, for each seed and every training example of the source.

    A training example is measured on its batch before the update, one that is held out after each epoch.

    Attributes:
      margin: sum of `margins`.
      seen: how many times the example was measured; an epoch's last, smaller batch is dropped.
      vote: the class that is predicted most often, by the majority vote of Boyer and Moore, which needs no
        count per class: if any class is predicted more than half of the time, it is that one.
      lead: by how many predictions it leads.
    """

    margin: Float[Array, "seeds n"]
    seen: Int[Array, "seeds n"]
    vote: Int[Array, "seeds n"]
    lead: Int[Array, "seeds n"]


def early_epochs(epochs: int) -> int:
    """How many of a run's epochs are recorded."""
    return math.ceil(EARLY * epochs)


def nothing_seen(seeds: int, examples: int) -> Dynamics:
    """Before the first epoch."""
    zeros = [jnp.zeros((seeds, examples), dtype) for dtype in (jnp.float32, *[jnp.int32] * 3)]
    return Dynamics(*zeros)


def margins(logits: Float[Array, "... C"], labels: Int[Array, "..."]) -> Float[Array, "..."]:
    """Probability of the given label less that of the most probable other class, in [-1, 1]."""
    p = jax.nn.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
    is_given = jax.nn.one_hot(labels, logits.shape[-1], dtype=bool)
    return jnp.sum(jnp.where(is_given, p, 0.0), axis=-1) - jnp.max(jnp.where(is_given, 0.0, p), axis=-1)


def record(
    dynamics: Dynamics,
    indices: Int[Array, "seeds ..."],
    predictions: Int[Array, "seeds ..."],
    margins: Float[Array, "seeds ..."],
) -> Dynamics:
    """Adds an epoch's predictions and margins of the examples at `indices`, each at most once a seed."""
    seeds = len(indices)
    rows, indices = jnp.arange(seeds)[:, None], indices.reshape(seeds, -1)
    predictions, margins = (
        x.reshape(seeds, -1).astype(dtype) for x, dtype in ((predictions, jnp.int32), (margins, jnp.float32))
    )
    vote, lead = dynamics.vote[rows, indices], dynamics.lead[rows, indices]
    return Dynamics(
        dynamics.margin.at[rows, indices].add(margins),
        dynamics.seen.at[rows, indices].add(1),
        dynamics.vote.at[rows, indices].set(jnp.where(lead == 0, predictions, vote)),
        dynamics.lead.at[rows, indices].add(jnp.where((lead == 0) | (vote == predictions), 1, -1)),
    )
