"""The transformation: a perturbation, a second gradient, and a combination of both gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from noisy_optax.sharpness import _tree
from noisy_optax.sharpness._combination import Combination
from noisy_optax.sharpness._perturbation import Perturbation

# A pytree of booleans like the parameters, a function that makes one of them, or None.
Mask = Any


class SharpnessAware(optax.GradientTransformationExtraArgs):
    """A transformation with two parts that can also be called separately, around a second gradient.

    Attributes:
      init: `init(params) -> SharpnessAwareState`.
      update: `update(gradient, state, params, *, grad_fn) -> (updates, state)`, which calls both parts.
      perturb: `perturb(gradient, state, params) -> (perturbed, state)`, the parameters at which to take the
        second gradient, in float32 or wider.
      combine: `combine(gradient, second, state, params) -> (updates, state)`, with the state that `perturb`
        returned.
    """

    perturb: Callable[..., tuple[optax.Params, Any]]
    combine: Callable[..., tuple[optax.Updates, Any]]

    def __new__(cls, init: Any, update: Any, perturb: Any, combine: Any) -> "SharpnessAware":
        """`optax.chain` expects a pair, so the two parts are attributes and not fields."""
        transformation = super().__new__(cls, init, update)
        transformation.perturb, transformation.combine = perturb, combine
        return transformation


class SharpnessAwareState(NamedTuple):
    """State of `sharpness_aware`.

    Attributes:
      count: int32 scalar, how many times `update` or `combine` was called.
      perturbation: the state of the perturbation, which is empty for most.
    """

    count: Int[Array, ""]  # type: ignore[assignment]  # optax's name, and tuple's
    perturbation: Any


def sharpness_aware(
    perturbation: Perturbation, combination: Combination, *, mask: Mask = None
) -> SharpnessAware:
    r"""Sharpness-aware minimization from a perturbation and a combination of two gradients.

    Let $g$ be the incoming gradient at the parameters $w$. Then

    $$e = \text{perturb}(g) \qquad s = \text{grad\_fn}(w + e) \qquad u = \text{combine}(g, s)$$

    Put it before the optimizer, so that weight decay is added afterwards:
    `optax.chain(sharpness_aware(...), optax.add_decayed_weights(5e-4), optax.sgd(...))`. `update` takes the
    keyword `grad_fn`, a function from parameters to their gradient, on the same batch and under the same
    conditions. Under `shard_map`, `grad_fn` has to average over devices like the incoming gradient.
    `training_step` does all of this.

    $w + e$ is computed and passed to `grad_fn` in float32 or wider, because a perturbation would be lost in
    the rounding of half precision. To compute in half precision, cast inside `grad_fn`. The updates have the
    type of the incoming gradient. At rho = 0, `grad_fn` gets parameters equal to $w$. With parameters in
    float32 or wider, the result is then the incoming gradient, bit by bit if `grad_fn` is the same compiled
    computation.

    To compute the second gradient yourself, as `training_step` does, call the two parts instead of `update`:
    `perturb(gradient, state, params) -> (perturbed, state)` and then
    `combine(gradient, second, state, params) -> (updates, state)`.

    `mask` freezes parameters: they are not perturbed, they do not count in the norm of the perturbation, and
    their updates are 0. Alternatively, pass only the trained parameters as `params`.

    You can wrap it in `optax.MultiSteps` (with `micro_batch_grad_fn`), `optax.apply_if_finite` and
    `optax.inject_hyperparams`. `apply_if_finite` checks the incoming gradient only. To check the second
    gradient too, put another one around the rest of the chain: `optax.chain(apply_if_finite(saner(...), n),
    apply_if_finite(optax.sgd(...), n))`. For this function, unlike for `saner` and the other methods,
    `inject_hyperparams` needs `static_args=("perturbation", "combination")`. Do not put it inside
    `optax.masked` or `optax.multi_transform`: they hide parameters, so `grad_fn` could not be called. Use
    `mask`.

    Args:
      perturbation: `sam_perturbation`, `asam_perturbation`, `friendly_sam_perturbation`,
        `vasso_perturbation` or your own `Perturbation`.
      combination: `sam_combination`, `gsam_combination`, `saner_combination` or your own function.
      mask: a pytree of booleans like the parameters, or a prefix of one, or a function of the parameters that
        returns one: True for parameters that are perturbed and updated. By default all parameters are.

    Returns:
      A `SharpnessAware` transformation; extra arguments that it does not know are ignored.

    Raises:
      TypeError: from `init` and `update`, if a parameter is not floating.
      ValueError: from `init` and `update`, if parameters are masked; from `update`, if `params` or `grad_fn`
        is missing or a gradient is not shaped like the parameters.

    >>> import jax, jax.numpy as jnp, optax, noisy_optax as nox
    >>> grad_fn = jax.grad(lambda w: 0.5 * jnp.sum(w**4))
    >>> asam_saner = nox.sharpness.sharpness_aware(
    ...   nox.sharpness.asam_perturbation(rho=0.5), nox.sharpness.saner_combination(group_b_scale=0.5)
    ... )
    >>> optimizer = optax.chain(asam_saner, optax.sgd(0.1))
    >>> params = jnp.array([1.0])
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(grad_fn(params), state, params, grad_fn=grad_fn)
    >>> updates # -0.1 * 2 * 1.5**3
    Array([-0.675], dtype=float32)
    """

    def init_fn(params):
        _refuse_masked(params)
        return SharpnessAwareState(jnp.zeros([], jnp.int32), perturbation.init(_tree.widen(params)))

    def perturb_fn(gradient, state, params):
        _refuse_masked(params)
        check_gradient("the incoming gradient", gradient, params)
        here = _tree.widen(params)
        first = _unfrozen(mask, params, optax.tree.cast_like(gradient, here))
        offset, new = perturbation.perturb(first, state.perturbation, here, state.count)
        # Masked again, for a perturbation that is not proportional to the gradient.
        offset = _unfrozen(mask, params, offset)
        return _tree.add(here, offset), state._replace(perturbation=new)

    def combine_fn(gradient, second, state, params):
        check_gradient("the second gradient", second, params)
        here = _tree.widen(params)
        first, second = (_unfrozen(mask, params, optax.tree.cast_like(g, here)) for g in (gradient, second))
        result = combination(first, second, state.count)
        state = state._replace(count=optax.safe_increment(state.count))
        return optax.tree.cast_like(result, gradient), state

    def update_fn(updates, state, params=None, *, grad_fn=None, **extra_args):
        del extra_args
        check_inputs(params, grad_fn)
        perturbed, state = perturb_fn(updates, state, params)
        return combine_fn(updates, grad_fn(perturbed), state, params)

    return SharpnessAware(init_fn, update_fn, perturb_fn, combine_fn)


def _unfrozen(mask: Mask, params: optax.Params, tree: optax.Params) -> optax.Params:
    """`tree` with zeros where the mask is False."""
    if mask is None:
        return tree
    try:
        full = jax.tree.broadcast(mask(params) if callable(mask) else mask, tree)
    except ValueError as error:
        raise ValueError(
            f"mask must be a pytree of booleans like the parameters, or a prefix of it: {error}"
        ) from error
    return jax.tree.map(lambda kept, x: x if kept else jnp.zeros_like(x), full, tree)


def check_inputs(params: optax.Params | None, grad_fn: Callable | None) -> None:
    """Raises ValueError if one is missing."""
    if params is None:
        raise ValueError(
            "expected params, got None; call update(gradient, state, params, grad_fn=grad_fn), as the second "
            "gradient is taken near them"
        )
    if grad_fn is None:
        raise ValueError(
            "expected the keyword grad_fn, got None; call update(gradient, state, params, grad_fn=grad_fn) "
            "with a function from parameters to the gradient on the same batch, such as jax.grad(loss); or "
            "pass the transformation to training_step as sharpness=..., and not within the optimizer"
        )


def check_gradient(name: str, gradient: optax.Updates, params: optax.Params) -> None:
    """Raises ValueError unless `gradient` has the structure and the shapes of `params`."""
    expected: Any = jax.tree.structure(params)
    found: Any = jax.tree.structure(gradient)
    if expected != found:
        raise ValueError(f"{name} must have the structure of the parameters, {expected}, got {found}")
    pairs = zip(jax.tree.leaves_with_path(params), jax.tree.leaves(gradient), strict=True)
    for (path, x), g in pairs:
        if jnp.shape(g) != jnp.shape(x):
            raise ValueError(
                f"{name} must have the shapes of the parameters: {jnp.shape(x)} at "
                f"{jax.tree_util.keystr(path) or 'the root'}, got {jnp.shape(g)}"
            )


def _refuse_masked(params: optax.Params) -> None:
    leaves = jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, optax.MaskedNode))
    if any(isinstance(leaf, optax.MaskedNode) for leaf in leaves):
        raise ValueError(
            "sharpness-aware transformations need all parameters and cannot be inside optax.masked, "
            "optax.partition or optax.multi_transform; to freeze parameters give them the mask themselves, "
            "optax.chain(saner(..., mask=mask), optax.masked(...))"
        )
