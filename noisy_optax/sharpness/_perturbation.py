"""Perturbations of the parameters, at which the second gradient is taken."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from noisy_optax.sharpness import _schedule, _tree


class Perturbation(NamedTuple):
    """Maps the gradient at the parameters to a perturbation of them, for `sharpness_aware`.

    Attributes:
      init: `init(params) -> state`, a pytree of arrays, or `optax.EmptyState()`.
      perturb: `perturb(gradient, state, params, count) -> (perturbation, state)`. Gradient, parameters and
        perturbation are of one structure and in float32 or wider; count is the 0-based step.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> def perturb(gradient, state, params, count): # SAM in the maximum norm
    ...   return jax.tree.map(lambda g: 0.01 * jnp.sign(g), gradient), state
    >>> perturbation = nox.sharpness.Perturbation(lambda params: optax.EmptyState(), perturb)
    >>> transformation = nox.sharpness.sharpness_aware(perturbation, nox.sharpness.saner_combination(0.5))
    """

    init: Callable[[optax.Params], Any]
    perturb: Callable[[optax.Updates, Any, optax.Params, Int[Array, ""]], tuple[optax.Params, Any]]


class RunningMeanState(NamedTuple):
    """State of `friendly_sam_perturbation` and `vasso_perturbation`.

    Attributes:
      mean: like the parameters, in float32 or wider; the running mean of the gradients, zeros before the
        first step.
    """

    mean: optax.Params


def sam_perturbation(rho: float | optax.Schedule) -> Perturbation:
    r"""Steepest ascent: a step of length rho along the gradient.

    $$e = \rho\, g / \|g\|$$

    The norm is over all parameters. A zero gradient gives no perturbation.

    Args:
      rho: >= 0, or a function of the 0-based step.

    Raises:
      ValueError: rho is out of range.

    References:
      Foret, Kleiner, Mobahi, Neyshabur, Sharpness-Aware Minimization for Efficiently Improving
      Generalization, ICLR 2021, equation 2.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> perturbation = nox.sharpness.sam_perturbation(0.5)
    >>> params, gradient = jnp.zeros(2), jnp.array([3.0, -4.0])
    >>> perturbation.perturb(gradient, perturbation.init(params), params, count=0)[0]
    Array([ 0.3, -0.4], dtype=float32)
    """
    _schedule.check("rho", rho, at_least=0.0)

    def perturb_fn(gradient, state, params, count):
        del params
        return _tree.with_norm(_schedule.at(rho, count), gradient), state

    return Perturbation(_no_state, perturb_fn)


def asam_perturbation(rho: float | optax.Schedule) -> Perturbation:
    r"""Adaptive perturbation: parameters are perturbed in proportion to their size.

    $$e = \rho\, w^2 g / \|w\, g\|$$

    The products are elementwise. Zero parameters are not perturbed.

    Args:
      rho: >= 0, or a function of the 0-based step; 0.5 in the paper. It is relative to the parameters' size.

    Raises:
      ValueError: rho is out of range.

    References:
      Kwon, Kim, Park, Choi, ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep
      Neural Networks, ICML 2021, with their eta at 0.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> perturbation = nox.sharpness.asam_perturbation(0.5)
    >>> params, gradient = jnp.array([1.0, 2.0]), jnp.array([3.0, 2.0])
    >>> perturbation.perturb(gradient, perturbation.init(params), params, count=0)[0]
    Array([0.3, 0.8], dtype=float32)
    """
    _schedule.check("rho", rho, at_least=0.0)

    def perturb_fn(gradient, state, params, count):
        # Each factor is scaled to about 1, so that no relevant product underflows.
        (sizes, _), (slopes, _) = _tree.to_unit_range(params), _tree.to_unit_range(gradient)
        relative = _tree.with_norm(_schedule.at(rho, count), jax.tree.map(jnp.multiply, sizes, slopes))
        return jax.tree.map(jnp.multiply, params, relative), state

    return Perturbation(_no_state, perturb_fn)


def friendly_sam_perturbation(
    rho: float | optax.Schedule,
    sigma: float | optax.Schedule = 1.0,
    decay: float | optax.Schedule = 0.9,
) -> Perturbation:
    r"""Friendly-SAM's perturbation: along the gradient minus a share of the mean of earlier gradients.

    $$e_t = \rho\, d_t / \|d_t\| \qquad d_t = g_t - \sigma\, m_t \qquad
      m_{t+1} = \lambda\, m_t + (1 - \lambda)\, g_t$$

    The first step uses the plain gradient, $d_0 = g_0$, and starts the mean with it, $m_1 = g_0$.

    Args:
      rho: >= 0, or a function of the 0-based step.
      sigma: >= 0, or a function of the step; at 0 this is `sam_perturbation`.
      decay: $\lambda$, in [0, 1], or a function of the step.

    Raises:
      ValueError: an argument is out of range.

    References:
      Li, Zhou, He, Cheng, Huang, Friendly Sharpness-Aware Minimization, CVPR 2024.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> perturbation = nox.sharpness.friendly_sam_perturbation(rho=0.5)
    >>> params, gradient = jnp.zeros(2), jnp.array([3.0, -4.0])
    >>> first, state = perturbation.perturb(gradient, perturbation.init(params), params, count=0)
    >>> first
    Array([ 0.3, -0.4], dtype=float32)
    >>> perturbation.perturb(jnp.array([3.0, 5.0]), state, params, count=1)[0] # the first is no news
    Array([0. , 0.5], dtype=float32)
    """
    _schedule.check("rho", rho, at_least=0.0)
    _schedule.check("sigma", sigma, at_least=0.0)
    _schedule.check("decay", decay, at_least=0.0, at_most=1.0)

    def perturb_fn(gradient, state, params, count):
        del params
        known = _tree.scale(_schedule.at(sigma, count), state.mean)
        # Before the first step the mean is zero.
        direction = jax.tree.map(jnp.subtract, gradient, known)
        mean = _running_mean(state.mean, gradient, _schedule.at(decay, count), count)
        return _tree.with_norm(_schedule.at(rho, count), direction), RunningMeanState(mean)

    return Perturbation(_zero_mean, perturb_fn)


def vasso_perturbation(rho: float | optax.Schedule, theta: float | optax.Schedule = 0.2) -> Perturbation:
    r"""VaSSO's perturbation: along the running mean of the gradients, which varies less than one gradient.

    $$e_t = \rho\, d_t / \|d_t\| \qquad d_t = (1 - \theta)\, d_{t-1} + \theta\, g_t \qquad d_0 = g_0$$

    Args:
      rho: >= 0, or a function of the 0-based step.
      theta: in [0, 1], or a function of the step; at 1 this is `sam_perturbation`.

    Raises:
      ValueError: an argument is out of range.

    References:
      Li, Giannakis, Enhancing Sharpness-Aware Optimization Through Variance Suppression, NeurIPS 2023.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> perturbation = nox.sharpness.vasso_perturbation(rho=0.5, theta=0.5)
    >>> params = jnp.zeros(2)
    >>> _, state = perturbation.perturb(jnp.array([6.0, 0.0]), perturbation.init(params), params, count=0)
    >>> perturbation.perturb(jnp.array([0.0, -8.0]), state, params, count=1)[0]
    Array([ 0.3, -0.4], dtype=float32)
    """
    _schedule.check("rho", rho, at_least=0.0)
    _schedule.check("theta", theta, at_least=0.0, at_most=1.0)

    def perturb_fn(gradient, state, params, count):
        del params
        mean = _running_mean(state.mean, gradient, 1 - _schedule.at(theta, count), count)
        return _tree.with_norm(_schedule.at(rho, count), mean), RunningMeanState(mean)

    return Perturbation(_zero_mean, perturb_fn)


def _no_state(params: optax.Params) -> optax.EmptyState:
    del params
    return optax.EmptyState()


def _zero_mean(params: optax.Params) -> RunningMeanState:
    return RunningMeanState(jax.tree.map(jnp.zeros_like, _tree.widen(params)))


def _running_mean(
    mean: optax.Updates, gradient: optax.Updates, decay: Array, count: Int[Array, ""] | int
) -> optax.Updates:
    """`decay * mean + (1 - decay) * gradient`, started with the first gradient."""
    decay = jnp.where(count == 0, jnp.zeros_like(decay), decay)
    return _tree.add(_tree.scale(decay, mean), _tree.scale(1 - decay, gradient))
