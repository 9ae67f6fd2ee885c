"""Combinations of the gradient at the parameters and the gradient at the perturbed parameters."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from noisy_optax.sharpness import _schedule, _tree
from noisy_optax.sharpness._groups import group_masks


@runtime_checkable
class Combination(Protocol):
    """A pure function `(first, second, count) -> updates`, for `sharpness_aware`.

    `first` is the gradient at the parameters, `second` that at the perturbed parameters, count the 0-based
    step. All trees are of one structure and in float32 or wider.
    """

    def __call__(
        self, first: optax.Updates, second: optax.Updates, count: Int[Array, ""]
    ) -> optax.Updates: ...


def sam_combination() -> Combination:
    """The second gradient as it is.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.sharpness.sam_combination()(jnp.array([1.0]), jnp.array([2.0]), count=0)
    Array([2.], dtype=float32)
    """

    def descend(first, second, count):
        del first, count
        return second

    return descend


def gsam_combination(alpha: float | optax.Schedule) -> Combination:
    r"""Subtracts from the second gradient alpha times the component of the first that is orthogonal to it.

    $$s - \alpha \left( g - \frac{g \cdot s}{\|s\|^2}\, s \right)$$

    This reduces the gap between the perturbed loss and the loss without increasing the perturbed loss. The
    inner product is over all parameters.

    Args:
      alpha: >= 0, or a function of the 0-based step; at 0 this is `sam_combination`.

    Raises:
      ValueError: alpha is out of range.

    References:
      Zhuang, Gong, Yuan, Cui, Adam, Dvornek, Tatikonda, Duncan, Liu, Surrogate Gap Minimization Improves
      Sharpness-Aware Training, ICLR 2022, algorithm 1.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.sharpness.gsam_combination(0.5)(jnp.array([3.0, 4.0]), jnp.array([5.0, 0.0]), count=0)
    Array([ 5., -2.], dtype=float32)
    """
    _schedule.check("alpha", alpha, at_least=0.0)

    def descend(first, second, count):
        (g, power), (s, _) = _tree.to_unit_range(first), _tree.to_unit_range(second)
        length = _tree.dot(s, s)
        # Exact if both are the same, so that the orthogonal component is then 0.
        along = power * (_tree.dot(g, s) / jnp.where(length == 0, jnp.ones_like(length), length))
        across = jax.tree.map(jnp.subtract, first, _tree.scale(along, s))
        return jax.tree.map(jnp.subtract, second, _tree.scale(_schedule.at(alpha, count), across))

    return descend


def saner_combination(group_b_scale: float | optax.Schedule, of: Combination | None = None) -> Combination:
    r"""The second gradient with Group B, where noisy labels dominate, scaled down.

    $$u_i = \begin{cases} \alpha\, s_i & 0 < s_i / g_i < 1 \quad \text{(Group B)} \\
      s_i & \text{otherwise} \end{cases}$$

    The groups are found by comparing signs and sizes, so that small components do not underflow.

    Args:
      group_b_scale: $\alpha$, >= 0, or a function of the 0-based step, such as `schedules.saner_scale`; at 1
        this is `of`.
      of: the combination that gives $s$, `sam_combination()` if None. $g$ is always the first gradient.

    Raises:
      ValueError: group_b_scale is out of range.

    References:
      Luong, Nguyen, Tran, Tran, Understanding SAM's Robustness to Noisy Labels through Gradient
      Down-weighting, AISTATS 2026, arXiv 2411.17132.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> first, second = jnp.array([1.0, 1.0, 1.0, 1.0]), jnp.array([1.5, 0.8, -0.1, 1.0])
    >>> nox.sharpness.saner_combination(0.5)(first, second, count=0) # Groups A, B, C, and r = 1
    Array([ 1.5,  0.4, -0.1,  1. ], dtype=float32)
    """
    _schedule.check("group_b_scale", group_b_scale, at_least=0.0)
    inner = sam_combination() if of is None else of

    def descend(first, second, count):
        scale = _schedule.at(group_b_scale, count)

        def scale_group_b(g, s):
            return jnp.where(group_masks(g, s).b, scale.astype(s.dtype) * s, s)

        return jax.tree.map(scale_group_b, first, inner(first, second, count))

    return descend
