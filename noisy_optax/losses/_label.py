"""Checks and masks logits and labels, and reads probabilities in log space, in float32 or wider."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float


def prepare(
    logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
) -> tuple[Float[Array, "... classes"], Bool[Array, "... classes"]]:
    """Checks the inputs of a loss and brings them into one form.

    Returns:
      The logits, floating with at least 32 bits and the class axis last, and a mask of the same shape
      that marks the given label's class. Logits of masked-out examples are replaced by zeros, which cuts
      their gradient; a label outside `[0, C)` marks no class.
    """
    logits = jnp.asarray(logits)
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise TypeError(f"logits must be floating, got {logits.dtype} of shape {logits.shape}")
    if logits.ndim == 0 or not -logits.ndim <= axis < logits.ndim:
        raise ValueError(f"logits of shape {logits.shape} have no class axis {axis}")
    if logits.shape[axis] < 2:
        raise ValueError(
            f"expected at least 2 classes on axis {axis} of the logits, got shape {logits.shape}; for the "
            f"one logit z of a sigmoid pass jnp.concatenate([jnp.zeros_like(z), z], axis)"
        )
    logits = jnp.moveaxis(logits, axis, -1)
    labels = _within_32_bits(labels, logits.shape[-1])
    batch_shape = logits.shape[:-1]
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"labels must be integer class indices of shape {batch_shape}, got {labels.dtype} of shape "
            f"{labels.shape}; one-hot and soft labels are not supported: pass jnp.argmax(labels, axis)"
        )
    if labels.shape != batch_shape:
        raise ValueError(
            f"expected labels of shape {batch_shape} for logits with class axis last {logits.shape}, "
            f"got {labels.shape}"
        )
    if where is not None:
        where = example_mask(where, batch_shape)
        logits = jnp.where(where[..., None], logits, jnp.zeros_like(logits))
        labels = jnp.where(where, labels, jnp.zeros_like(labels))
    labels = at_least_32_bits(labels)
    classes = jnp.arange(logits.shape[-1], dtype=labels.dtype)
    is_label = labels[..., None] == jax.lax.broadcast(classes, batch_shape)
    return at_least_32_bits(logits), is_label


def _within_32_bits(labels: ArrayLike, num_classes: int) -> Array:
    """`labels` as a JAX array. JAX may cut 64 bits to 32, which would turn 2**32 into 0: it becomes -1."""
    if isinstance(labels, np.ndarray) and labels.dtype in (np.int64, np.uint64):
        labels = labels.astype(np.int64)
        labels = np.where((labels >= 0) & (labels < num_classes), labels, -1).astype(np.int32)
    return jnp.asarray(labels)


def at_least_32_bits(x: Array) -> Array:
    """Half precision as float32, and labels in a type that holds all classes: uint8 would turn 259 into 3."""
    if x.dtype.itemsize >= 4:
        return x
    return x.astype(jnp.float32 if jnp.issubdtype(x.dtype, jnp.floating) else jnp.int32)


def example_mask(where: ArrayLike, batch_shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """`where` as a boolean array of shape `batch_shape`, or an error that says what was expected."""
    where = jnp.asarray(where)
    if where.dtype != jnp.bool_:
        raise TypeError(f"where must be boolean, got {where.dtype} of shape {where.shape}")
    if where.shape != batch_shape:
        raise ValueError(f"expected where of shape {batch_shape}, like labels, got {where.shape}")
    return where


def finish(losses: Float[Array, "..."], where: ArrayLike | None) -> Float[Array, "..."]:
    """Turns values without a finite limit into NaN, gradient included, and masked-out ones into 0."""
    losses = losses * jnp.where(jnp.isfinite(losses), 1.0, jnp.nan).astype(losses.dtype)
    return losses if where is None else jnp.where(jnp.asarray(where), losses, jnp.zeros_like(losses))


def label_log_odds(
    logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
) -> Float[Array, "..."]:
    r"""Log-odds of the given label, $m = \log\frac{p}{1-p}$, where $p$ is its softmax probability.

    $m = z_y - \log\sum_{k \ne y} e^{z_k}$ keeps the full relative precision of both $p$ and $1 - p$, while
    `log_softmax` rounds $1 - p$ to a multiple of the machine epsilon.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices, `[...]`; outside `[0, C)` they give NaN in value and gradient.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; log-odds of examples that are False are finite and have zero gradient.

    Returns:
      float32 or wider, `[...]`. `-inf` logits are allowed; a NaN or `+inf` logit gives NaN.

    >>> import jax.numpy as jnp
    >>> label_log_odds(jnp.array([30.0, 0.0]), jnp.array(0))
    Array(30., dtype=float32)
    """
    return log_odds(*prepare(logits, labels, axis=axis, where=where))


def of_label(
    function: Callable[..., Float[Array, "..."]],
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int,
    where: ArrayLike | None,
    **hyperparameters: ArrayLike,
) -> Float[Array, "..."]:
    """The loss that is `function(log_odds, **hyperparameters)` of the given label's log-odds."""
    return finish(function(label_log_odds(logits, labels, axis=axis, where=where), **hyperparameters), where)


def log_odds(z: Float[Array, "... classes"], marked: Bool[Array, "... classes"]) -> Float[Array, "..."]:
    """Log-odds of the one marked class; NaN, gradient included, where none is marked."""
    return against_others(z, marked).log_odds


class AgainstOthers(NamedTuple):
    r"""The label's class against the others, of which class k has the share $e^{d_k} / e^T$.

    Write losses that sum over the other classes with these quantities. The gradient for each class is then a
    sum of few terms that do not cancel, and needs no further sums over classes.

    Attributes:
      log_odds: of the label, `[...]`.
      below_top: $d_k \le 0$, how far a class is below the largest of the others; `-inf` at the label.
      log_total: $T = \log \sum_k e^{d_k}$, `[...]`; 0 where no other class has any probability.
    """

    log_odds: Float[Array, "..."]
    below_top: Float[Array, "... classes"]
    log_total: Float[Array, "..."]

    def log_probabilities(self) -> Float[Array, "... classes"]:
        """log p of the other classes, `-inf` at the label; near p = 1 they are rounded."""
        return self.below_top + (log_complement(self.log_odds) - self.log_total)[..., None]

    def power_sum(self, q: ArrayLike) -> Float[Array, "..."]:
        """The sum of p^q over the other classes."""
        q = jnp.asarray(q, self.log_odds.dtype)
        shares = jnp.sum(jnp.exp(q * self.below_top), axis=-1)
        return shares * jnp.exp(q * (log_complement(self.log_odds) - self.log_total))


def against_others(z: Float[Array, "... classes"], marked: Bool[Array, "... classes"]) -> AgainstOthers:
    """Splits the classes into the one marked and the others; log-odds NaN where none is marked."""
    others = jnp.where(marked, -jnp.inf, z)
    top = jax.lax.stop_gradient(jnp.max(others, axis=-1))
    top = jnp.where(top == -jnp.inf, jnp.zeros_like(top), top)
    below_top = others - top[..., None]
    total = jnp.sum(jnp.exp(below_top), axis=-1)
    # If no other class has any probability, this is log(0), written so that its gradient is 0, not 0 * inf.
    alone = total == 0
    log_total = jnp.log(jnp.where(alone, jnp.ones_like(total), total))
    has_label = jnp.any(marked, axis=-1)
    # Without a marked class all logits are taken, so that every gradient is NaN, even if all logits are -inf.
    marked_logit = at_label(z, marked | ~has_label[..., None])
    defined = has_label & (jnp.maximum(marked_logit, top) < jnp.inf)
    log_odds = (marked_logit - top) - jnp.where(alone, -jnp.inf, log_total)
    log_odds *= jnp.where(defined, 1.0, jnp.nan).astype(z.dtype)
    return AgainstOthers(log_odds, below_top, log_total)


def at_label(
    values: Float[Array, "... classes"], is_label: Bool[Array, "... classes"]
) -> Float[Array, "..."]:
    """The value at the label's class."""
    return jnp.sum(jnp.where(is_label, values, jnp.zeros_like(values)), axis=-1)


def over_others(
    values: Float[Array, "... classes"], is_label: Bool[Array, "... classes"]
) -> Float[Array, "..."]:
    """The sum of the values over all classes except the label's."""
    return jnp.sum(jnp.where(is_label, jnp.zeros_like(values), values), axis=-1)


def prepare_all_classes(
    logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
) -> tuple[Float[Array, "... classes"], Bool[Array, "... classes"], Float[Array, "..."]]:
    """`prepare` for losses that look at every class.

    Returns:
      Logits and mask as `prepare` returns them, but zeros for examples without a label or with NaN, `+inf` or
      only `-inf` logits; and what to add to the losses: NaN, gradient included, for these, 0 for others.
      (A NaN from the start can get lost: compiled for a CPU, its exponential is now and then a number.)
    """
    z, is_label = prepare(logits, labels, axis=axis, where=where)
    defined = jnp.any(is_label, axis=-1) & jnp.all(z < jnp.inf, axis=-1) & jnp.any(z > -jnp.inf, axis=-1)
    zeros = jnp.zeros_like(z)
    bad = jnp.sum(jnp.where(defined[..., None], zeros, z), axis=-1)
    nothing_or_nan = bad * jnp.where(defined, 0.0, jnp.nan).astype(z.dtype)
    return jnp.where(defined[..., None], z, zeros), is_label, nothing_or_nan


def log1mexp(log_p: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 - p) for log p, as exact as log p. At p = 1 it is the least number, with zero gradient."""
    certain, likely = log_p == 0, log_p > -0.5
    # Both branches are differentiated, so each one gets a harmless value where the other is taken.
    near_one = jnp.where(likely & ~certain, log_p, -jnp.ones_like(log_p))
    near_zero = jnp.where(likely, -jnp.ones_like(log_p), log_p)
    log_complement = jnp.where(likely, jnp.log(-expm1(near_one)), jnp.log1p(-jnp.exp(near_zero)))
    return jnp.where(certain, jnp.finfo(log_p.dtype).min, log_complement)


def distance_below_top(
    z: Float[Array, "... classes"],
) -> tuple[Bool[Array, "... classes"], Float[Array, "... classes"]]:
    """A mask of the largest logit, and how far the others are below it, without the rounding of z - z."""
    is_top = jax.nn.one_hot(jnp.argmax(z, axis=-1), z.shape[-1], dtype=jnp.bool_)
    return is_top, jnp.where(is_top, jnp.zeros_like(z), at_label(z, is_top)[..., None] - z)


def log_odds_of(log_p: Float[Array, "..."]) -> Float[Array, "..."]:
    """Log-odds for log p, exact to rounding for p near 0; the inverse of `log_probability`."""
    return log_p - log1mexp(log_p)


def log_probability(log_odds: Float[Array, "..."]) -> Float[Array, "..."]:
    """log p for log-odds m, exact to rounding for p near 0 and near 1."""
    return jax.nn.log_sigmoid(log_odds)


def log_complement(log_odds: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(1 - p) for log-odds m, exact to rounding for p near 0 and near 1."""
    return jax.nn.log_sigmoid(-log_odds)


def label_log_probability(
    logits: ArrayLike, labels: ArrayLike, *, axis: int = -1, where: ArrayLike | None = None
) -> Float[Array, "..."]:
    """Log-probability of the given label, `log softmax(logits)[label]`.

    The same as `-cross_entropy`, except that it is `-inf` if the label's logit is `-inf`.

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices, `[...]`; outside `[0, C)` they give NaN in value and gradient.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0.

    Returns:
      float32 or wider, `[...]`.

    >>> import jax.numpy as jnp
    >>> label_log_probability(jnp.array([[0.0, 0.0], [-jnp.inf, 0.0]]), jnp.array([0, 0]))
    Array([-0.6931472,       -inf], dtype=float32)
    """
    log_p = log_probability(label_log_odds(logits, labels, axis=axis, where=where))
    return log_p if where is None else jnp.where(jnp.asarray(where), log_p, jnp.zeros_like(log_p))


@jax.custom_jvp
def expm1(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """e^x - 1 with the derivative e^x; JAX's own derivative adds 1 to the result, which loses small e^x."""
    return jnp.expm1(x)


expm1.defjvps(lambda tangent, _, x: tangent * jnp.exp(x))
