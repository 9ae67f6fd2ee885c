"""What is recorded of each example while a model trains."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from noisy_optax._checks import check_range
from noisy_optax.audit import _share
from noisy_optax.losses import _label
from noisy_optax.memory import _rows


class Dynamics(NamedTuple):
    """How the prediction for each example compared with its label, in the epochs of a training.

    All arrays may have leading axes over replicas. The arrays over examples may be sharded.

    Attributes:
      epochs: int32 scalar, how many epochs have ended.
      share: floating `[61]`, the weighted sum over epochs of how probable each share of wrong labels was,
        judged by that epoch alone. The shares are those of `_share.SHARES`.
      margin: floating `[num_examples]`, the weighted sum over epochs of the probability of the label less
        that of the most probable other class.
      weight: floating `[num_examples]`, the sum of the weights of the epochs that recorded the example.
      vote: int32 `[num_examples]`, the class that was predicted most often, by the majority vote of Boyer and
        Moore. A class with more than half of the weight is always found.
      lead: floating `[num_examples]`, by how much weight the vote leads.
      latest_margin: floating `[num_examples]`, the margin that was recorded last; 0 before the first.
      latest_prediction: int32 `[num_examples]`, the class that was predicted last; -1 before the first.
      recorded: boolean `[num_examples]`, whether the example was recorded since the latest epoch ended.
    """

    epochs: Int[Array, "..."]
    share: Float[Array, "... shares"]
    margin: Float[Array, "... examples"]
    weight: Float[Array, "... examples"]
    vote: Int[Array, "... examples"]
    lead: Float[Array, "... examples"]
    latest_margin: Float[Array, "... examples"]
    latest_prediction: Int[Array, "... examples"]
    recorded: Bool[Array, "... examples"]


def init(num_examples: int) -> Dynamics:
    """The dynamics before the first step.

    They are seven arrays of `num_examples` numbers and a small one, whatever the number of classes. For
    replicas, call it in `jax.vmap(lambda _: nox.audit.init(num_examples))(keys)`.

    Args:
      num_examples: > 0, in the data set.

    Raises:
      ValueError: num_examples is out of range.

    >>> import noisy_optax as nox
    >>> nox.audit.init(num_examples=3).latest_prediction
    Array([-1, -1, -1], dtype=int32)
    """
    check_range("num_examples", num_examples, above=0)

    # An array for each, since a caller who donates the state may not donate one array twice.
    def zeros():
        return jnp.zeros(num_examples, float)

    def classes(value):
        return jnp.full(num_examples, value, jnp.int32)

    return Dynamics(
        epochs=jnp.zeros([], jnp.int32),
        share=jnp.zeros(len(_share.SHARES), float),
        margin=zeros(),
        weight=zeros(),
        vote=classes(0),
        lead=zeros(),
        latest_margin=zeros(),
        latest_prediction=classes(-1),
        recorded=jnp.zeros(num_examples, bool),
    )


def record(
    dynamics: Dynamics,
    indices: ArrayLike | None,
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
) -> Dynamics:
    r"""Records a batch, from the logits that a step computes before it changes the parameters.

    With the softmax $p$ of the logits of example i and its label $y$, the margin is

    $$m_i = p_y - \max_{k \ne y} p_k$$

    The margin and the most probable class replace those that were recorded before. No gradient flows. A row
    writes nothing if `where` excludes it, if it has a non-finite logit, or if its label or index is out of
    range. Rows with the same index write the mean of their margins and the largest of their predicted
    classes, so the order of the rows does not matter. The result does not depend on the number of devices.

    Args:
      dynamics: as `init` or `end_epoch` returned it; for replicas, use `jax.vmap`.
      indices: integer `[...]`, which example of the data set each row is.
      logits: floating `[..., C]`.
      labels: integer `[...]`, the given labels.
      where: boolean `[...]`, or None.

    Returns:
      The new dynamics.

    Raises:
      TypeError: logits are not floating, labels or indices not integers, or where is not boolean.
      ValueError: shapes do not match.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits = jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25]]))
    >>> dynamics = nox.audit.record(nox.audit.init(3), jnp.array([2, 0]), logits, jnp.array([0, 1]))
    >>> dynamics.latest_margin.round(3)
    Array([-0.5,  0. ,  0.5], dtype=float32)
    """
    logits = jax.lax.stop_gradient(jnp.asarray(logits))
    z, is_label, indices, valid = _rows.batch_of(logits, labels, indices, where)
    predictions = jnp.argmax(z, axis=-1).astype(jnp.int32)
    target = _rows.target_rows(len(dynamics.recorded), indices, valid)
    return dynamics._replace(
        latest_margin=_rows.write_mean(dynamics.latest_margin, indices, margins(z, is_label), valid),
        latest_prediction=_rows.write_largest(dynamics.latest_prediction, indices, predictions, valid),
        recorded=dynamics.recorded.at[target].set(True, mode="drop"),
    )


def end_epoch(dynamics: Dynamics, *, where: ArrayLike | None = None) -> Dynamics:
    r"""Adds what an epoch recorded, with a weight that says how much the epoch tells about the labels.

    With the margins $m_i$ of the examples that were recorded in the epoch, the weight is

    $$w = \text{var}(m)^2 \, n^4 \qquad n = \frac{|\{i : m_i < 0\}|}{|\{i\}|}$$

    Before anything is learned, all margins are alike. Once wrong labels are memorised, few margins are
    negative. In between, the weight is large.

    Each epoch also says what share of the labels is probably wrong, as `judge` explains. The epochs disagree:
    early ones take what is not learned yet for wrong, and late ones take what is memorised for right.
    Therefore they are not multiplied but averaged, with the weight $\text{var}(m)^3 \, n^3$.

    An example that was recorded twice counts with the later record. An epoch that recorded nothing changes
    nothing. Call it after each pass over the data set. A loop without epochs may call it after every
    `num_examples / batch_size` steps.

    Args:
      dynamics: as `record` returned it; for replicas, use `jax.vmap`.
      where: boolean `[num_examples]`, or None: the examples that the weight is computed from. Exclude those
        that are not trained on. If they were recorded, they are added with the weight of the others.

    Returns:
      The new dynamics.

    Raises:
      TypeError: where is not boolean.
      ValueError: where has another shape.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> logits = jnp.log(jnp.array([[0.75, 0.25], [0.75, 0.25]]))
    >>> dynamics = nox.audit.record(nox.audit.init(3), jnp.array([2, 0]), logits, jnp.array([0, 1]))
    >>> nox.audit.end_epoch(dynamics).weight # 0.25^2 * 0.5^4, and nothing for what was not there
    Array([0.00390625, 0. , 0.00390625], dtype=float32)
    """
    recorded = dynamics.recorded
    counts = recorded if where is None else recorded & _label.example_mask(where, recorded.shape)
    weight, weight_of_share = epoch_weights(dynamics.latest_margin, counts)
    added = jnp.where(recorded, weight, jnp.zeros_like(weight))
    lead = dynamics.lead + jnp.where(dynamics.vote == dynamics.latest_prediction, added, -added)
    dynamics = dynamics._replace(
        margin=dynamics.margin + added * dynamics.latest_margin, weight=dynamics.weight + added
    )
    doubt = _share.share_in_doubt(mean_margin(dynamics), counts)
    share = weight_of_share * _share.posterior(_share.log_density(dynamics.latest_margin, counts, doubt))
    return dynamics._replace(
        epochs=dynamics.epochs + jnp.any(counts).astype(jnp.int32),
        share=dynamics.share + share.astype(dynamics.share.dtype),
        vote=jnp.where(lead < 0, dynamics.latest_prediction, dynamics.vote),
        lead=jnp.abs(lead),
        recorded=jnp.zeros_like(recorded),
    )


def mean_margin(dynamics: Dynamics) -> Float[Array, "... examples"]:
    """The weighted mean over epochs; the latest margin of an example without weight."""
    weighed = dynamics.weight > 0
    weight = jnp.where(weighed, dynamics.weight, jnp.ones_like(dynamics.weight))
    return jnp.where(weighed, dynamics.margin / weight, dynamics.latest_margin)


def margins(z: Float[Array, "n classes"], is_label: Bool[Array, "n classes"]) -> Float[Array, "n"]:
    """Probability of the label less that of the most probable other class, in [-1, 1]."""
    p = jax.nn.softmax(z, axis=-1)
    zeros = jnp.zeros_like(p)
    own = jnp.sum(jnp.where(is_label, p, zeros), axis=-1)
    return own - jnp.max(jnp.where(is_label, zeros, p), axis=-1)


def epoch_weights(
    margin: Float[Array, "examples"], counts: Bool[Array, "examples"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The weight of an epoch in the mean margins and in the share, from the examples that count.

    The powers of the first were chosen on digits, seeds 0 to 4, and on a part of CIFAR-10N: they rank best.
    The power of the second was chosen on the design half of the calibration. With a larger one, less depends
    on epochs in which labels are memorised, and the intervals of hard data are too narrow.
    """
    number = jnp.maximum(jnp.sum(counts), 1).astype(margin.dtype)
    mean = jnp.sum(margin, where=counts) / number
    variance = jnp.sum((margin - mean) ** 2, where=counts) / number
    negative = jnp.sum(counts & (margin < 0)).astype(margin.dtype) / number
    return variance**2 * negative**4, (variance * negative) ** 3
