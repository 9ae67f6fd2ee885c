"""Notices when a model begins to memorise: some examples are watched, and not trained on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from noisy_optax._checks import check_range
from noisy_optax.memory import _rows

# One in so many examples is watched.
ONE_IN = 10
# Gains are those of about the last epoch over so many epochs.
BEFORE_EPOCHS = 4.0


class WatchState(NamedTuple):
    """Running sums of the probability that the model gives to each given label.

    Attributes:
      epochs: floating scalar, how many passes over the data set were recorded.
      trained: floating `[3]`, over about the last epoch, of the examples that are trained on: their number,
        the sum of their probabilities and the sum of the squares.
      watched: floating `[3]`, the same of the examples that are watched.
      trained_before: floating `[3]`, as `trained`, over about the last four epochs.
      watched_before: floating `[3]`, as `watched`, over about the last four epochs.
    """

    epochs: Float[Array, "..."]
    trained: Float[Array, "... 3"]
    watched: Float[Array, "... 3"]
    trained_before: Float[Array, "... 3"]
    watched_before: Float[Array, "... 3"]


class MemorisedShare(NamedTuple):
    """An estimate of how much a model has memorised.

    Attributes:
      share: floating scalar, at most 1; about 0 as long as nothing is memorised.
      standard_error: floating scalar, >= 0, of the share, from the number of examples.
      unpredicted: floating scalar in [0, 1], one less the mean probability of a watched example's label.
      gain: floating scalar, by how much the mean probability of the trained examples' labels rose lately:
        about the last epoch less about the last four.
      gain_of_watched: floating scalar, the same of the watched examples. It is smaller than `gain` as soon as
        the model no longer learns what holds for other examples too.
    """

    share: Float[Array, "..."]
    standard_error: Float[Array, "..."]
    unpredicted: Float[Array, "..."]
    gain: Float[Array, "..."]
    gain_of_watched: Float[Array, "..."]


def is_watched(indices: ArrayLike) -> Bool[Array, "..."]:
    """Whether an example is watched rather than trained on: one in ten, by a hash of its index.

    The same examples are watched in every epoch and run. The hash has no pattern that the order of a data
    set could share.

    Args:
      indices: integer, which example of the data set each row is.

    Returns:
      A boolean array of the same shape.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> jnp.sum(nox.memory.is_watched(jnp.arange(1000)))
    Array(114, dtype=int32)
    """
    # The finalizer "lowbias32" of Chris Wellons: every bit of the index changes half of the bits.
    x = jnp.asarray(indices).astype(jnp.uint32)
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return (x ^ (x >> 16)) < jnp.uint32(2**32 // ONE_IN)


def nothing_watched() -> WatchState:
    """The state before the first step.

    Returns:
      A `WatchState` of zeros.

    >>> import noisy_optax as nox
    >>> nox.memory.nothing_watched().epochs
    Array(0., dtype=float32)
    """
    return WatchState(jnp.zeros([], float), *(jnp.zeros(3, float) for _ in range(4)))


def watch(
    state: WatchState,
    logits: ArrayLike,
    labels: ArrayLike,
    indices: ArrayLike,
    *,
    num_examples: int,
    where: ArrayLike | None = None,
) -> WatchState:
    """Records a batch, from the logits of the step before its update.

    A row counts for nothing if `where` excludes it, if one of its logits is not finite, or if its label or
    index is out of range.

    Args:
      state: as `nothing_watched()` makes it.
      logits: floating `[..., C]`.
      labels: integer `[...]`, the given labels.
      indices: integer `[...]`, which example of the data set each row is.
      num_examples: > 0, in the training set.
      where: boolean `[...]`, or None.

    Returns:
      The new state.

    Raises:
      ValueError: num_examples is out of range, or shapes do not match.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits, labels, indices = jnp.zeros((4, 2)), jnp.zeros(4, int), jnp.arange(4)
    >>> state = nox.memory.watch(nox.memory.nothing_watched(), logits, labels, indices, num_examples=8)
    >>> state.epochs
    Array(0.5, dtype=float32)
    """
    check_range("num_examples", num_examples, above=0)
    z, is_label, indices, valid = _rows.batch_of(logits, labels, indices, where)
    counts = valid & _rows.in_range(indices, num_examples)
    probability = jnp.sum(jax.nn.softmax(z, axis=-1), axis=-1, where=is_label)
    watched, dtype = is_watched(indices), state.epochs.dtype
    epochs = jnp.sum(counts, dtype=dtype) / num_examples

    def sums_of(rows):
        taken = jnp.where(rows, probability, 0.0).astype(dtype)
        return jnp.stack([jnp.sum(rows, dtype=dtype), jnp.sum(taken), jnp.sum(taken * taken)])

    def add(sums, new, over):
        return jnp.maximum(1 - epochs / over, 0.0) * sums + new

    of_trained, of_watched = sums_of(counts & ~watched), sums_of(counts & watched)
    return WatchState(
        state.epochs + epochs,
        add(state.trained, of_trained, 1.0),
        add(state.watched, of_watched, 1.0),
        add(state.trained_before, of_trained, BEFORE_EPOCHS),
        add(state.watched_before, of_watched, BEFORE_EPOCHS),
    )


def memorised_share(state: WatchState, num_examples: int) -> MemorisedShare:
    r"""How much of what it could not predict the model has memorised.

    With the mean probabilities $\bar p$ of the given labels, over about the last epoch,

    $$m = \frac{\bar p_{\text{trained}} - \bar p_{\text{watched}}}{1 - \bar p_{\text{watched}}}$$

    A model that learns only what holds for other examples too is as good on those it is not trained on, and
    m is 0. A model that has memorised every label has m = 1. On clean labels m grows as well, by the few
    labels that the model could not predict.

    Its limits: with fewer than some hundred examples the standard error is larger than what it has to find.
    Examples that occur twice in the data set are memorised on both sides.

    Args:
      state: as `watch` made it, before watched examples were trained on; may have leading axes.
      num_examples: > 0, in the training set.

    Returns:
      A `MemorisedShare`.

    References:
      That accuracy on training labels runs away from accuracy on held-out labels when memorising sets in:
      Arpit et al., A Closer Look at Memorization in Deep Networks, ICML 2017, arXiv 1706.05394, section 4.
      The share is our own measure.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> trained, watched = jnp.array([900.0, 540.0, 400.0]), jnp.array([100.0, 50.0, 35.0])
    >>> state = nox.memory.WatchState(jnp.array(5.0), trained, watched, trained, watched)
    >>> found = nox.memory.memorised_share(state, num_examples=1000)
    >>> f"{found.share:.2f}, give or take {found.standard_error:.3f}"
    '0.20, give or take 0.066'
    """
    check_range("num_examples", num_examples, above=0)
    of_trained, variance_of_trained = _mean_and_variance(state.trained)
    of_watched, variance_of_watched = _mean_and_variance(state.watched)
    watched = num_examples / ONE_IN
    # Each example counts once, however long the sums have run.
    error = jnp.sqrt(variance_of_watched / watched + variance_of_trained / (num_examples - watched))
    unpredicted = jnp.maximum(1 - of_watched, 1e-3)
    trained_before, watched_before = (
        _mean_and_variance(sums)[0] for sums in (state.trained_before, state.watched_before)
    )
    return MemorisedShare(
        (of_trained - of_watched) / unpredicted,
        error / unpredicted,
        unpredicted,
        of_trained - trained_before,
        of_watched - watched_before,
    )


def _mean_and_variance(sums: Float[Array, "... 3"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    count, total, squares = jnp.moveaxis(sums, -1, 0)
    count = jnp.maximum(count, 1.0)
    mean = total / count
    return mean, jnp.maximum(squares / count - mean * mean, 0.0)
