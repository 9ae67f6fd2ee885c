"""The clipping threshold: how much steeper wrong labels may pull than right ones, once clipped."""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range
from noisy_optax.losses import _of_probability
from noisy_optax.losses._of_probability import PROBABILITY_MIN
from noisy_optax.losses._robust_loss import Loss
from noisy_optax.ogc._mixture import Mixture

Mode = Literal["default", "published"]

# The published grid: the mixture lives on H = -log p, where p is limited to [1e-7, 1 - 1e-7].
H_MIN = float(-np.log1p(-PROBABILITY_MIN))
H_MAX = float(-np.log(PROBABILITY_MIN))
GRID = np.linspace(H_MIN, H_MAX, 1000)
GRID_LOG_ODDS = -GRID - np.log(-np.expm1(-GRID))


def gradient_ratio(mixture: Mixture, base: Loss, probability_threshold: ArrayLike) -> Float[Array, ""]:
    r"""How much steeper the clipped loss is, on average, on wrong labels than on right ones.

    $$R(p_\tau) = \frac{E_n[\min(g, \tau)]}{E_c[\min(g, \tau)]}, \qquad \tau = g(p_\tau)$$

    $g = |\ell'|$ is the slope of the base in $p$, a function of $H = -\log p$. $E_c$ and $E_n$ average over
    the mixture's first normal (clean) and its second (noisy), both truncated to the range that $H$ has for
    $p$ in [1e-7, 1 - 1e-7], by sums over the published 1000 equally spaced points. The mixture's weights
    play no part. Clipping more brings the ratio closer to 1.

    Args:
      mixture: of $H$, as `fit_mixture` returns it.
      base: a loss that is a decreasing, convex function of p alone.
      probability_threshold: $p_\tau$ in [1e-7, 1 - 1e-7], scalar; `jax.vmap` gives a curve.

    Returns:
      A floating scalar, at least 1 where larger losses are more often the noisy component's.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> mixture = nox.ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([0.1, 1.0]), jnp.array([0.6, 0.4]))
    >>> round(float(nox.ogc.gradient_ratio(mixture, nox.losses.cross_entropy, 0.1)), 2)
    6.3
    """
    return _gradient_ratio(mixture, base, jnp.asarray(probability_threshold, dtype=float))


@functools.partial(jax.jit, static_argnums=1)
def _gradient_ratio(mixture, base, probability_threshold):
    return _ratio(_densities(mixture), grid_slopes(base), threshold_slope(base, probability_threshold))


def solve_threshold(
    mixture: Mixture,
    base: Loss,
    bound: ArrayLike,
    *,
    mode: Mode = "default",
    halvings: int | None = None,
    tolerance: float = 1e-7,
) -> Float[Array, ""]:
    r"""The smallest probability threshold at which the clipped slopes keep within a bound.

    Finds $p_\tau$ with $R(p_\tau) \le$ `bound` by bisection, $R$ being `gradient_ratio`, and returns the
    upper end of the last interval. The result is 1e-7 (nothing is clipped) if the bound holds there
    already, and the largest threshold allowed if it holds nowhere.

    Modes:
      published: linear in $p$ up to 1 - 1e-7, ten halvings, so that no threshold lies between 1e-7 and
        0.00098.
      default: linear in the log-odds of $p$, twenty halvings, to four digits however small the threshold.

    Args:
      mixture: of $H = -\log p$, as `fit_mixture` returns it.
      base: a loss that is a decreasing, convex function of p alone.
      bound: at least 1; `1 + learning_rate * epsilon` in the paper.
      mode: "default" or "published".
      halvings: > 0; None is the mode's own number.
      tolerance: a threshold whose ratio differs from the bound by less ends the search, >= 0.

    Returns:
      $p_\tau$, floating scalar.

    Raises:
      ValueError: mode is unknown, or an option is out of range.

    References:
      Ye, Wu, Zhang, Li, Chen, Jin, Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025,
      arXiv 2412.08941.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> mixture = nox.ogc.Mixture(jnp.array([0.2, 3.0]), jnp.array([0.1, 1.0]), jnp.array([0.6, 0.4]))
    >>> round(float(nox.ogc.solve_threshold(mixture, nox.losses.cross_entropy, bound=3.0)), 2)
    0.23
    """
    halvings = check_search(mode, halvings, tolerance)
    return _solve_threshold(mixture, base, jnp.asarray(bound, dtype=float), mode, halvings, tolerance)


@functools.partial(jax.jit, static_argnums=(1, 3, 4, 5))
def _solve_threshold(mixture, base, bound, mode, halvings, tolerance):
    return threshold_solver(base, grid_slopes(base), mode, halvings, tolerance)(mixture, bound)


def check_search(mode: Mode, halvings: int | None, tolerance: float) -> int:
    """Checks the options of a search and returns its number of halvings."""
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be one of {get_args(Mode)}, got {mode!r}")
    halvings = {"default": 20, "published": 10}[mode] if halvings is None else halvings
    check_range("halvings", halvings, above=0)
    check_range("tolerance", tolerance, at_least=0.0)
    return halvings


def threshold_solver(
    base: Loss, slopes: Float[Array, "grid"], mode: Mode, halvings: int, tolerance: float
) -> Callable[[Mixture, Float[Array, ""]], Float[Array, ""]]:
    """`solve_threshold` for one base, given its `grid_slopes`: a search need not evaluate them again."""
    linear = mode == "published"

    def solve(mixture, bound):
        densities = _densities(mixture)

        def excess(tau):
            return _ratio(densities, slopes, tau) - bound

        def halve(_, interval):
            low, high = interval
            middle = (low + high) / 2
            above = excess(threshold_slope(base, middle if linear else jax.nn.sigmoid(middle)))
            # Once a threshold is as good as exact, both ends stay there.
            found = jnp.abs(above) < tolerance
            return jnp.where((above > 0) | found, middle, low), jnp.where((above <= 0) | found, middle, high)

        least, most = (jnp.asarray(p, slopes.dtype) for p in (PROBABILITY_MIN, 1 - PROBABILITY_MIN))
        interval = (least, most) if linear else (log_odds(least), log_odds(most))
        upper = jax.lax.fori_loop(0, halvings, halve, interval)[1]
        upper = upper if linear else jax.nn.sigmoid(upper)
        # The grid has both ends: its last slope belongs to the least probability, its first to the largest.
        return jnp.where(excess(slopes[-1]) <= 0, least, jnp.where(excess(slopes[0]) > 0, most, upper))

    return solve


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
    grid = jnp.asarray(GRID, mixture.means.dtype)
    exponent = jnp.square(grid[None] - mixture.means[:, None]) * (-0.5 / mixture.variances)[:, None]
    return jax.nn.softmax(exponent, axis=1)


def _ratio(
    densities: Float[Array, "2 grid"], slopes: Float[Array, "grid"], tau: Float[Array, ""]
) -> Float[Array, ""]:
    clean, noisy = jnp.sum(densities * jnp.minimum(slopes, tau)[None], axis=1)
    return noisy / clean
