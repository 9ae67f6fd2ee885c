"""What a run is made of before its first step: network, method, optimizer, data, state."""

import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import noisy_optax as nox
from experiments import config, method_names, methods
from experiments.config import Experiment, Placement
from experiments.data import stream
from experiments.data.dataset import Dataset, Images, Stream
from experiments.data.labels import GivenLabels
from experiments.data.pictures import augmentation
from experiments.models.build import build
from experiments.terminal import Progress, UserError
from experiments.training import devices, optimizers, steps
from experiments.training.steps import Inputs, StepParts, TrainState
from experiments.training.training_data import (
    Fold,
    Split,
    load,
    measure_inputs,
    resolved,
    resolved_scaling,
    scaling_in_words,
    seed_keys,
)


class Selected(NamedTuple):
    """The parameters of the best epoch so far, and the validation accuracy that makes them so."""

    params: Any
    statistics: Any
    accuracy: Float[Array, "seeds"]


class Run(NamedTuple):
    """What a checkpoint holds; `selected` is None where the last epoch's parameters are used."""

    state: TrainState
    selected: Selected | None
    inputs: Inputs


class Setup(NamedTuple):
    """All that a run is made of and that does not change while it trains.

    Attributes:
      record: the configuration as it is saved in the run folder.
      keys: one key per seed for each thing that is drawn.
    """

    method: str
    experiment: Experiment
    placement: Placement
    record: dict[str, Any]
    dataset: Dataset
    given: GivenLabels
    split: Split
    inputs: Inputs
    keys: dict[str, PRNGKeyArray]
    parts: StepParts


def set_up(
    method: str, experiment: Experiment, placement: Placement, progress: Progress, fold: Fold | None
) -> Setup:
    """Loads the data, draws the given labels and builds network, method and optimizer."""
    config.check(experiment)
    mesh = devices.mesh(placement, experiment.optimization.batch_size)
    keys = seed_keys(experiment)
    dataset, given, split = load(experiment, progress, fold)
    input_shape, examples = dataset.train_images.shape[1:], len(split.train_images)
    # Once, not for each fold.
    for remark in dataset.remarks if fold is None else ():
        progress.say(remark)
    parts = assemble(method, experiment, input_shape, dataset.num_classes, examples)
    parts = parts._replace(mesh=mesh, audited=len(dataset.train_images))
    warn_if_never_full(parts, experiment, examples)
    record = config.as_record(method, experiment) | {"resolved": resolved(dataset, examples, fold)}
    inputs = measure_inputs(split.train_images, resolved_scaling(experiment.data))
    unit = 1 / 255 if dataset.train_images.dtype == np.uint8 else 1.0
    usual = len(input_shape) == 3 and bool(np.allclose(inputs.scale, unit))
    if experiment.data.scaling == "auto" and not usual:
        progress.say(scaling_in_words(inputs, input_shape))
    inputs = devices.everywhere(mesh, inputs)
    keys = devices.everywhere(mesh, keys)
    return Setup(method, experiment, placement, record, dataset, given, split, inputs, keys, parts)


def warn_if_never_full(parts: StepParts, experiment: Experiment, examples: int) -> None:
    """Warns where optimized gradient clipping will not clip, since its queue is larger than the run."""
    state = jax.eval_shape(parts.method.loss.init)
    if not isinstance(state, nox.ogc.OGCState):
        return
    batch_size, epochs = experiment.optimization.batch_size, experiment.optimization.epochs
    seen, size = epochs * (examples // batch_size) * batch_size, state.queue.shape[0]
    if size > seen:
        warnings.warn(
            f"ogc: nothing will be clipped, since its queue of {size:,} examples is not full before the run "
            f"ends ({seen:,} examples); train longer, or use ogc:queue_size={max(1, seen // 4)}",
            stacklevel=2,
        )


def start(setup: Setup) -> Run:
    """The run before its first step."""
    parts, experiment, split = setup.parts, setup.experiment, setup.split
    state = fit_network(parts, initial_state(parts, setup.keys), split.train_images, setup.inputs)
    return initial_run(state, parts, experiment, setup.inputs)


def assemble(
    method: str, experiment: Experiment, input_shape: tuple[int, ...], num_classes: int, train_examples: int
) -> StepParts:
    """The network, the method and the optimizer that the configuration names."""
    optimization = experiment.optimization
    steps_per_epoch = train_examples // optimization.batch_size
    learning_rate = optimizers.learning_rate(optimization, steps_per_epoch)
    setting = methods.Setting(
        num_classes, optimization.epochs, steps_per_epoch, learning_rate, train_examples
    )
    chosen = method_names.build(method, setting)
    limit = optimization.gradient_norm_clip
    optimizer = optax.chain(
        chosen.transformation,
        optimizers.l1_decay(optimization.l1_decay),
        optax.identity() if limit is None else optax.clip_by_global_norm(limit),
        optimizers.build(optimization, learning_rate),
    )
    if experiment.augmentation.evaluate_flipped and len(input_shape) != 3:
        raise UserError(f"--evaluate-flipped needs images [N, H, W, C], got [N, {input_shape[0]}]")
    network = build(experiment.model, input_shape, num_classes)
    return StepParts(
        network,
        chosen,
        optimizer,
        optimization.perturbed_statistics,
        augmentation.build(experiment.augmentation, input_shape),
        experiment.augmentation.evaluate_flipped,
    )


def initial_state(parts: StepParts, keys: dict[str, PRNGKeyArray]) -> TrainState:
    """Parameters and states before the first step, for all seeds, from their keys."""
    # It runs once: on a CPU, to optimize it takes longer than that saves.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    draw = jax.jit(
        functools.partial(draw_state, parts),
        out_shardings=devices.replicated(parts.mesh),
        compiler_options=options,
    )
    return draw(devices.everywhere(parts.mesh, keys["init"]))


# What a network computes from training images before the first step is computed from so many.
FIT_EXAMPLES = 5000


def fit_network(parts: StepParts, state: TrainState, images: Images | Stream, inputs: Inputs) -> TrainState:
    """The initial state with what the network computes from the first training images, if it does."""
    if parts.network.fit is None:
        return state
    first = next(stream.chunks(images, FIT_EXAMPLES))
    statistics = parts.network.fit(state.statistics, np.asarray(steps.prepare(inputs, jnp.asarray(first))))
    return state._replace(statistics=devices.everywhere(parts.mesh, statistics))


def draw_state(parts: StepParts, keys: PRNGKeyArray) -> TrainState:
    """Parameters and states before the first step, for the seeds of the keys."""

    def draw(key):
        params, statistics = parts.network.init(key)
        return TrainState(params, statistics, steps.library_step(parts).init(params))

    return jax.vmap(draw, out_axes=steps.seed_axes(parts))(keys)


def initial_run(state: TrainState, parts: StepParts, experiment: Experiment, inputs: Inputs) -> Run:
    """The run before its first step."""
    if experiment.select == "last":
        return Run(state, None, inputs)
    # Copies: the training epoch reuses the memory of the state that it is given.
    params, statistics = jax.tree.map(jnp.copy, (state.params, state.statistics))
    none_yet = devices.everywhere(parts.mesh, np.full(experiment.seeds, -1, np.float32))
    return Run(state, Selected(params, statistics, none_yet), inputs)


def shape_of_run(parts: StepParts, experiment: Experiment, inputs: Inputs) -> Run:
    """Shapes and types of what a checkpoint holds."""

    def draw():
        state = draw_state(parts, seed_keys(experiment)["init"])
        return initial_run(state, parts, experiment, inputs)

    return jax.eval_shape(draw)
