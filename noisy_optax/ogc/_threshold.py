"""The clipping threshold, from a bound on the ratio of the slopes of wrong to those of right labels."""

import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from noisy_optax._checks import check_range
from noisy_optax.losses import _of_probability
from noisy_optax.losses._of_probability import PROBABILITY_MIN
from noisy_optax.ogc._mixture import Mixture
from noisy_optax.robust_loss import Loss

Mode = Literal["default", "published"]

# The published grid: the mixture lives on H = -log p, where p is limited to [1e-7, 1 - 1e-7].
H_MIN = float(-np.log1p(-PROBABILITY_MIN))
H_MAX = float(-np.log(PROBABILITY_MIN))
GRID = np.linspace(H_MIN, H_MAX, 1000)
GRID_LOG_ODDS = -GRID - np.log(-np.expm1(-GRID))

# The published search halves [1e-7, 1 - 1e-7] ten times and returns the upper end, or stops as soon as the
# ratio is within the tolerance of the bound.
HALVINGS = 10
TOLERANCE = 1e-7
LINEAR = np.linspace(PROBABILITY_MIN, 1 - PROBABILITY_MIN, 2**HALVINGS + 1)
# 972 / 1024 is the last below 0.95.
CANDIDATES = {"published": LINEAR, "default": LINEAR[:973]}
NORM_CANDIDATES = 1000


def gradient_ratio(mixture: Mixture, base: Loss, probability_threshold: ArrayLike) -> Float[Array, ""]:
    r"""The ratio of the mean slope of the clipped loss on wrong labels to that on right labels.

    $$R(p_\tau) = \frac{E_n[\min(g, \tau)]}{E_c[\min(g, \tau)]}, \qquad \tau = g(p_\tau)$$

    $g = |\ell'|$ is the slope of the base in $p$, a function of $H = -\log p$. $E_c$ and $E_n$ average over
    the mixture's first normal (clean) and its second (noisy), both truncated to the range that $H$ has for
    $p$ in [1e-7, 1 - 1e-7], by sums over the published 1000 equally spaced points. The ratio does not depend
    on the weights of the mixture. Clipping more brings the ratio closer to 1.

    Args:
      mixture: of $H$, as `fit_mixture` returns it.
      base: a loss that is a decreasing, convex function of p alone.
      probability_threshold: $p_\tau$ in [1e-7, 1 - 1e-7], scalar; `jax.vmap` gives a curve.

    Returns:
      A floating scalar, at least 1 if larger losses belong more often to the noisy component.

    Raises:
      ValueError: probability_threshold is out of range.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> mixture = nox.ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([0.1, 1.0]), jnp.array([0.6, 0.4]))
    >>> round(float(nox.ogc.gradient_ratio(mixture, nox.losses.cross_entropy, 0.1)), 2)
    6.3
    """
    limits = {"at_least": PROBABILITY_MIN, "at_most": 1 - PROBABILITY_MIN}
    check_range("probability_threshold", probability_threshold, **limits)
    base = _of_probability.as_static(base)
    return _gradient_ratio(mixture, base, jnp.asarray(probability_threshold, dtype=float))


@functools.partial(jax.jit, static_argnums=1)
def _gradient_ratio(mixture, base, probability_threshold):
    return _ratio(_densities(mixture), grid_slopes(base), threshold_slope(base, probability_threshold))


def solve_threshold(
    mixture: Mixture, base: Loss, bound: ArrayLike, *, mode: Mode = "default"
) -> Float[Array, ""]:
    r"""The smallest probability threshold at which the ratio of the clipped slopes is within a bound.

    The result is the smallest of a fixed set of candidates with $R(p_\tau) \le$ `bound`, where $R$ is
    `gradient_ratio`. It is 1e-7 (nothing is clipped) if the bound already holds there, and the largest
    candidate if the bound holds nowhere.

    Modes:
      published: steps of 0.00098 from 1e-7 to 1 - 1e-7, searched by halving.
      default: the same steps, up to 0.95 only. With a small bound, for example from the learning rates of
        Adam, the published threshold goes up to 1. There, some slopes vanish, such as focal's, and nothing is
        learned. `experiments/results/digits` shows the difference in accuracy.

    Args:
      mixture: of $H = -\log p$, as `fit_mixture` returns it.
      base: a loss that is a decreasing, convex function of p alone.
      bound: at least 1; `1 + learning_rate * epsilon` in the paper.
      mode: "default" or "published".

    Returns:
      $p_\tau$, floating scalar.

    Raises:
      ValueError: mode is unknown, bound is out of range, or base is not decreasing, convex or a function of
        p alone.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> mixture = nox.ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([0.1, 1.0]), jnp.array([0.6, 0.4]))
    >>> round(float(nox.ogc.solve_threshold(mixture, nox.losses.cross_entropy, bound=3.0)), 3)
    0.228
    """
    check_mode(mode)
    check_range("bound", bound, at_least=1.0)
    _of_probability.check_base(base)
    base = _of_probability.as_static(base)
    return _solve_threshold(mixture, base, jnp.asarray(bound, dtype=float), mode)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _solve_threshold(mixture, base, bound, mode):
    return search(mixture, tabulate(base, mode), bound, mode)[0]


def solve_norm_threshold(
    mixture: Mixture, norm_range: tuple[ArrayLike, ArrayLike], bound: ArrayLike
) -> Float[Array, ""]:
    r"""The largest gradient norm at which the ratio of the clipped norms is within a bound.

    The result is the largest of 1000 candidates, equally spaced in the logarithm over `norm_range`, with

    $$\frac{E_n[\min(n, \tau)]}{E_c[\min(n, \tau)]} \le \text{bound}$$

    where $n$ is an example's gradient norm. $E_c$ and $E_n$ average over the mixture's first normal (clean)
    and its second (noisy). These are normals of $\sqrt n$, truncated to `norm_range`. The smallest candidate
    always satisfies the condition.

    Args:
      mixture: of $\sqrt n$, as `fit_mixture` returns it.
      norm_range: the smallest and the largest $n$ to consider, scalars > 0.
      bound: at least 1.

    Returns:
      $\tau$, floating scalar, positive.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941, for the bound on the slopes in p, which this function applies to gradient norms.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> mixture = nox.ogc.Mixture(jnp.array([1.0, 3.0]), jnp.array([0.1, 0.1]), jnp.array([0.6, 0.4]))
    >>> round(float(nox.ogc.solve_norm_threshold(mixture, (0.1, 16.0), bound=1.5)), 2)
    1.48
    """
    low, high = (jnp.log(jnp.asarray(end, mixture.means.dtype)) for end in norm_range)
    log_norms = low + (high - low) * jnp.linspace(0.0, 1.0, NORM_CANDIDATES, dtype=low.dtype)
    exponent = _exponent(mixture, jnp.exp(0.5 * log_norms))
    # Steps in the logarithm are wider where the norm is larger: d sqrt(n) = sqrt(n) / 2 d log(n).
    densities = jax.nn.softmax(exponent + 0.5 * log_norms[None], axis=1)
    # Relative to the largest, which keeps within the range of floating point.
    norms = jnp.exp(log_norms - high)
    below = jnp.cumsum(densities * norms[None], axis=1)
    above = jax.lax.cumsum(densities, axis=1, reverse=True) - densities
    clean, noisy = below + norms[None] * above
    within = noisy <= jnp.asarray(bound, clean.dtype) * clean
    return jnp.exp(jnp.max(jnp.where(within, log_norms, low)))


class Slopes(NamedTuple):
    """The slopes of one base that every search needs.

    Attributes:
      grid: floating, `[1000]`, g on the grid, from the flattest at p = 1 - 1e-7 to the steepest at 1e-7.
      candidates: floating, `[candidates]`, tau of each candidate, from the steepest at p = 1e-7 on.
    """

    grid: Float[Array, "grid"]
    candidates: Float[Array, "candidates"]


def check_mode(mode: Mode) -> None:
    """Raises ValueError for an unknown mode."""
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {get_args(Mode)}, got {mode!r}")


def tabulate(base: Loss, mode: Mode) -> Slopes:
    """Evaluates a base once for all searches to come."""
    return Slopes(grid_slopes(base), threshold_slope(base, jnp.asarray(CANDIDATES[mode], dtype=float)))


def search(
    mixture: Mixture, slopes: Slopes, bound: Float[Array, ""], mode: Mode
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """`solve_threshold` from tabulated slopes; returns the threshold and its tau."""
    ratios = _candidate_ratios(_densities(mixture), slopes, CANDIDATES[mode])
    index = _halve(ratios, bound) if mode == "published" else _first(ratios, bound)
    return jnp.asarray(CANDIDATES[mode], ratios.dtype)[index], jnp.asarray(slopes.candidates)[index]


def _candidate_ratios(
    densities: Float[Array, "2 grid"], slopes: Slopes, candidates: Float[np.ndarray, "candidates"]
) -> Float[Array, "candidates"]:
    """`gradient_ratio` of all candidates, from one pass over the grid.

    The grid's points below a candidate's H have the slope g, those above it are clipped to tau.
    """
    sums_below = jnp.pad(jnp.cumsum(densities * slopes.grid[None], axis=1), ((0, 0), (1, 0)))
    shares_above = jnp.pad(jax.lax.cumsum(densities, axis=1, reverse=True), ((0, 0), (0, 1)))
    position = np.searchsorted(GRID, -np.log(candidates))
    clean, noisy = sums_below[:, position] + slopes.candidates[None] * shares_above[:, position]
    return noisy / clean


def _first(ratios: Float[Array, "candidates"], bound: Float[Array, ""]) -> Int[Array, ""]:
    return jnp.min(jnp.where(ratios <= bound, np.arange(ratios.size, dtype=np.int32), ratios.size - 1))


def _halve(ratios: Float[Array, "candidates"], bound: Float[Array, ""]) -> Int[Array, ""]:
    """The published search, which may stop early and short of the smallest candidate."""

    def halve(_, interval):
        low, high = interval
        middle = (low + high) // 2
        excess = ratios[middle] - bound
        # Once a candidate is as good as exact, both ends stay there.
        found = jnp.abs(excess) < TOLERANCE
        return jnp.where((excess > 0) | found, middle, low), jnp.where((excess <= 0) | found, middle, high)

    last = ratios.size - 1
    _, upper = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.int32(0), jnp.int32(last)))
    return jnp.where(ratios[0] <= bound, 0, jnp.where(ratios[last] > bound, last, upper))


def log_odds(p: Float[Array, "..."]) -> Float[Array, "..."]:
    """log(p / (1 - p)), exact to rounding for p near 0 and near 1."""
    return jnp.log(p) - jnp.log1p(-p)


def threshold_slope(base: Loss, p: Float[Array, "..."]) -> Float[Array, "..."]:
    """tau = g(p), the slope of a base at a threshold."""
    return _of_probability.slope(base, log_odds(p))


def grid_slopes(base: Loss) -> Float[Array, "grid"]:
    """g on the grid, from the flattest slope at p = 1 - 1e-7 to the steepest at 1e-7."""
    return _of_probability.slope(base, jnp.asarray(GRID_LOG_ODDS, dtype=float))


def _densities(mixture: Mixture) -> Float[Array, "2 grid"]:
    """The two normals on the grid, normalised to sum 1 there, which is what truncates them."""
    return jax.nn.softmax(_exponent(mixture, jnp.asarray(GRID, mixture.means.dtype)), axis=1)


def _exponent(mixture: Mixture, grid: Float[Array, "grid"]) -> Float[Array, "2 grid"]:
    return jnp.square(grid[None] - mixture.means[:, None]) * (-0.5 / mixture.variances)[:, None]


def _ratio(
    densities: Float[Array, "2 grid"], slopes: Float[Array, "grid"], tau: Float[Array, ""]
) -> Float[Array, ""]:
    clean, noisy = jnp.sum(densities * jnp.minimum(slopes, tau)[None], axis=1)
    return noisy / clean
