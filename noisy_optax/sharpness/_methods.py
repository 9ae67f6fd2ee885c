"""The published methods by name."""

import optax

from noisy_optax.sharpness._combination import gsam_combination, sam_combination, saner_combination
from noisy_optax.sharpness._perturbation import (
    asam_perturbation,
    friendly_sam_perturbation,
    sam_perturbation,
    vasso_perturbation,
)
from noisy_optax.sharpness._transformation import Mask, SharpnessAware, sharpness_aware


def sam(rho: float | optax.Schedule = 0.1, *, mask: Mask = None) -> SharpnessAware:
    """SAM: `sharpness_aware(sam_perturbation(rho), sam_combination())`; its `update` needs `grad_fn`.

    Args:
      rho: >= 0, or a function of the 0-based step; 0.1 in the SANER paper, 0.05 is common on clean labels.
      mask: which parameters are perturbed and updated, see `sharpness_aware`.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> grad_fn = jax.grad(lambda w: 0.5 * jnp.sum(w**2))
    >>> sam, params = nox.sharpness.sam(rho=0.5), jnp.array([3.0, -4.0])
    >>> sam.update(grad_fn(params), sam.init(params), params, grad_fn=grad_fn)[0]
    Array([ 3.3, -4.4], dtype=float32)
    """
    return sharpness_aware(sam_perturbation(rho), sam_combination(), mask=mask)


def asam(rho: float | optax.Schedule = 0.5, *, mask: Mask = None) -> SharpnessAware:
    """Adaptive SAM: `sharpness_aware(asam_perturbation(rho), sam_combination())`; `update` needs `grad_fn`.

    Args:
      rho: >= 0, or a function of the 0-based step.
      mask: which parameters are perturbed and updated, see `sharpness_aware`.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> grad_fn = jax.grad(lambda w: 0.5 * jnp.sum(w**2))
    >>> asam, params = nox.sharpness.asam(rho=0.5), jnp.array([2.0, 0.0])
    >>> asam.update(grad_fn(params), asam.init(params), params, grad_fn=grad_fn)[0]
    Array([3., 0.], dtype=float32)
    """
    return sharpness_aware(asam_perturbation(rho), sam_combination(), mask=mask)


def friendly_sam(
    rho: float | optax.Schedule = 0.1,
    sigma: float | optax.Schedule = 1.0,
    decay: float | optax.Schedule = 0.9,
    *,
    mask: Mask = None,
) -> SharpnessAware:
    """Friendly-SAM: `sharpness_aware(friendly_sam_perturbation(...), sam_combination())`.

    Args:
      rho: >= 0, or a function of the 0-based step.
      sigma: >= 0, or a function of the step; the share of the running mean that is subtracted.
      decay: in [0, 1], or a function of the step; the decay of the running mean.
      mask: which parameters are perturbed and updated, see `sharpness_aware`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.sharpness.friendly_sam(rho=0.1).init(jnp.zeros(2)).perturbation.mean
    Array([0., 0.], dtype=float32)
    """
    return sharpness_aware(friendly_sam_perturbation(rho, sigma, decay), sam_combination(), mask=mask)


def vasso(
    rho: float | optax.Schedule = 0.1, theta: float | optax.Schedule = 0.2, *, mask: Mask = None
) -> SharpnessAware:
    """VaSSO: `sharpness_aware(vasso_perturbation(...), sam_combination())`; its `update` needs `grad_fn`.

    Args:
      rho: >= 0, or a function of the 0-based step.
      theta: in [0, 1], or a function of the step; the weight of the newest gradient.
      mask: which parameters are perturbed and updated, see `sharpness_aware`.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.sharpness.vasso(rho=0.1).init(jnp.zeros(2)).perturbation.mean
    Array([0., 0.], dtype=float32)
    """
    return sharpness_aware(vasso_perturbation(rho, theta), sam_combination(), mask=mask)


def gsam(
    rho: float | optax.Schedule = 0.1, alpha: float | optax.Schedule = 0.01, *, mask: Mask = None
) -> SharpnessAware:
    """GSAM: `sharpness_aware(sam_perturbation(rho), gsam_combination(alpha))`; its `update` needs `grad_fn`.

    Args:
      rho: >= 0, or a function of the 0-based step.
      alpha: >= 0, or a function of the step; weight of the surrogate gap.
      mask: which parameters are perturbed and updated, see `sharpness_aware`.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> grad_fn = jax.grad(lambda w: 0.5 * jnp.sum(w**2)) # nothing across the second gradient
    >>> gsam, params = nox.sharpness.gsam(rho=0.5), jnp.array([3.0, 4.0])
    >>> gsam.update(grad_fn(params), gsam.init(params), params, grad_fn=grad_fn)[0]
    Array([3.3, 4.4], dtype=float32)
    """
    return sharpness_aware(sam_perturbation(rho), gsam_combination(alpha), mask=mask)


def saner(
    rho: float | optax.Schedule = 0.1, group_b_scale: float | optax.Schedule = 0.5, *, mask: Mask = None
) -> SharpnessAware:
    """SANER: `sharpness_aware(sam_perturbation(rho), saner_combination(group_b_scale))`.

    Args:
      rho: >= 0, or a function of the 0-based step; 0.1 in the paper.
      group_b_scale: >= 0, or a function of the step; in the paper `schedules.saner_scale`.
      mask: which parameters are perturbed and updated, see `sharpness_aware`.

    References:
      Luong, Nguyen, Tran, Tran, Understanding SAM's Robustness to Noisy Labels through Gradient
      Down-weighting, AISTATS 2026, arXiv 2411.17132.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> scale = nox.schedules.saner_scale(target=0.5, epochs=50, steps_per_epoch=390)
    >>> optimizer = optax.chain(
    ...   nox.saner(rho=0.1, group_b_scale=scale),
    ...   optax.add_decayed_weights(5e-4),
    ...   optax.sgd(0.1, momentum=0.9),
    ... )
    >>> grad_fn = jax.grad(lambda w: -jnp.sum(jnp.cos(w)))
    >>> params = jnp.array([1.0, 2.0]) # the slope falls off beyond pi / 2, and so 2 is in Group B
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(grad_fn(params), state, params, grad_fn=grad_fn)
    """
    return sharpness_aware(sam_perturbation(rho), saner_combination(group_b_scale), mask=mask)
