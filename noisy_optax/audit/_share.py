"""The share of wrong labels, from how often confident predictions contradict the labels."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# Shares of wrong labels, and slopes by which the log-odds of a mistake fall with confidence.
SHARES = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-6.0, 2.5, 60)))])
SLOPES = np.exp(np.linspace(np.log(0.1), np.log(30.0), 24))
# The prior of the slope is log-normal. Its median is 2.5 if a quarter of the examples is in doubt, and larger
# if fewer are: a model that is sure of almost every example is rarely mistaken where it is sure.
MEDIAN_SLOPE, USUAL_DOUBT, LEAST_DOUBT, PRIOR_DEVIATION = 2.5, 0.25, 0.02, 0.5
# The model is only about right, so that no number of examples counts for more than this number.
MOST_EXAMPLES = 200.0
# Confidences are counted in so many steps up to the largest, in units of the mean.
STEPS, LARGEST = 48, 4.0


def log_density(
    margin: Float[Array, "examples"], counts: Bool[Array, "examples"], doubt: Float[Array, ""]
) -> Float[Array, "shares slopes"]:
    r"""How well each share of wrong labels and each slope explain the margins, as a logarithm.

    With the share $r$, the slope $k$, and the confidence $u$ of a prediction, the absolute margin in units of
    the mean, the label is another than the predicted class with probability

    $$(1 - r)\, s(k u) + r\, (1 - s(k u)) \qquad s(x) = 1 / (1 + e^x)$$

    A prediction without confidence is as often mistaken as right. Confident predictions are rarely mistaken,
    and contradict the label only if the label is wrong. How rarely is known before by `doubt`, as
    `share_in_doubt` computes it from the mean margins over epochs.
    """
    number = jnp.maximum(jnp.sum(counts), 1).astype(margin.dtype)
    size = jnp.abs(margin)
    steps = jnp.floor(size / unit_of(margin, counts) * (STEPS / LARGEST)).astype(jnp.int32)
    step = jnp.where(margin < 0, STEPS, 0) + jnp.minimum(steps, STEPS - 1)
    of_step = jnp.zeros(2 * STEPS, margin.dtype).at[step].add(counts.astype(margin.dtype)) / number
    confidence = (np.arange(STEPS) + 0.5) * (LARGEST / STEPS)
    mistaken = jax.nn.sigmoid(-jnp.asarray(SLOPES[:, None] * confidence, margin.dtype))[None]
    shares = jnp.asarray(SHARES[:, None, None], margin.dtype)
    contradicts = jnp.clip(shares + (1 - 2 * shares) * mistaken, 1e-6, 1 - 1e-6)
    explained = jnp.log1p(-contradicts) @ of_step[:STEPS] + jnp.log(contradicts) @ of_step[STEPS:]
    worth = number * MOST_EXAMPLES / (number + MOST_EXAMPLES)
    median = MEDIAN_SLOPE * jnp.sqrt((USUAL_DOUBT + LEAST_DOUBT) / (doubt + LEAST_DOUBT))
    off = jnp.asarray(np.log(SLOPES), margin.dtype) - jnp.log(median).astype(margin.dtype)
    return worth * explained - 0.5 * (off[None] / PRIOR_DEVIATION) ** 2


def share_in_doubt(
    mean_margin: Float[Array, "examples"], counts: Bool[Array, "examples"]
) -> Float[Array, ""]:
    """The share of examples with less than half of the mean confidence.

    In a single epoch, a network is sure of almost everything. On average over epochs, it is sure only of what
    it predicts alike each time.
    """
    doubtful = counts & (jnp.abs(mean_margin) < 0.5 * unit_of(mean_margin, counts))
    number = jnp.maximum(jnp.sum(counts), 1).astype(mean_margin.dtype)
    return jnp.sum(doubtful).astype(mean_margin.dtype) / number


def unit_of(margin: Float[Array, "examples"], counts: Bool[Array, "examples"]) -> Float[Array, ""]:
    """The mean confidence, which is never zero."""
    number = jnp.maximum(jnp.sum(counts), 1).astype(margin.dtype)
    return jnp.maximum(jnp.sum(jnp.abs(margin), where=counts) / number, 1e-30)


def posterior(density: Float[Array, "shares slopes"]) -> Float[Array, "shares"]:
    """The probability of each share, whatever the slope, if all shares were as probable before."""
    of_share = jax.nn.logsumexp(density, axis=1) + jnp.log(jnp.asarray(widths(), density.dtype))
    return jax.nn.softmax(of_share)


def widths() -> np.ndarray:
    """How much of [0, 1] each of the shares stands for."""
    return np.gradient(SHARES)


def probability_wrong(
    margin: Float[Array, "examples"],
    counts: Bool[Array, "examples"],
    share: Float[Array, "shares"],
) -> Float[Array, "examples"]:
    r"""The probability that each label is wrong, given how probable each share of wrong labels is.

    For one share and slope, the log-odds are $\log \frac{r}{1 - r} - k m$ with the margin $m$ in units of the
    mean confidence. This is the mean over shares and slopes.
    """
    density = log_density(margin, counts, share_in_doubt(margin, counts))
    slopes = jax.nn.softmax(density, axis=1)
    together = (share[:, None] * slopes).astype(margin.dtype)
    grid = np.linspace(-LARGEST, LARGEST, 4 * STEPS + 1)
    with np.errstate(divide="ignore"):
        prior_odds = np.log(SHARES / (1 - SHARES))
    log_odds = jnp.asarray(prior_odds[:, None, None] - SLOPES[:, None] * grid, margin.dtype)
    on_grid = jnp.einsum("rk,rkm->m", together, jax.nn.sigmoid(log_odds))
    return jnp.interp(margin / unit_of(margin, counts), jnp.asarray(grid, margin.dtype), on_grid)


def interval(
    share: Float[Array, "shares"], level: float
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The median, and where the shortest set of shares with this probability begins and ends."""
    values = jnp.asarray(SHARES, share.dtype)
    median = values[jnp.searchsorted(jnp.cumsum(share), 0.5)]
    densest = jnp.argsort(-share / jnp.asarray(widths(), share.dtype))
    before = jnp.cumsum(share[densest]) - share[densest]
    inside = jnp.zeros(share.shape, bool).at[densest].set(before < level)
    return median, jnp.min(values, initial=1.0, where=inside), jnp.max(values, initial=0.0, where=inside)
