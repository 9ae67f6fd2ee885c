"""Which labels are probably wrong, judged from what was recorded."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from noisy_optax.audit._dynamics import Dynamics

# Slope of the log-odds in the margin, in units of the mean absolute margin. It was chosen on digits with
# seeds 0 to 4, and the benchmark scores it on other seeds.
STEEPNESS = 4.5
# Log-odds are limited to those of the probabilities 1e-12 and 1 - 1e-12.
LIMIT = 27.6310211159


class Verdict(NamedTuple):
    """What an audit says of each label.

    Attributes:
      probability_wrong: floating `[num_examples]` in [0, 1].
      score: floating `[num_examples]`; the larger, the more probably the label is wrong. It ranks examples
        that have equal probabilities.
      suggested: int32 `[num_examples]`, the class that training predicted most often.
      disagreement: floating scalar in [0, 1], the share of labels that were not predicted after a tenth of
        the epochs.
    """

    probability_wrong: Float[Array, "examples"]
    score: Float[Array, "examples"]
    suggested: Int[Array, "examples"]
    disagreement: Float[Array, ""]


class NoiseRate(NamedTuple):
    """An estimate of the share of wrong labels.

    Attributes:
      rate: floating scalar in [0, 1].
      standard_error: floating scalar, >= 0.
      low: floating scalar in [0, 1], where the 95 % interval begins.
      high: floating scalar in [0, 1], where the 95 % interval ends.
    """

    rate: Float[Array, ""]
    standard_error: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def judge(dynamics: Dynamics, labels: ArrayLike) -> Verdict:
    r"""How probable it is that each label is wrong, and which label training preferred.

    With $\bar m_i$, the weighted mean over epochs of the margin of example i, the log-odds are

    $$\log \frac{q_i}{1 - q_i} = -4.5\, \frac{\bar m_i}{\frac{1}{n} \sum_j |\bar m_j|} - c$$

    A label that a network learns late, or against what it has learned from other examples, has a small
    margin. If more labels had $q_i > 1/2$ than were not predicted after a tenth of the epochs, c is chosen so
    that there are not more; otherwise c is 0. The order of the examples does not depend on c.

    Replicas that were trained on the same labels are judged together, by the means of their margins and by
    the sums of their votes.

    An example without weight is judged by what was recorded of it last. That is so if it was only recorded
    since the latest `end_epoch`, or if every label was predicted from the start. An example that was never
    recorded has margin 0, and its own label is suggested.

    Args:
      dynamics: after the last `end_epoch`; all leading axes are replicas.
      labels: integer `[num_examples]`, the given labels.

    Returns:
      A `Verdict`.

    Raises:
      TypeError: labels are not integers.
      ValueError: labels have another shape.

    References:
      That the mean margin over epochs ranks wrong labels: Pleiss, Zhang, Elenberg, Weinberger, Identifying
      Mislabeled Data using the Area Under the Margin Ranking, NeurIPS 2020, arXiv 2001.10528, with margins of
      logits. Margins of probabilities, the weights of epochs and the log-odds are our own.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> labels, dynamics = jnp.array([0, 0, 1, 0]), nox.audit.init(num_examples=4)
    >>> logits = jnp.log(jnp.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.7, 0.3]]))
    >>> for epoch in range(3):
    ...   dynamics = nox.audit.end_epoch(nox.audit.record(dynamics, jnp.arange(4), logits, labels))
    >>> verdict = nox.audit.judge(dynamics, labels)
    >>> verdict.probability_wrong.round(2)
    Array([0.  , 0.01, 0.96, 0.04], dtype=float32)
    >>> verdict.suggested
    Array([0, 0, 0, 0], dtype=int32)
    """
    labels = _check(dynamics, labels)
    replicas = _flat(dynamics)
    margin, vote, lead = _means(replicas)
    margin = jnp.mean(margin, axis=0)
    disagreement = jnp.mean(_early_disagreement(replicas))
    unit = jnp.maximum(jnp.mean(jnp.abs(margin)), 1e-30)
    log_odds = no_more_than(jnp.clip(-STEEPNESS * margin / unit, -LIMIT, LIMIT), disagreement)
    return Verdict(jax.nn.sigmoid(log_odds), -margin, _winner(vote, lead, labels), disagreement)


def noise_rate(verdict: Verdict) -> NoiseRate:
    r"""The share of labels that are more probably wrong than right, with a 95 % interval.

    With the probabilities $q_i$ and the share $r$ of those above 1/2, the standard error is

    $$s = \sqrt{\frac{r (1 - r)}{n} + \frac{1}{4} \left(\frac{1}{n} \sum_i \min(q_i, 1 - q_i)\right)^2}$$

    The second term is half of the share of mistakes that the probabilities themselves expect, since mistakes
    may all be of one kind. The interval is r - 1.96 s to r + 1.96 s, and reaches at least up to the early
    disagreement, in which wrong labels are counted together with those that are only hard.

    Args:
      verdict: as `judge` returns it.

    Returns:
      A `NoiseRate`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> p = jnp.array([0.0, 0.0, 0.0, 1.0])
    >>> verdict = nox.audit.Verdict(p, score=p, suggested=jnp.zeros(4, int), disagreement=jnp.array(0.5))
    >>> nox.audit.noise_rate(verdict).rate
    Array(0.25, dtype=float32)
    """
    p = jnp.asarray(verdict.probability_wrong)
    rate = jnp.mean(p > 0.5, dtype=p.dtype)
    mistakes = jnp.mean(jnp.minimum(p, 1 - p))
    error = jnp.sqrt(rate * (1 - rate) / p.size + mistakes**2 / 4)
    reach = jnp.maximum(rate + 1.96 * error, jnp.asarray(verdict.disagreement, p.dtype))
    return NoiseRate(rate, error, jnp.maximum(rate - 1.96 * error, 0.0), jnp.minimum(reach, 1.0))


def no_more_than(log_odds: Float[Array, "examples"], share: Float[Array, ""]) -> Float[Array, "examples"]:
    """The log-odds, lowered so that at most a share of them is positive."""
    examples = len(log_odds)
    allowed = jnp.floor(share * examples).astype(jnp.int32)
    falling = jnp.sort(log_odds, descending=True)
    # Half way between the last that may be positive and the first that may not.
    first_not = jnp.take(falling, allowed, mode="clip")
    last = jnp.where(allowed > 0, jnp.take(falling, allowed - 1, mode="clip"), first_not)
    too_many = jnp.sum(log_odds > 0) > allowed
    return log_odds - jnp.where(too_many, (last + first_not) / 2, 0.0)


def _check(dynamics: Dynamics, labels: ArrayLike) -> Int[Array, "examples"]:
    labels, shape = jnp.asarray(labels), dynamics.margin.shape[-1:]
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integers, got {labels.dtype} of shape {labels.shape}")
    if labels.shape != shape:
        raise ValueError(f"expected labels of shape {shape}, one for each example, got {labels.shape}")
    return labels.astype(jnp.int32)


def _flat(dynamics: Dynamics) -> Dynamics:
    """The dynamics with one axis over all replicas."""
    leading = jnp.ndim(dynamics.epochs)
    return jax.tree.map(lambda x: jnp.reshape(x, (-1, *jnp.shape(x)[leading:])), dynamics)


def _means(
    replicas: Dynamics,
) -> tuple[Float[Array, "replicas n"], Int[Array, "replicas n"], Float[Array, "replicas n"]]:
    """Mean margin, vote and the share of the weight by which it leads."""
    weighed = replicas.weight > 0
    weight = jnp.where(weighed, replicas.weight, jnp.ones_like(replicas.weight))
    return (
        jnp.where(weighed, replicas.margin / weight, replicas.latest_margin),
        jnp.where(weighed, replicas.vote, replicas.latest_prediction),
        jnp.where(weighed, replicas.lead / weight, jnp.ones_like(weight)),
    )


def _early_disagreement(replicas: Dynamics) -> Float[Array, "replicas"]:
    """Share of the labels that each replica did not predict after a tenth of the epochs."""
    early = replicas.epochs[:, None] // 10
    return jnp.take_along_axis(replicas.unpredicted, early, axis=1, mode="clip")[:, 0]


def _winner(
    vote: Int[Array, "replicas n"], lead: Float[Array, "replicas n"], labels: Int[Array, "n"]
) -> Int[Array, "n"]:
    """The class with the largest sum of leads, the lowest of several, and the label where there is none."""
    same = vote[:, None] == vote[None, :]
    total = jnp.sum(jnp.where(same, lead[None], jnp.zeros_like(lead)[None]), axis=1)
    total = jnp.where(vote >= 0, total, -1.0)
    is_winner = (vote >= 0) & (total == jnp.max(total, axis=0)[None])
    none = jnp.iinfo(jnp.int32).max
    winner = jnp.min(jnp.where(is_winner, vote, none), axis=0)
    return jnp.where(winner == none, labels, winner)
