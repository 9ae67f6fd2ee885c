"""A training step, from raw images to the next state, and what makes it one over seeds."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

import noisy_optax as nox
from experiments import methods
from experiments.models.network import Network
from experiments.training import devices
from noisy_optax.training import StepState


class TrainState(NamedTuple):
    """What a training step changes; every array has a leading axis over seeds outside of the step."""

    params: Any
    statistics: Any
    training: StepState

    @property
    def loss(self) -> Any:
        """State of the loss."""
        return self.training.loss


class Inputs(NamedTuple):
    """How raw pixels or features become what the network sees: `(raw - shift) * scale`."""

    shift: Float[Array, "..."]
    scale: Float[Array, "..."]


class StepParts(NamedTuple):
    """What a training step is made of.

    Attributes:
      perturbed_statistics: whether, after a step with a second gradient, BatchNorm's statistics are those of
        the second pass.
      augment: `augment(key, images) -> images`, random changes of a batch in raw pixels, or None.
      evaluate_flipped: whether predictions are of the mean logits of an image and its mirror image.
      mesh: the devices that batches are split over, or None for a single one.
      audited: of how many examples the state records how they were predicted, those trained on first; None
        for none.
    """

    network: Network
    method: methods.Method
    optimizer: optax.GradientTransformation
    perturbed_statistics: bool = False
    augment: Callable[..., Array] | None = None
    evaluate_flipped: bool = False
    mesh: jax.sharding.Mesh | None = None
    audited: int | None = None


def prepare(inputs: Inputs, images: Array) -> Float[Array, "..."]:
    """Raw images as the network sees them."""
    shift, scale = (jax.lax.broadcast(x, images.shape[:-1]) for x in inputs)
    return (images.astype(jnp.float32) - shift) * scale


def training_batch(
    parts: StepParts, inputs: Inputs, images: Array, labels: Int[Array, "batch"], key: PRNGKeyArray | None
) -> tuple[Float[Array, "batch ..."], Int[Array, "batch"]]:
    """Raw images as the network sees them in training, and their labels, split over the devices."""
    images, labels = devices.split_batch(parts.mesh, (images, labels))
    return prepare(inputs, images if parts.augment is None else parts.augment(key, images)), labels


def library_step(parts: StepParts) -> nox.training.TrainingStep:
    """The library's step: its inputs are images and statistics, its aux are statistics and logits."""

    def forward(params, inputs):
        images, statistics = inputs
        logits, statistics = parts.network.apply(params, statistics, images, train=True)
        return logits, (statistics, logits)

    method = parts.method
    return nox.training_step(
        forward,
        method.loss,
        parts.optimizer,
        sharpness=method.sharpness,
        has_aux=True,
        audit=parts.audited,
    )


def train_step(
    parts: StepParts,
    state: TrainState,
    images: Float[Array, "batch ..."],
    given: Int[Array, "batch"],
    *,
    indices: Int[Array, "batch"] | None = None,
) -> tuple[TrainState, tuple[Float[Array, ""], Int[Array, "batch"]]]:
    """One update from one batch, and the first fields of `Batches`; clean labels have no way in."""
    inputs = images, state.statistics
    update = library_step(parts).update
    params, training, info = update(state.params, state.training, inputs, given, indices=indices)
    statistics, logits = info.aux
    if parts.perturbed_statistics and info.perturbed_aux is not None:
        statistics, _ = info.perturbed_aux
    return TrainState(params, statistics, training), (info.loss, jnp.argmax(logits, axis=-1))


def seed_axes(parts: StepParts) -> TrainState:
    """Which arrays of a state differ between seeds: all except for counters that a refit depends on."""
    loss = nox.ogc.replica_axes(jax.eval_shape(parts.method.loss.init))
    return TrainState(0, 0, StepState(0, loss, 0, 0, 0, 0))


def first_seed(parts: StepParts, state: TrainState) -> TrainState:
    """The state of one seed, as `train_step` takes it."""
    return _along(seed_axes(parts), state, lambda x: x[0])


def split_seeds(parts: StepParts, state: TrainState, num_seeds: int) -> list[TrainState]:
    """The states of the seeds one by one, each with a leading axis over one seed."""
    axes = seed_axes(parts)
    return [_along(axes, state, operator.itemgetter(slice(i, i + 1))) for i in range(num_seeds)]


def over_seeds(function: Callable, num_seeds: int, in_axes: Any, out_axes: Any = 0) -> Callable:
    """`function` over a leading axis of seeds; a single seed is not batched, which is faster."""
    if num_seeds > 1:
        return jax.vmap(function, in_axes, out_axes)

    def single(*args):
        first = _along(in_axes, args, lambda x: x[0])
        return _along(out_axes, function(*first), lambda x: x[None])

    return single


def _along(axes: Any, tree: Any, change: Callable[[Array], Array]) -> Any:
    """Applies `change` to the arrays of `tree` whose entry in the prefix `axes` is 0 rather than None."""
    full = jax.tree.broadcast(axes, tree, is_leaf=lambda axis: axis is None)
    return jax.tree.map(
        lambda axis, x: x if axis is None else change(x), full, tree, is_leaf=lambda a: a is None
    )
