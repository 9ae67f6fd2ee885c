"""Logit bias: a constant added to the label's logit, so that bounded losses learn with many classes."""

import operator
from typing import overload

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from noisy_optax._checks import check_range
from noisy_optax.losses import _label
from noisy_optax.losses._transformed_logits import with_transformed_logits
from noisy_optax.robust_loss import Loss, RobustLoss

MEAN_ABSOLUTE_ERROR_TARGET = 0.146
"""The label's mean probability to start from that is behind the published bias of mean absolute error."""
BOUNDED_CROSS_ENTROPY_TARGET = 0.10
"""The same for the published bias of the bounded cross-entropy, see `logit_bias`."""


@overload
def with_logit_bias(loss: Loss, epsilon: ArrayLike) -> Loss: ...
@overload
def with_logit_bias(loss: RobustLoss, epsilon: ArrayLike) -> RobustLoss: ...


def with_logit_bias(loss: Loss | RobustLoss, epsilon: ArrayLike) -> Loss | RobustLoss:
    r"""Adds a constant to the given label's logit before the loss sees it.

    $$\ell_\epsilon(z, y) = \ell(z + \epsilon\,e_y, y)$$

    At initialisation, $p$ is about $1/C$. With many classes, a bounded loss has almost no gradient there.
    With the bias, training starts where the loss has a gradient. Use it in training only; predict and measure
    without it.

    A `RobustLoss` gets the same biased logits in `update` and `value`, so its state (such as the threshold
    and the mixture of `ogc_loss`) refers to the biased p. Wrap the whole `RobustLoss`, not its base.

    Args:
      loss: plain or a `RobustLoss`.
      epsilon: scalar; 0 adds no bias. `logit_bias` computes it from the number of classes.

    Returns:
      A loss of the same kind as `loss`. A plain loss keeps its properties, except that it is not symmetric.

    Raises:
      ValueError: epsilon is not a finite scalar.

    References:
      Staats, Thamm, Rosenow, Enhancing Noise-Robust Losses for Large-Scale Noisy Data Learning,
      arXiv 2306.05497.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.with_logit_bias(nox.losses.mean_absolute_error, epsilon=2.0)
    >>> loss(jnp.array([[0.0, 0.0]]), jnp.array([0])).round(3) # as with logits 2 and 0
    Array([0.119], dtype=float32)
    """
    check_range("epsilon", epsilon)
    if jnp.ndim(epsilon) != 0:
        raise ValueError(f"epsilon must be a scalar, got shape {jnp.shape(epsilon)}")

    def with_logit_bias(logits, labels, *, axis=-1, where=None):
        z, is_label = _label.prepare(logits, labels, axis=axis, where=where)
        return z + jnp.where(is_label, jnp.asarray(epsilon, z.dtype), jnp.zeros_like(z))

    return with_transformed_logits(loss, with_logit_bias)


def logit_bias(num_classes: int, *, target_probability: float = MEAN_ABSOLUTE_ERROR_TARGET) -> float:
    r"""The logit bias that gives a label a chosen mean probability at initialisation.

    Solves $\mathbb{E}_z[\mathrm{softmax}(z + \epsilon\,e_y)_y] = a$ for logits $z \sim N(0, I_C)$, those of
    a network at initialisation. Evaluated on the host in float64, by quadrature instead of sampling.

    The paper gives values of $\epsilon$, not of $a$. We found that two constants reproduce them:
    `MEAN_ABSOLUTE_ERROR_TARGET` = 0.146 for MAE* (0.5 with 10 classes) and `BOUNDED_CROSS_ENTROPY_TARGET`
    = 0.10 for boundCE* (2.5 with 100 classes, which then "look like ten"). Both agree to the one digit given.

    Args:
      num_classes: C, at least 2.
      target_probability: a, in [1e-6, 1 - 1e-6].

    Returns:
      epsilon >= 0, to within 1e-9. It is 0 if a label has at least probability a without a bias.

    Raises:
      ValueError: an argument is out of range.

    References:
      Staats, Thamm, Rosenow, Enhancing Noise-Robust Losses for Large-Scale Noisy Data Learning,
      arXiv 2306.05497.

    >>> import noisy_optax as nox
    >>> [round(nox.losses.logit_bias(num_classes), 2) for num_classes in (10, 100, 1000)]
    [0.49, 3.0, 5.32]
    """
    check_range("num_classes", num_classes, at_least=2)
    check_range("target_probability", target_probability, at_least=1e-6, at_most=1 - 1e-6)
    others = operator.index(num_classes) - 1

    def excess(epsilon):
        return _log_odds(mean_probability(epsilon, others)) - _log_odds(target_probability)

    # The log-odds grow almost like the bias, so a few secant steps are enough.
    before, here = 0.0, max(0.0, -excess(0.0))
    if here == 0:
        return 0.0
    f_before, f_here = excess(before), excess(here)
    while abs(here - before) > 1e-11:
        secant = here - f_here * (here - before) / (f_here - f_before)
        before, f_before, here = here, f_here, secant
        f_here = excess(here)
        if f_here == f_before:
            break
    return here


def _log_odds(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


def mean_probability(epsilon: float, others: int) -> float:
    r"""E[A / (A + S)] with A = exp(epsilon + z_0) and S the sum of exp(z_k) over `others` classes.

    With $1/(A + S) = \int_0^\infty e^{-t(A + S)}\,dt$ the classes separate. In $u = \log t$,

    $$\int G(u + \epsilon)\,\Phi(u)^{C-1}\,du, \qquad \Phi(u) = \mathbb{E}[e^{-e^{u+z}}],\quad G = -\Phi'.$$

    Every integrand is analytic and falls off fast, for which the trapezoidal rule converges exponentially:
    halving the steps changes nothing above 1e-13.
    """
    step = 0.1
    z = np.arange(-9.0, 9.0, step)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    # For t far below 1 / A and 1 / S the integrand is proportional to t, and S > exp(-9) ends it above.
    u = np.arange(-38.0 - max(np.log(others), epsilon), 14.0, step)
    with np.errstate(divide="ignore"):
        log_survival = np.log1p(np.expm1(-_exponential(u, z)) @ density)
    rate = _exponential(u + epsilon, z)
    return float(step * np.sum((rate * np.exp(-rate)) @ density * np.exp(others * log_survival)))


def _exponential(u: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(u[:, None] + z)
