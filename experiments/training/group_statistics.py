"""SANER's groups of the gradient's components: how many are in each, and which labels each fits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

import noisy_optax as nox
from experiments.training.steps import StepParts, TrainState, over_seeds, prepare, seed_axes

# Examples that group statistics are measured on, and the perturbation's length, the SANER paper's.
EXAMPLES, CHUNK = 128, 8
RHO = 0.1


def compile_group_statistics(parts: StepParts, num_seeds: int) -> Callable:
    """`group_statistics` over all seeds at once, compiled on first use."""

    def statistics(state, inputs, images, given, clean):
        return group_statistics(parts, state, prepare(inputs, images), given, clean)

    return jax.jit(over_seeds(statistics, num_seeds, (seed_axes(parts), None, None, 0, 0)))


def group_statistics(
    parts: StepParts,
    state: TrainState,
    images: Float[Array, "n ..."],
    given: Int[Array, "n"],
    clean: Bool[Array, "n"] | None,
) -> dict[str, Float[Array, ""]]:
    """Fractions of SANER's groups, and how much each fits wrong labels for each unit of fitting right ones.

    With the loss and the threshold, if it has one, of the state; BatchNorm uses its running statistics.
    """

    def losses(params, images, given, indices):
        logits, _ = parts.network.apply(params, state.statistics, images, train=False)
        return parts.method.loss.value(state.loss, logits, given, indices=indices)

    # The images are the first of the training set.
    batch = images, given, jnp.arange(len(images))
    gradient = jax.grad(lambda params: jnp.mean(losses(params, *batch)))
    first = gradient(state.params)
    rule = nox.sharpness.sam_perturbation(RHO)
    offset, _ = rule.perturb(first, rule.init(state.params), state.params, jnp.zeros([], jnp.int32))
    second = gradient(optax.apply_updates(state.params, offset))
    fractions = nox.diagnostics.group_fractions(first, second)
    found = {f"group_{name}": value for name, value in zip("abc", fractions, strict=False)}
    if clean is None:
        return found
    rates = nox.per_example_gradients(
        losses,
        chunk_size=CHUNK,
        keep=lambda gradient: nox.diagnostics.fitting_rates(first, second, gradient),
    )(state.params, *batch)
    ratios = jax.tree.map(lambda rate: jnp.mean(rate, where=~clean) / jnp.mean(rate, where=clean), rates)
    return found | {f"fitting_ratio_{name}": value for name, value in zip("abc", ratios, strict=False)}
