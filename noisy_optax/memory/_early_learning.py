"""Early-learning regularization: keeps predictions close to the model's own earlier predictions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from noisy_optax._checks import check_range, is_concrete
from noisy_optax.losses import _cross_entropy, _label
from noisy_optax.memory import _rows
from noisy_optax.robust_loss import Loss, RobustLoss

# Probabilities are limited to [MARGIN, 1 - MARGIN], with zero gradient beyond.
MARGIN = 1e-4


class EarlyLearningState(NamedTuple):
    """State of `early_learning_regularization`.

    Attributes:
      count: int32 scalar, how many times `update` was called.
      weight: floating scalar, the weight of the regularization in the latest step.
      targets: floating, `[num_examples, num_classes]`, the running mean of each example's predictions; zeros
        until the example is seen. May be sharded over examples.
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # optax's name, and tuple's
    weight: Float[Array, ""]
    targets: Float[Array, "examples classes"]


def early_learning_regularization(
    num_examples: int,
    num_classes: int,
    *,
    base: Loss = _cross_entropy.cross_entropy,
    weight: float | optax.Schedule = 3.0,
    decay: float = 0.7,
    dtype: DTypeLike = jnp.float32,
) -> RobustLoss:
    r"""Early-learning regularization (ELR): rewards agreement with the model's own running predictions.

    Let $p$ be the softmax, limited to [1e-4, 1 - 1e-4], and $t_i$ the target of example i, at first 0.

    $$t_i \leftarrow \beta\, t_i + (1 - \beta)\, \frac{p}{\sum_k p_k} \qquad
      \ell = \ell_{\text{base}} + \lambda \log\left(1 - \langle t_i, p \rangle\right)$$

    A network learns the right labels first. The targets remember these early predictions, and the gradient of
    the second term keeps later predictions close to them. No gradient flows through the targets. Use it if
    the network memorises wrong labels; otherwise the regularization costs accuracy.

    `update` and `value` need `indices`: which example of the data set each row is. An index outside
    `[0, num_examples)` writes nothing and reads zeros, like an example that was never seen. A row also writes
    nothing if `where` excludes it, if it has a non-finite logit, or if its label is outside
    `[0, num_classes)`. Rows with the same index write the mean of their new targets. The result does not
    depend on the number of devices. The memory is `num_examples * num_classes` numbers.

    Args:
      num_examples: > 0, in the training set.
      num_classes: >= 2.
      base: the loss that is regularized, cross-entropy in the paper.
      weight: lambda, >= 0, or a function of the 0-based step. In the paper 3 (CIFAR-10, symmetric noise),
        1 (asymmetric noise), 7 (CIFAR-100).
      decay: beta, in [0, 1). In the paper 0.7 (CIFAR-10, symmetric noise), 0.9 (others).
      dtype: the floating type of the targets; bfloat16 halves the memory.

    Returns:
      A `RobustLoss` with an `EarlyLearningState`. Losses are at least the base's plus
      `weight * log(1e-4)`, and may be negative.

    Raises:
      TypeError: dtype is not floating; when called, indices are not integers.
      ValueError: an argument is out of range; when called, indices are missing or not shaped like the labels,
        or the logits have another number of classes.

    References:
      Liu, Niles-Weed, Razavian, Fernandez-Granda, Early-Learning Regularization Prevents Memorization of
      Noisy Labels, NeurIPS 2020, arXiv 2007.00151, equations 5 and 6.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> elr = nox.memory.early_learning_regularization(num_examples=100, num_classes=2, decay=0.5)
    >>> logits, labels, indices = jnp.array([[2.0, 0.0]]), jnp.array([0]), jnp.array([7])
    >>> losses, state = elr.apply(elr.init(), logits, labels, indices=indices)
    >>> state.targets[7].round(2)
    Array([0.44, 0.06], dtype=float32)
    """
    check_range("num_examples", num_examples, above=0)
    check_range("num_classes", num_classes, at_least=2)
    if is_concrete(weight):
        check_range("weight", weight, at_least=0.0)
    check_range("decay", decay, at_least=0.0, below=1.0)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"dtype must be floating, got {jnp.dtype(dtype)}")

    def weight_at(count):
        return jnp.asarray(weight(count) if callable(weight) else weight, dtype=float)

    def init_fn():
        count = jnp.zeros([], jnp.int32)
        return EarlyLearningState(count, weight_at(count), jnp.zeros((num_examples, num_classes), dtype))

    def update_fn(state, logits, labels, *, where=None, indices=None):
        z, _, indices, valid = _rows.batch_of(logits, labels, indices, where, num_classes)
        p = _limited_softmax(z)
        new = (1 - decay) * (p / jnp.sum(p, axis=-1, keepdims=True))
        new += decay * _rows.read(state.targets, indices).astype(z.dtype)
        targets = _rows.write_mean(state.targets, indices, new, valid)
        return EarlyLearningState(optax.safe_increment(state.count), weight_at(state.count), targets)

    def value_fn(state, logits, labels, *, where=None, indices=None):
        z, _, indices, _ = _rows.batch_of(logits, labels, indices, where, num_classes)
        targets = _rows.read(state.targets, indices).astype(z.dtype)
        losses = base(logits, labels, where=where)
        agreement = jnp.sum(targets * _limited_softmax(z), axis=-1).reshape(losses.shape)
        regularized = losses + state.weight.astype(losses.dtype) * jnp.log1p(-agreement)
        return _label.finish(regularized, where)

    return RobustLoss(init_fn, update_fn, value_fn)


def _limited_softmax(z: Float[Array, "n classes"]) -> Float[Array, "n classes"]:
    return jnp.clip(jax.nn.softmax(z, axis=-1), MARGIN, 1 - MARGIN)
