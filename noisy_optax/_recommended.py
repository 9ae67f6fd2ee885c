"""One fixed configuration for labels of unknown quality."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from noisy_optax import losses
from noisy_optax._checks import check_range
from noisy_optax.robust_loss import RobustLoss, scheduled

# Chosen on digits, see `recommended`: of the settings tried, the strongest that costs little where there is
# nothing to be robust against.
_LAST_Q = 1.0
_WEIGHT_DECAY = 3.5e-3
_MAX_PROBABILITY = 0.88


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
    """A loss and a transformation for labels of which neither the kind nor the rate of error is known.

    It combines four things. *The logits* are clipped by `losses.with_logit_clip` so that no probability
    exceeds 0.88, whatever the number of classes. *The loss* is `losses.relative_generalized_cross_entropy`,
    which weights an example by its label's probability relative to that of the predicted class. *Its q* grows
    from 0, cross-entropy, to 1 over the training, as in the dynamics-aware loss. *Weight decay*, several
    times what is usual, keeps the model from memorising single examples before q is high.

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
      decay_mask: which parameters to decay, as for `optax.add_decayed_weights`; by default all.

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

    clipped = losses.with_logit_clip(
        scheduled(
            losses.relative_generalized_cross_entropy, q=optax.linear_schedule(0.0, _LAST_Q, total_steps)
        ),
        losses.max_logit_norm(num_classes, max_probability=_MAX_PROBABILITY),
    )

    def update_fn(state, logits, labels, *, where=None, indices=None):
        _check_classes(logits, num_classes)
        return clipped.update(state, logits, labels, where=where, indices=indices)

    def value_fn(state, logits, labels, *, where=None, indices=None):
        _check_classes(logits, num_classes)
        return clipped.value(state, logits, labels, where=where, indices=indices)

    loss = RobustLoss(clipped.init, update_fn, value_fn)
    return Recommended(loss, optax.add_decayed_weights(weight_decay, decay_mask))


def _check_classes(logits: ArrayLike, num_classes: int) -> None:
    found = jnp.shape(logits)
    if not found or found[-1] != num_classes:
        raise ValueError(
            f"expected logits [..., {num_classes}], as num_classes says, got shape {list(found)}"
        )
