"""Which labels are probably wrong, judged from what was recorded."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from noisy_optax.audit import _share
from noisy_optax.audit._dynamics import Dynamics, mean_margin

# The model has learnt if its predictions lack less than this share of what the labels have of each class.
MAY_LACK = 0.2
LEVEL = 0.95


class Verdict(NamedTuple):
    """What an audit says of each label.

    Attributes:
      probability_wrong: floating `[num_examples]` in [0, 1].
      score: floating `[num_examples]`; the larger, the more probably the label is wrong. It ranks examples
        that have equal probabilities.
      suggested: int32 `[num_examples]`, the class that training predicted most often.
      share: floating `[61]`, how probable each share of wrong labels is; see `noise_rate`.
      learnt: boolean scalar, whether the model predicts all classes that the labels have. What it has not
        learnt looks like wrong labels. If it is False, every probability is 1/2 and all shares are equally
        probable.
    """

    probability_wrong: Float[Array, "examples"]
    score: Float[Array, "examples"]
    suggested: Int[Array, "examples"]
    share: Float[Array, "shares"]
    learnt: Bool[Array, ""]


class NoiseRate(NamedTuple):
    """An estimate of the share of wrong labels.

    Attributes:
      rate: floating scalar in [0, 1], the median.
      low: floating scalar in [0, 1], where the 95 % interval begins.
      high: floating scalar in [0, 1], where the 95 % interval ends.
    """

    rate: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]


def judge(dynamics: Dynamics, labels: ArrayLike) -> Verdict:
    r"""How probable it is that each label is wrong, and which label training preferred.

    Suppose that a share $r$ of the labels is wrong, and that a prediction of confidence $u$ is mistaken with
    probability $s(k u) = 1 / (1 + e^{k u})$. Then a prediction contradicts its label with probability

    $$(1 - r)\, s(k u) + r\, (1 - s(k u))$$

    Confident predictions that contradict the label thus tell how many labels are wrong. The confidence is the
    absolute margin, in units of its mean. `end_epoch` computes from the margins of each epoch how probable
    each $r$ is, all being as probable before. The prior for $k$ is log-normal with the median
    $2.5 \sqrt{0.27 / (d + 0.02)}$. Here $d$ is the share of examples in doubt, which have a mean margin over
    epochs of less than half of the average. A model that is in doubt of few examples is rarely mistaken where
    it is sure. The average over epochs, by their weights, is `share`.

    With the weighted mean over epochs $\bar m_i$ of the margin of example i, in units of the mean of
    $|\bar m|$, the log-odds are

    $$\log \frac{q_i}{1 - q_i} = \log \frac{r}{1 - r} - k\, \bar m_i$$

    and `probability_wrong` is the mean of $q_i$ over $r$ and $k$. The order of the examples is that of their
    mean margins: a label that a network learns late, or against what it has learned from other examples, has
    a small one.

    Replicas that were trained on the same labels are judged together, by the means of their margins and
    shares and by the sums of their votes.

    An example without weight is judged by what was recorded of it last. That is so if it was only recorded
    since the latest `end_epoch`, or if every label was predicted from the start. If no epoch has a weight,
    the latest margins stand for one epoch. An example that was never recorded counts for nothing. It is as
    probably wrong as the others are on average, and its own label is suggested.

    The model has learnt if its latest predictions, whichever examples they are for, have each class at least
    0.8 times as often as the labels, on average over the classes; more often counts as equally often.

    Its limits: an example whose right label is doubtful cannot be told from one whose label is wrong. Where
    many are doubtful, the interval of `noise_rate` is wide, and its lower end is 0.

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
      logits. Margins of probabilities, the weights of epochs and the probabilities are our own.

    >>> import jax.numpy as jnp, numpy as np, noisy_optax as nox
    >>> labels, dynamics = jnp.array([0, 0, 1, 1, 0, 1]), nox.audit.init(num_examples=6)
    >>> p = jnp.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.4])
    >>> logits = jnp.log(jnp.stack([p, 1 - p], axis=1))
    >>> for epoch in range(3):
    ...   dynamics = nox.audit.end_epoch(nox.audit.record(dynamics, jnp.arange(6), logits, labels))
    >>> verdict = nox.audit.judge(dynamics, labels)
    >>> np.asarray(verdict.probability_wrong).round(2)
    array([0.01, 0.02, 0.01, 0.02, 0.63, 0.1 ], dtype=float32)
    >>> verdict.suggested
    Array([0, 0, 1, 1, 1, 1], dtype=int32)
    """
    labels = _check(dynamics, labels)
    replicas = _flat(dynamics)
    known = jnp.any(replicas.latest_prediction >= 0, axis=0)
    vote, lead = _votes(replicas)
    margin = jnp.mean(mean_margin(replicas), axis=0)
    share = jnp.mean(jax.vmap(_share_of, (0, None))(replicas, known), axis=0)
    learnt = jnp.mean(jax.vmap(_lacking, (0, None))(replicas.latest_prediction, labels)) < MAY_LACK
    return Verdict(
        jnp.where(learnt, _share.probability_wrong(margin, known, share), 0.5),
        -margin,
        _winner(vote, lead, labels),
        jnp.where(learnt, share, jnp.asarray(_share.widths(), share.dtype) / np.sum(_share.widths())),
        learnt,
    )


def noise_rate(verdict: Verdict) -> NoiseRate:
    r"""The share of wrong labels, with a 95 % interval.

    The rate is the median of `verdict.share`, and the interval is the shortest that holds 95 % of it. The
    interval is not narrower than that of 200 examples would be, since the model behind it is only about
    right. It holds the truth in more than nine of ten runs on data that it was not designed on; the
    documentation shows how that was measured.

    Args:
      verdict: as `judge` returns it.

    Returns:
      A `NoiseRate`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> clean, confidence = jnp.arange(1000) % 10, jnp.linspace(0, 8, 1000)[:, None]
    >>> labels = jnp.where(jnp.arange(1000) % 7 == 0, (clean + 1) % 10, clean)
    >>> logits = confidence * jnp.eye(10)[clean]
    >>> dynamics = nox.audit.record(nox.audit.init(1000), jnp.arange(1000), logits, labels)
    >>> found = nox.audit.noise_rate(nox.audit.judge(nox.audit.end_epoch(dynamics), labels))
    >>> print(f"{jnp.mean(labels != clean):.0%} are wrong, estimated: {found.low:.0%} to {found.high:.0%}")
    14% are wrong, estimated: 7% to 20%
    """
    return NoiseRate(*_share.interval(jnp.asarray(verdict.share), LEVEL))


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


def _votes(replicas: Dynamics) -> tuple[Int[Array, "replicas n"], Float[Array, "replicas n"]]:
    """The vote, and the share of the weight by which it leads."""
    weighed = replicas.weight > 0
    weight = jnp.where(weighed, replicas.weight, jnp.ones_like(replicas.weight))
    return (
        jnp.where(weighed, replicas.vote, replicas.latest_prediction),
        jnp.where(weighed, replicas.lead / weight, jnp.ones_like(weight)),
    )


def _share_of(replica: Dynamics, known: Bool[Array, "n"]) -> Float[Array, "shares"]:
    """How probable each share of wrong labels is: by its epochs, or by the latest margins without them."""
    total = jnp.sum(replica.share)
    margin = replica.latest_margin
    by_latest = _share.posterior(_share.log_density(margin, known, _share.share_in_doubt(margin, known)))
    return jnp.where(total > 0, replica.share / jnp.where(total > 0, total, 1.0), by_latest)


def _lacking(predictions: Int[Array, "n"], labels: Int[Array, "n"]) -> Float[Array, ""]:
    """The share of each class's labels that the predictions, however placed, lack; the mean over classes."""
    known = predictions >= 0
    # Examples that were never recorded are sorted in front of all classes.
    given, predicted = jnp.sort(jnp.where(known, labels, -1)), jnp.sort(predictions)

    def count(of):
        found = jnp.searchsorted(of, labels, side="right") - jnp.searchsorted(of, labels, side="left")
        return found.astype(float)

    of_own_class = jnp.maximum(count(given), 1.0)
    # Each class counts once, whatever its number of labels.
    once = jnp.where(known, 1 / of_own_class, 0.0)
    covered = jnp.minimum(count(predicted) / of_own_class, 1.0)
    return 1 - jnp.sum(once * covered) / jnp.maximum(jnp.sum(once), 1.0)


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
