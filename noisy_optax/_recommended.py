"""One fixed configuration for labels of unknown quality."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._logit_norm import clip_norm
from noisy_optax.robust_loss import RobustLoss, scheduled

# Chosen on digits, see `recommended`: of the settings tried, the strongest that costs little where there is
# nothing to be robust against.
_LAST_Q = 1.0
_WEIGHT_DECAY = 3.5e-3
_LARGEST_PROBABILITY = 0.88


class Recommended(NamedTuple):
    """A loss and a transformation that are meant for each other.

    Attributes:
      loss: its state goes along with the parameters.
      transformation: goes in front of the optimizer.
    """

    loss: RobustLoss
    transformation: optax.GradientTransformation


def recommended(
    num_classes: int,
    total_steps: int,
    *,
    weight_decay: float | optax.Schedule = _WEIGHT_DECAY,
    decay_mask: Any = None,
) -> Recommended:
    r"""A loss and a transformation for labels of which neither the kind nor the rate of error is known.

    Four things are combined. *The logits* are clipped, $z \leftarrow z \min(1, b / \|z\|_2)$, to the norm $b$
    at which no probability exceeds 0.88, whatever the number of classes. *The loss* weighs an example by how
    probable its label is next to the class that the model prefers: with $P = \max_k p_k$, held constant for
    the gradient,

    $$\ell = \frac{1 - p_y^q}{q\,P^q}, \qquad
      \nabla_z \ell = \left(\frac{p_y}{P}\right)^q (p - e_y)$$

    Its optimum is that of generalized cross-entropy, but an undecided model, or one of many classes, learns
    from it as fast as from cross-entropy. *Its q* grows from 0, cross-entropy, to 1 over the training, in the
    manner of the dynamics-aware loss. *Weight decay*, several times what is usual, keeps the model from
    memorising single examples before q is high.

    Logits are only clipped for the loss; the model's own probabilities may come out higher than 0.88.

    This is our own combination and not a published method. It was chosen on scikit-learn's digits, by the
    cells clean, symmetric 40, 60 and 80 %, pair 30 % and instance-dependent 40 %, and on 5,000 images of
    CIFAR-10 with human labels; the documentation shows how it does there and elsewhere, and where it misses.

    Args:
      num_classes: >= 2.
      total_steps: > 0; how often `loss.update` will be called. Later calls keep the last q.
      weight_decay: >= 0, times the parameters is added to the gradients; in addition to what the optimizer
        has. Meant for optimizers whose steps are proportional to the gradient, such as SGD: for one that
        rescales gradients, as Adam does, pass 0 here and give the decay to the optimizer.
      decay_mask: as of `optax.add_decayed_weights`, which parameters to decay; by default all.

    Returns:
      A `Recommended` pair. The state of the loss shows q as `state.hyperparameters`.

    Raises:
      ValueError: an argument is out of range, or, later, logits have another number of classes.

    >>> import jax.numpy as jnp, optax, noisy_optax as nox
    >>> loss, transformation = nox.recommended(num_classes=10, total_steps=1000)
    >>> optimizer = optax.chain(transformation, optax.sgd(0.1, momentum=0.9))
    >>> logits, labels = jnp.zeros((1, 10)), jnp.array([3])
    >>> state = loss.update(loss.init(), logits, labels)
    >>> loss.value(state, logits, labels) # in the first step, cross-entropy
    Array([2.3025851], dtype=float32)
    """
    check_range("num_classes", num_classes, at_least=2)
    check_range("total_steps", total_steps, above=0)
    if not callable(weight_decay):
        check_range("weight_decay", weight_decay, at_least=0.0)

    loss = functools.partial(relative_generalized_cross_entropy, largest_norm=largest_norm(num_classes))
    inner = scheduled(loss, q=optax.linear_schedule(0.0, _LAST_Q, total_steps))

    def update_fn(state, logits, labels, *, where=None, indices=None):
        _check_classes(logits, num_classes)
        return inner.update(state, logits, labels, where=where, indices=indices)

    def value_fn(state, logits, labels, *, where=None, indices=None):
        _check_classes(logits, num_classes)
        return inner.value(state, logits, labels, where=where, indices=indices)

    robust = RobustLoss(inner.init, update_fn, value_fn)
    return Recommended(robust, optax.add_decayed_weights(weight_decay, decay_mask))


def largest_norm(num_classes: int) -> float:
    """The norm of logits at which the largest probability is at most 0.88, about 4 for ten classes."""
    log_odds = math.log(_LARGEST_PROBABILITY / (1 - _LARGEST_PROBABILITY))
    return (log_odds + math.log(num_classes - 1)) * math.sqrt((num_classes - 1) / num_classes)


def relative_generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike,
    largest_norm: ArrayLike,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    """The loss of `recommended` for a given q >= 0."""
    z, is_label, undefined = _label.prepare_all_classes(logits, labels, axis=axis, where=where)
    z = clip_norm(z, largest_norm)
    q = jnp.asarray(q, z.dtype)
    log_p = _label.log_probability(_label.log_odds(z, is_label))
    is_zero = q == 0
    # Each branch sees a harmless q where the other is taken.
    some_q = jnp.where(is_zero, jnp.ones_like(q), q)
    power = jnp.where(is_zero, -log_p, -_label.expm1(some_q * log_p) / some_q)
    log_top = jnp.max(z, axis=-1) - jax.nn.logsumexp(z, axis=-1)
    power *= jax.lax.stop_gradient(jnp.exp(-q * log_top))
    return _label.finish(power + undefined, where)


def _check_classes(logits: ArrayLike, num_classes: int) -> None:
    found = jnp.shape(logits)
    if not found or found[-1] != num_classes:
        raise ValueError(
            f"expected logits [..., {num_classes}], as num_classes says, got shape {list(found)}"
        )
