"""Compares the two gradients of sharpness-aware minimization on right and on wrong labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax.sharpness._groups import group_masks
from noisy_optax.sharpness._tree import widen


class Groups(NamedTuple):
    """One number for each of SANER's groups. r is the ratio of the second to the first gradient.

    Attributes:
      a: floating scalar, r > 1: the component is larger at the perturbed parameters.
      b: floating scalar, 0 < r < 1: the component is smaller. According to the paper, wrong labels dominate.
      c: floating scalar, r < 0: the component has the opposite sign.
      rest: floating scalar, r is 0, 1 or undefined.
    """

    a: Float[Array, ""]
    b: Float[Array, ""]
    c: Float[Array, ""]
    rest: Float[Array, ""]


def group_fractions(first_gradient: optax.Updates, second_gradient: optax.Updates) -> Groups:
    """Fractions of the parameters in SANER's Groups A, B and C, and of the others; their sum is 1.

    Args:
      first_gradient: at the parameters, a pytree of floating arrays.
      second_gradient: at the perturbed parameters, of the same structure and shapes.

    Returns:
      Four float32 scalars.

    References:
      Luong, Nguyen, Tran, Tran, Understanding SAM's Robustness to Noisy Labels through Gradient
      Down-weighting, AISTATS 2026, arXiv 2411.17132.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> first, second = jnp.array([1.0, 1.0, -1.0, 1.0]), jnp.array([0.5, 2.0, -0.1, -1.0])
    >>> nox.diagnostics.group_fractions(first, second)
    Groups(a=Array(0.25, dtype=float32), b=Array(0.5, dtype=float32), c=Array(0.25, dtype=float32),
      rest=Array(0., dtype=float32))
    """
    masks = _masks(first_gradient, second_gradient)
    total = sum(x.size for x in jax.tree.leaves(first_gradient))
    # Counted as integers within an array: float32 stops counting at 2^24.
    counts = [[jnp.sum(mask, dtype=jnp.int32) for mask in jax.tree.leaves(group)] for group in masks]
    shares = [[jnp.asarray(count, jnp.float32) / float(total) for count in group] for group in counts]
    return Groups(*(sum(group, jnp.float32(0)) for group in shares))


def fitting_ratio(
    first_gradient: optax.Updates,
    second_gradient: optax.Updates,
    per_example_gradients: optax.Updates,
    clean: ArrayLike,
) -> Groups:
    r"""How much each group of components fits mislabelled examples, relative to clean examples.

    A step along the second gradient $s$ lowers the loss of example $i$ at the rate $s \cdot g_i$, which is a
    sum over components. With $G$ one of the groups,

    $$\text{ratio}(G) = \frac{\text{mean over mislabelled } i \text{ of } \sum_{j \in G} s_j\, g_{ij}}
      {\text{mean over clean } i \text{ of } \sum_{j \in G} s_j\, g_{ij}}$$

    Above 1, the group's components fit wrong labels faster than right ones. The ratio takes
    means over examples, not sums, so that it can be compared between noise rates.

    This is our definition. It answers the question that the SANER paper asks about each group. It needs one
    batch, while training with and without a group would need many epochs.

    Args:
      first_gradient: at the parameters, a pytree of floating arrays.
      second_gradient: at the perturbed parameters, of the same structure and shapes.
      per_example_gradients: at the parameters, of the same structure with a leading axis `[B]`.
      clean: boolean, `[B]`, whether an example's label is right.

    Returns:
      Four floating scalars, float32 or wider. NaN if a group has no effect on either kind of example, or if
      there is no example of one kind. Negative if the group fits one kind and unlearns the other.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> first, second = jnp.array([1.0, 1.0]), jnp.array([2.0, 0.5]) # Groups A and B
    >>> per_example = jnp.array([[2.0, 1.0], [1.0, 4.0]]) # one clean, one mislabelled
    >>> ratio = nox.diagnostics.fitting_ratio(first, second, per_example, jnp.array([True, False]))
    >>> ratio.a, ratio.b
    (Array(0.5, dtype=float32), Array(4., dtype=float32))
    """
    clean = jnp.asarray(clean)
    rates = jax.vmap(fitting_rates, (None, None, 0))(first_gradient, second_gradient, per_example_gradients)
    return Groups(*(jnp.mean(rate, where=~clean) / jnp.mean(rate, where=clean) for rate in rates))


def fitting_rates(
    first_gradient: optax.Updates, second_gradient: optax.Updates, example_gradient: optax.Updates
) -> Groups:
    r"""How fast a step along the second gradient lowers one example's loss through each group of components.

    The rate is $\sum_{j \in G} s_j\, g_j$, where $s$ is the second gradient and $g$ that of the example.
    `fitting_ratio` averages these rates. Pass this function as `keep` to `per_example_gradients` if all
    gradients together need too much memory.

    Args:
      first_gradient: at the parameters, a pytree of floating arrays.
      second_gradient: at the perturbed parameters, of the same structure and shapes.
      example_gradient: of one example's loss at the parameters, likewise.

    Returns:
      Four floating scalars, float32 or wider.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> first, second = jnp.array([1.0, 1.0]), jnp.array([2.0, 0.5]) # Groups A and B
    >>> rates = nox.diagnostics.fitting_rates(first, second, jnp.array([1.0, 4.0]))
    >>> rates.a, rates.b
    (Array(2., dtype=float32), Array(2., dtype=float32))
    """

    def rate(group):
        def of_array(mask, s, g):
            return jnp.sum(jnp.where(mask, s * g, 0))

        trees = group, widen(second_gradient), widen(example_gradient)
        return sum(jax.tree.leaves(jax.tree.map(of_array, *trees)))

    return Groups(*map(rate, _masks(first_gradient, second_gradient)))


def _masks(first: optax.Updates, second: optax.Updates) -> tuple[optax.Updates, ...]:
    """For each of `Groups`, a tree of masks; every component is in one."""
    masks = jax.tree.map(group_masks, widen(first), widen(second))
    a, b, c = (jax.tree.map(lambda _, m, i=i: m[i], first, masks) for i in range(3))
    rest = jax.tree.map(lambda a, b, c: ~(a | b | c), a, b, c)
    return a, b, c, rest
