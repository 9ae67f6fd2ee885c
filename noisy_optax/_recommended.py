"""One loss for labels of unknown quality: cross-entropy until the model begins to memorise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from noisy_optax.memory import EarlyLearningState, WatchState, _watching, early_learning_regularization
from noisy_optax.robust_loss import RobustLoss

# Chosen on some cells of digits, label sets of CIFAR-10 features and a small CNN, see the page of the recipe.
WEIGHT, DECAY = 10.0, 0.8
# Memorising is noticed when its share is larger than this by one standard error, after so many epochs, and
# when less than a fifth of what is gained on trained examples is gained on watched ones.
NOTICED_ABOVE, FIRST_EPOCHS, SHARED_GAIN = 0.1, 2.0, 0.2
# Where more is memorised by then, it was memorised along with what was learnt: the memory knows no better.
TOO_LATE_ABOVE = 0.3
# The regularization then grows from nothing to its full weight.
RAMP_EPOCHS = 3.0
# Where the labels that nothing predicts are fewer than this, the weight is smaller in proportion.
FULL_WEIGHT_FROM = 0.3


class RecommendedState(NamedTuple):
    """State of `recommended`.

    Attributes:
      early_learning: the memory; its `weight` is how strongly it acts in this step.
      watch: what was recorded to notice memorising; its sums stay as they were when it was noticed.
      noticed_at: floating scalar, the epoch at which memorising was noticed; infinite as long as it was not.
    """

    early_learning: EarlyLearningState
    watch: WatchState
    noticed_at: Float[Array, ""]


def recommended(num_examples: int, num_classes: int, *, dtype: DTypeLike = jnp.float32) -> RobustLoss:
    r"""A loss for labels of which neither the kind nor the rate of error is known.

    It is cross-entropy until the model begins to memorise its labels, and early-learning regularization
    from then on. A tenth of the examples, `memory.is_watched`, is not trained on at first. Memorising is
    noticed when the other examples are better predicted than those, and go on to gain without them: when
    `memory.memorised_share` less its standard error is above 0.1, and the gain of the watched examples is
    less than a fifth of the gain of the trained ones. Within three epochs the regularization then takes its
    full weight, and the watched examples join the others.

    If nothing is memorised, the loss remains cross-entropy on nine tenths of the examples. If the share is
    above 0.3 when memorising is noticed, the model memorised labels as fast as it learnt anything. The memory
    then knows no better than the labels, and the loss becomes cross-entropy on all examples.

    With $u$ = `unpredicted` and $m$ the share less its error when memorising was noticed, and $r$ growing
    from 0 to 1,

    $$\ell = -\log p_y + \lambda \log\left(1 - \langle t_i, p \rangle\right) \qquad
      \lambda = 10\, r \min(1, u / 0.3)\, [m \leq 0.3]$$

    with targets $t_i$ as in `memory.early_learning_regularization`, of decay 0.8. Losses of trained examples
    are divided by 0.9 while the watched ones are left out, so that the mean over a batch keeps its scale.

    `update` and `value` need `indices`, under the rules of `memory.early_learning_regularization`. The loss
    of a watched example is 0 until memorising is noticed.

    This is our own combination and not a published method. The documentation shows how it was chosen, how it
    does on other data, and where it misses.

    Args:
      num_examples: > 0, in the training set. With fewer than some hundred, memorising is noticed late.
      num_classes: >= 2.
      dtype: of the memory, floating; bfloat16 halves it.

    Returns:
      A `RobustLoss` with a `RecommendedState`.

    Raises:
      TypeError: dtype is not floating; when called, indices are not integers.
      ValueError: an argument is out of range; when called, indices are missing or not shaped like the labels,
        or the logits have another number of classes.

    References:
      Liu, Niles-Weed, Razavian, Fernandez-Granda, Early-Learning Regularization Prevents Memorization of
      Noisy Labels, NeurIPS 2020, arXiv 2007.00151, equations 5 and 6.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.recommended(num_examples=1000, num_classes=10)
    >>> logits, labels, indices = jnp.zeros((1, 10)), jnp.array([3]), jnp.array([0])
    >>> losses, state = loss.apply(loss.init(), logits, labels, indices=indices)
    >>> bool(state.noticed_at < jnp.inf), float(state.early_learning.weight)
    (False, 0.0)
    """
    memory = early_learning_regularization(num_examples, num_classes, weight=0.0, decay=DECAY, dtype=dtype)

    def init_fn():
        return RecommendedState(memory.init(), _watching.nothing_watched(), jnp.full([], jnp.inf, float))

    def update_fn(state, logits, labels, *, where=None, indices=None):
        early_learning = memory.update(state.early_learning, logits, labels, where=where, indices=indices)
        recorded = _watching.watch(
            state.watch, logits, labels, indices, num_examples=num_examples, where=where
        )
        watch, noticed_at, weight = _notice(state, recorded, num_examples)
        early_learning = early_learning._replace(weight=weight.astype(early_learning.weight.dtype))
        return RecommendedState(early_learning, watch, noticed_at)

    def value_fn(state, logits, labels, *, where=None, indices=None):
        losses = memory.value(state.early_learning, logits, labels, where=where, indices=indices)
        of_watched = _ramp(state.watch, state.noticed_at)
        left_out = (1 - of_watched) / _watching.ONE_IN
        factor = jnp.where(_watching.is_watched(indices), of_watched, 1.0) / (1 - left_out)
        return losses * factor.astype(losses.dtype)

    return RobustLoss(init_fn, update_fn, value_fn)


def _notice(
    state: RecommendedState, recorded: WatchState, num_examples: int
) -> tuple[WatchState, Float[Array, ""], Float[Array, ""]]:
    """What is kept of what was recorded, when memorising was noticed, and the weight that follows."""
    # Once it was noticed, watched examples are trained on and tell nothing.
    noticed = jnp.isfinite(state.noticed_at)
    watch = jax.tree.map(lambda old, new: jnp.where(noticed, old, new), state.watch, recorded)
    watch = watch._replace(epochs=recorded.epochs)
    found = _watching.memorised_share(watch, num_examples)
    share = found.share - found.standard_error
    memorises = (share > NOTICED_ABOVE) & (found.gain_of_watched < SHARED_GAIN * found.gain)
    memorises &= watch.epochs > FIRST_EPOCHS
    noticed_at = jnp.where(memorises & ~noticed, watch.epochs, state.noticed_at)
    weight = WEIGHT * jnp.minimum(1.0, found.unpredicted / FULL_WEIGHT_FROM) * _ramp(watch, noticed_at)
    return watch, noticed_at, jnp.where(share <= TOO_LATE_ABOVE, weight, 0.0)


def _ramp(watch: WatchState, noticed_at: Float[Array, ""]) -> Float[Array, ""]:
    """From 0, when memorising is noticed, to 1, a few epochs later."""
    return jnp.clip((watch.epochs - noticed_at) / RAMP_EPOCHS, 0.0, 1.0)
