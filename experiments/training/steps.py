"""What is compiled: a training step, an epoch of them, an evaluation, and all of it over seeds."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

import noisy_optax as nox
from experiments import methods
from experiments.config import Experiment
from experiments.models.network import Network
from experiments.training import devices, dynamics
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
    """

    network: Network
    method: methods.Method
    optimizer: optax.GradientTransformation
    perturbed_statistics: bool = False
    augment: Callable[..., Array] | None = None
    evaluate_flipped: bool = False
    mesh: jax.sharding.Mesh | None = None


class Batches(NamedTuple):
    """What a training epoch leaves behind: of each step its loss, of each example what it was before it.

    Attributes:
      margins: see `dynamics.margins`.
      indices: which examples they are.
    """

    loss: Float[Array, "steps"]
    predictions: Int[Array, "steps batch"]
    margins: Float[Array, "steps batch"]
    indices: Int[Array, "steps batch"]


def compile_loops(parts: StepParts, experiment: Experiment) -> tuple[Callable, Callable]:
    """An epoch of training and an evaluation, over all seeds at once, compiled on first use."""
    # XLA runs a convolution inside of a loop on a CPU ten times as slowly as outside of one.
    stepwise = parts.network.convolutional and jax.default_backend() == "cpu"
    compile_epoch = compile_stepwise_epoch if stepwise else compile_epoch_loop
    run_epoch = compile_epoch(parts, experiment.optimization.batch_size, experiment.seeds)
    return run_epoch, compile_evaluation(parts, experiment.seeds)


EVALUATION_CHUNK = 1000


def predicted_logits(
    parts: StepParts, params: Any, statistics: Any, images: Float[Array, "n ..."]
) -> Float[Array, "n classes"]:
    """What the network says of images when it is not being trained."""
    of_images, _ = parts.network.apply(params, statistics, images, train=False)
    if not parts.evaluate_flipped:
        return of_images
    of_mirrored, _ = parts.network.apply(params, statistics, images[:, :, ::-1], train=False)
    return (of_images + of_mirrored) / 2


def compile_evaluation(parts: StepParts, num_seeds: int) -> Callable:
    """`run_evaluation(params, statistics, inputs, images) -> logits`, in chunks that fit into memory."""

    def of_one_seed(params, statistics, inputs, images):
        return predicted_logits(
            parts, params, statistics, prepare(inputs, devices.split_batch(parts.mesh, images))
        )

    of_chunk = jax.jit(
        over_seeds(of_one_seed, num_seeds, (0, 0, None, None)), out_shardings=devices.replicated(parts.mesh)
    )

    # A loop of Python's: within a compiled one XLA is slow at convolutions on a CPU.
    def run_evaluation(params, statistics, inputs, images):
        chunks = [images[i : i + EVALUATION_CHUNK] for i in range(0, len(images), EVALUATION_CHUNK)]
        return np.concatenate([of_chunk(params, statistics, inputs, chunk) for chunk in chunks], axis=1)

    return run_evaluation


def compile_epoch_loop(parts: StepParts, batch_size: int, num_seeds: int) -> Callable:
    """An epoch as one compiled loop over steps.

    Its signature is `run_epoch(state, inputs, images, given, order_keys, augment_keys) -> (state, Batches)`;
    augment_keys may be left out where nothing is augmented.
    """
    run = jit_epoch_loop(parts, batch_size, num_seeds)

    def run_epoch(state, inputs, images, given, order_keys, augment_keys=None):
        return run(state, inputs, images, given, order_keys, augment_keys)

    return run_epoch


def jit_epoch_loop(parts: StepParts, batch_size: int, num_seeds: int) -> jax.stages.Wrapped:
    """The compiled function in `compile_epoch_loop`, which takes all its arguments by position."""
    epoch = functools.partial(train_epoch, parts, batch_size)
    axes = seed_axes(parts)
    over = over_seeds(epoch, num_seeds, (axes, None, None, 0, 0, 0), (axes, 0))
    return jax.jit(over, donate_argnums=0, out_shardings=devices.replicated(parts.mesh))


def train_epoch(
    parts: StepParts,
    batch_size: int,
    state: TrainState,
    inputs: Inputs,
    images: Array,
    given: Int[Array, "n"],
    order_key: PRNGKeyArray,
    augment_key: PRNGKeyArray | None,
) -> tuple[TrainState, Batches]:
    """An epoch of one seed as a loop over steps, to be compiled."""
    indices = epoch_order(order_key, len(images), batch_size)

    def step(state, drawn):
        return drawn_step(parts, state, inputs, images, given, drawn)

    drawn = indices, step_keys(parts, augment_key, len(indices))
    state, (losses, predictions, margins) = jax.lax.scan(step, state, drawn)
    return state, Batches(losses, predictions, margins, indices)


def drawn_step(
    parts: StepParts,
    state: TrainState,
    inputs: Inputs,
    images: Array,
    given: Int[Array, "n"],
    drawn: tuple[Int[Array, "batch"], PRNGKeyArray | None],
) -> tuple[TrainState, tuple[Array, Array, Array]]:
    """A step of one seed on the examples that were drawn for it, with the key to augment them."""
    batch, key = drawn
    taken = training_batch(parts, inputs, images[batch], given[batch], key)
    return train_step(parts, state, *taken, indices=batch)


def compile_stepwise_epoch(parts: StepParts, batch_size: int, num_seeds: int) -> Callable:
    """The same as `compile_epoch_loop`, a step at a time."""

    def draw(order_key, augment_key, images):
        indices = epoch_order(order_key, len(images), batch_size)
        return indices, step_keys(parts, augment_key, len(indices))

    axes = seed_axes(parts)
    one = functools.partial(drawn_step, parts)
    over = over_seeds(one, num_seeds, (axes, None, None, 0, 0), (axes, 0))
    step = jax.jit(over, donate_argnums=0, out_shardings=devices.replicated(parts.mesh))
    draw_all = jax.jit(over_seeds(draw, num_seeds, (0, 0, None)))

    def run_epoch(state, inputs, images, given, order_keys, augment_keys=None):
        drawn, outputs = draw_all(order_keys, augment_keys, images), []
        indices, _ = drawn
        for i in range(indices.shape[1]):
            of_step = jax.tree.map(lambda x, i=i: x[:, i], drawn)
            state, output = step(state, inputs, images, given, of_step)
            outputs.append(output)
        losses, predictions, margins = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *outputs)
        return state, Batches(losses, predictions, margins, indices)

    return run_epoch


def seed_axes(parts: StepParts) -> TrainState:
    """Which arrays of a state differ between seeds: all except for counters that a refit depends on."""
    loss = nox.ogc.replica_axes(jax.eval_shape(parts.method.loss.init))
    return TrainState(0, 0, StepState(0, loss, 0, 0, 0))


def first_seed(parts: StepParts, state: TrainState) -> TrainState:
    """The state of one seed, as `train_step` takes it."""
    return _along(seed_axes(parts), state, lambda x: x[0])


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


def epoch_order(key: PRNGKeyArray, examples: int, batch_size: int) -> Int[Array, "steps batch"]:
    """The examples of each batch of an epoch, in a new random order; an incomplete last batch is dropped."""
    steps = examples // batch_size
    return jax.random.permutation(key, examples)[: steps * batch_size].reshape(steps, batch_size)


def step_keys(parts: StepParts, key: PRNGKeyArray | None, steps: int) -> PRNGKeyArray | None:
    """What each step of an epoch augments with, if it does."""
    if parts.augment is None or key is None:
        return None
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(steps))


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
    return nox.training_step(forward, method.loss, parts.optimizer, sharpness=method.sharpness, has_aux=True)


def train_step(
    parts: StepParts,
    state: TrainState,
    images: Float[Array, "batch ..."],
    given: Int[Array, "batch"],
    *,
    indices: Int[Array, "batch"] | None = None,
) -> tuple[TrainState, tuple[Float[Array, ""], Int[Array, "batch"], Float[Array, "batch"]]]:
    """One update from one batch, and the first fields of `Batches`; clean labels have no way in."""
    inputs = images, state.statistics
    update = library_step(parts).update
    params, training, info = update(state.params, state.training, inputs, given, indices=indices)
    statistics, logits = info.aux
    if parts.perturbed_statistics and info.perturbed_aux is not None:
        statistics, _ = info.perturbed_aux
    measured = info.loss, jnp.argmax(logits, axis=-1), dynamics.margins(logits, given)
    return TrainState(params, statistics, training), measured


# Examples that group statistics are measured on, and the perturbation's length, the SANER paper's.
GROUP_EXAMPLES, GROUP_CHUNK = 128, 8
GROUP_RHO = 0.1


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

    def losses(params, images, given):
        logits, _ = parts.network.apply(params, state.statistics, images, train=False)
        return parts.method.loss.value(state.loss, logits, given)

    gradient = jax.grad(lambda params: jnp.mean(losses(params, images, given)))
    first = gradient(state.params)
    rule = nox.sharpness.sam_perturbation(GROUP_RHO)
    offset, _ = rule.perturb(first, rule.init(state.params), state.params, jnp.zeros([], jnp.int32))
    second = gradient(optax.apply_updates(state.params, offset))
    fractions = nox.diagnostics.group_fractions(first, second)
    found = {f"group_{name}": value for name, value in zip("abc", fractions, strict=False)}
    if clean is None:
        return found
    rates = nox.per_example_gradients(
        losses,
        chunk_size=GROUP_CHUNK,
        keep=lambda gradient: nox.diagnostics.fitting_rates(first, second, gradient),
    )(state.params, images, given)
    ratios = jax.tree.map(lambda rate: jnp.mean(rate, where=~clean) / jnp.mean(rate, where=clean), rates)
    return found | {f"fitting_ratio_{name}": value for name, value in zip("abc", ratios, strict=False)}


def prepare(inputs: Inputs, images: Array) -> Float[Array, "..."]:
    """Raw images as the network sees them."""
    shift, scale = (jax.lax.broadcast(x, images.shape[:-1]) for x in inputs)
    return (images.astype(jnp.float32) - shift) * scale
