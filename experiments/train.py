"""Training: what happens in a run, in the order in which it happens."""

import functools
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import noisy_optax as nox
from experiments import (
    augment,
    checkpoint,
    config,
    devices,
    dynamics,
    methods,
    metrics,
    models,
    optimizers,
    run_folder,
    steps,
    streamed,
)
from experiments.config import Experiment, Placement
from experiments.data import labels as data_labels
from experiments.data import sources, stream
from experiments.data.dataset import Dataset, Images, Stream
from experiments.dynamics import Dynamics
from experiments.errors import Stopped, UserError
from experiments.progress import Progress
from experiments.steps import Batches, Inputs, Parts, TrainState


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
    dynamics: Dynamics | None = None


class Fold(NamedTuple):
    """A part of the training set, `number` from 0 of `of`, that is held out instead of a fraction of it."""

    number: int
    of: int


class Split(NamedTuple):
    """Training and validation examples; the labels have a leading axis over seeds.

    Attributes:
      training: their indices in the training set of the source.
      validation: likewise.
    """

    train_images: Images | Stream
    train_given: np.ndarray
    train_clean: np.ndarray | None
    validation_images: Images | Stream
    validation_given: np.ndarray
    training: np.ndarray
    validation: np.ndarray


def train(
    method: str,
    experiment: Experiment,
    run_dir: Path,
    progress: Progress,
    placement: Placement = Placement(),  # noqa: B008  # frozen
    fold: Fold | None = None,
) -> dict[str, Any]:
    """Trains `method` in `run_dir`, resuming what is there, and returns what summary.json says."""
    config.check(experiment)
    mesh = devices.mesh(placement, experiment.optimization.batch_size)
    keys = seed_keys(experiment)
    dataset, given, split = load(experiment, keys["noise"], progress, fold)
    input_shape, examples = dataset.train_images.shape[1:], len(split.train_images)
    parts = assemble(method, experiment, input_shape, dataset.num_classes, examples)._replace(mesh=mesh)

    record = config.as_record(method, experiment) | {"resolved": resolved(dataset, examples, fold)}
    run_folder.claim(run_dir, record)
    if (run_dir / "summary.json").exists():
        summary = run_folder.read_summary(run_dir / "summary.json")
        progress.say(f"{run_dir}: already finished")
        return summary

    checkpoints = checkpoint.Checkpoints(run_dir / "checkpoints")
    inputs = devices.everywhere(mesh, measure_inputs(split.train_images, experiment.data.standardize))
    state = fit_network(parts, initial_state(parts, experiment), split.train_images, inputs)
    run = initial_run(state, parts, experiment, inputs, len(dataset.train_images))
    epoch = 0
    if restored := checkpoints.restore(checkpoint.abstract(run, devices.replicated(mesh))):
        epoch, run = restored
        checkpoints.set_aside_after(epoch)
        progress.say(f"{run_dir}: resuming after epoch {epoch}")
    within = within_epochs(run_dir, experiment, examples)
    if within is not None:
        epoch, step, run = within.restore(epoch, run, devices.replicated(mesh))
        if step:
            progress.say(f"{run_dir}: resuming after step {step} of epoch {epoch + 1}")
    history = run_folder.read_metrics(run_dir, epoch)

    def on_device(images):
        return images if isinstance(images, Stream) else devices.everywhere(mesh, images)

    train_images, test_images = on_device(split.train_images), on_device(dataset.test_images)
    validation_images, train_given = on_device(split.validation_images), on_device(split.train_given)
    keys = devices.everywhere(mesh, keys)
    compile_loops = streamed.compile_loops if experiment.data.stream else steps.compile_loops
    run_epoch, evaluate = compile_loops(parts, experiment)

    def logits_of(state, images):
        return evaluate(state.params, state.statistics, inputs, images)

    add_to = compile_record(parts, split)
    measure_groups = group_measurement(parts, experiment, split, inputs)
    started, diverged = time.perf_counter(), False
    stop_at = started + 60 * (placement.stop_after or 0)
    with progress.epochs(method, epoch, experiment.optimization.epochs) as report_epoch:
        while epoch < experiment.optimization.epochs:
            order_keys, augment_keys = (
                jax.vmap(jax.random.fold_in, (0, None))(keys[purpose], epoch)
                for purpose in ("order", "augment")
            )
            resumption = within.arguments(epoch, run) if within is not None else {}
            state, batches = run_epoch(
                run.state, inputs, train_images, train_given, order_keys, augment_keys, **resumption
            )
            epoch += 1

            measured = {
                "epoch": epoch,
                **measure_training(batches, split),
                # Fetched now: the next epoch reuses the memory of the state.
                **jax.device_get(parts.method.measure(state.loss)),
            }
            measured |= jax.device_get(measure_groups(state))
            held_out = logits_of(state, validation_images) if len(validation_images) else None
            recorded = add_to(run.dynamics, batches, held_out)
            if held_out is not None:
                predicted = np.argmax(held_out, axis=-1)
                measured["validation_accuracy"] = metrics.accuracy(predicted, split.validation_given)
            if test_images is not None and dataset.test_labels is not None:
                predicted = np.argmax(logits_of(state, test_images), axis=-1)
                measured["test_accuracy"] = metrics.accuracy(predicted, dataset.test_labels)
                measured["test_recall"] = metrics.per_class_recall(
                    predicted, dataset.test_labels, dataset.num_classes
                )
            run = Run(state, select(run.selected, state, measured), inputs, recorded)

            run_folder.append_metrics(run_dir, measured)
            history.append(measured)
            finished = epoch == experiment.optimization.epochs
            stopping = placement.stop_after is not None and time.perf_counter() > stop_at
            if finished or stopping or epoch % experiment.checkpoint_every == 0:
                checkpoints.save(epoch, run)
            report_epoch(measured)
            diverged = diverged or warn_if_diverged(method, measured, seeds_of(experiment))
            if stopping and not finished:
                checkpoints.close()
                raise Stopped(f"{run_dir}: stopped after epoch {epoch}; the same command goes on from there")
    checkpoints.close()
    if within is not None:
        within.remove()

    summary = {
        **metrics.summarize(history),
        "seeds": list(seeds_of(experiment)),
        "seconds": time.perf_counter() - started,
        "realised_noise": None if given.rate is None else {"rate": given.rate, "matrix": given.matrix},
        "config": record,
        "provenance": run_folder.provenance(),
    }
    if devices.is_main_process():
        plot(method, history, run.state.loss, run_dir)
    # Last: this file says that the run is finished.
    run_folder.write_json(run_dir / "summary.json", summary)
    return summary


def load(
    experiment: Experiment, noise_keys: PRNGKeyArray, progress: Progress, fold: Fold | None = None
) -> tuple[Dataset, data_labels.GivenLabels, Split]:
    """The data set, the labels that each seed is given, and what of both is trained on."""
    data, batch_size = experiment.data, experiment.optimization.batch_size
    if data.stream and jax.process_count() > 1:
        raise UserError("--stream works with a single process only; leave out --coordinator")
    dataset = sources.load(
        data.dataset,
        image_size=data.image_size,
        data_dir=data.data_dir,
        streamed=data.stream,
        progress=progress,
    )
    given = data_labels.corrupt(data, dataset, noise_keys)
    split = hold_out(dataset.train_images, given, data.validation_fraction, fold)
    if len(split.train_images) < batch_size:
        raise UserError(
            f"--batch-size {batch_size} is more than the {len(split.train_images)} training examples"
        )
    return dataset, given, split


def resolved(dataset: Dataset, train_examples: int, fold: Fold | None = None) -> dict[str, Any]:
    """What a run depends on beside its configuration: the data that was found under a name, and the fold."""
    return ({} if fold is None else {"fold": fold}) | {
        "num_classes": dataset.num_classes,
        "input_shape": list(dataset.train_images.shape[1:]),
        "input_dtype": str(dataset.train_images.dtype),
        "train_examples": train_examples,
        "examples": len(dataset.train_images),
        "data_hash": run_folder.fingerprint(*map(stream.identity, dataset[:5])),
        "class_names": dataset.class_names,
    }


def within_epochs(run_dir: Path, experiment: Experiment, examples: int) -> streamed.WithinEpochs | None:
    """The checkpoints between steps that the configuration asks for."""
    every, batch_size = experiment.checkpoint_every_steps, experiment.optimization.batch_size
    if every is None:
        return None
    return streamed.WithinEpochs(run_dir, every, examples // batch_size, batch_size)


def plot(method: str, history: list[dict[str, Any]], loss_state: Any, run_dir: Path) -> None:
    """The pictures of a finished run."""
    # Here, so that training begins before Matplotlib has been imported.
    from experiments import plots

    plots.curves(history, run_dir / "curves.png", title=method)
    if "group_b" in history[-1]:
        plots.groups(history, run_dir / "groups.png", title=method)
    if isinstance(loss_state, nox.ogc.OGCState):
        queue, valid = np.asarray(loss_state.queue), np.asarray(loss_state.valid)
        plots.threshold(history, run_dir / "threshold.png", title=method)
        plots.mixture(queue, valid, history[-1], run_dir / "mixture.png", title=method)


def seeds_of(experiment: Experiment) -> range:
    """The seeds that the configuration asks for."""
    return range(experiment.first_seed, experiment.first_seed + experiment.seeds)


def seed_keys(experiment: Experiment) -> dict[str, PRNGKeyArray]:
    """One key per seed for each thing that is drawn, so that none depends on how much another draws."""
    roots = jax.vmap(jax.random.key)(jnp.asarray(seeds_of(experiment), jnp.uint32))
    # New purposes go last, so that those before them keep their draws.
    purposes = ("noise", "init", "order", "augment")
    return {name: jax.vmap(jax.random.fold_in, (0, None))(roots, i) for i, name in enumerate(purposes)}


def hold_out(
    images: Images | Stream, given: data_labels.GivenLabels, fraction: float, fold: Fold | None = None
) -> Split:
    """Takes a fraction of the examples, or a fold, out of the training set, the same for every seed."""
    order = np.random.default_rng(0).permutation(len(images))
    held = round(fraction * len(images))
    if fold is not None:
        start = fold.number * len(order) // fold.of
        held = (fold.number + 1) * len(order) // fold.of - start
        order = np.roll(order, -start)
    elif fraction and not 0 < held < len(images):
        raise UserError(
            f"--validation-fraction {fraction:g} of {len(images)} examples leaves none to "
            f"{'train on' if held else 'validate on'}"
        )
    validation, training = np.sort(order[:held]), np.sort(order[held:])
    clean = None if given.clean is None else given.clean[training]
    return Split(
        stream.take(images, training),
        given.given[:, training],
        clean,
        stream.take(images, validation),
        given.given[:, validation],
        training,
        validation,
    )


def measure_inputs(images: Images | Stream, standardize: bool) -> Inputs:
    """Byte pixels are brought to [0, 1]; `standardize` centres and scales each channel or feature."""
    unit = 1 / 255 if images.dtype == np.uint8 else 1.0
    channels = images.shape[-1:]
    if not standardize:
        return Inputs(jnp.zeros(channels, jnp.float32), jnp.full(channels, unit, jnp.float32))
    # In chunks, so that a stream gives the same to the last bit.
    count = math.prod(images.shape[:-1])

    def mean_of(function):
        sums = [function(chunk).reshape(-1, *channels).sum(axis=0) for chunk in stream.chunks(images)]
        return sum(sums) / count

    mean = mean_of(lambda chunk: chunk.astype(np.float64))
    sd = np.sqrt(mean_of(lambda chunk: np.square(chunk - mean)))
    # A feature that never varies carries nothing: centred, it is 0 whatever its scale.
    return Inputs(jnp.asarray(mean, jnp.float32), jnp.asarray(1 / np.where(sd > 0, sd, 1), jnp.float32))


def assemble(
    method: str, experiment: Experiment, input_shape: tuple[int, ...], num_classes: int, train_examples: int
) -> Parts:
    """The network, the method and the optimizer that the configuration names."""
    optimization = experiment.optimization
    steps_per_epoch = train_examples // optimization.batch_size
    learning_rate = optimizers.learning_rate(optimization, steps_per_epoch)
    setting = methods.Setting(
        num_classes, optimization.epochs, steps_per_epoch, learning_rate, train_examples
    )
    chosen = methods.build(config.hyperparameters_of(method, experiment), setting)
    limit = optimization.gradient_norm_clip
    optimizer = optax.chain(
        chosen.transformation,
        optimizers.l1_decay(optimization.l1_decay),
        optax.identity() if limit is None else optax.clip_by_global_norm(limit),
        optimizers.build(optimization, learning_rate),
    )
    if experiment.augmentation.evaluate_flipped and len(input_shape) != 3:
        raise UserError(f"--evaluate-flipped needs images [N, H, W, C], got [N, {input_shape[0]}]")
    network = models.build(experiment.model, input_shape, num_classes)
    return Parts(
        network,
        chosen,
        optimizer,
        optimization.perturbed_statistics,
        augment.build(experiment.augmentation, input_shape),
        experiment.augmentation.evaluate_flipped,
    )


def initial_state(parts: Parts, experiment: Experiment) -> TrainState:
    """Parameters and states before the first step, for all seeds."""
    # It runs once: on a CPU, to optimize it takes longer than that saves.
    options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    draw = jax.jit(
        functools.partial(draw_state, parts),
        out_shardings=devices.replicated(parts.mesh),
        compiler_options=options,
    )
    return draw(devices.everywhere(parts.mesh, seed_keys(experiment)["init"]))


# What a network computes from training images before the first step is computed from so many.
FIT_EXAMPLES = 5000


def fit_network(parts: Parts, state: TrainState, images: Images | Stream, inputs: Inputs) -> TrainState:
    """The initial state with what the network computes from the first training images, if it does."""
    if parts.network.fit is None:
        return state
    first = next(stream.chunks(images, FIT_EXAMPLES))
    statistics = parts.network.fit(state.statistics, np.asarray(steps.prepare(inputs, jnp.asarray(first))))
    return state._replace(statistics=devices.everywhere(parts.mesh, statistics))


def draw_state(parts: Parts, keys: PRNGKeyArray) -> TrainState:
    """Parameters and states before the first step, for the seeds of the keys."""

    def draw(key):
        params, statistics = parts.network.init(key)
        return TrainState(params, statistics, steps.training_step(parts).init(params))

    return jax.vmap(draw, out_axes=steps.seed_axes(parts))(keys)


def initial_run(
    state: TrainState, parts: Parts, experiment: Experiment, inputs: Inputs, examples: int | None
) -> Run:
    """The run before its first step, to record the dynamics of so many examples of the source."""
    recorded = None if examples is None else dynamics.nothing_seen(experiment.seeds, examples)
    recorded = devices.everywhere(parts.mesh, recorded)
    if experiment.select == "last":
        return Run(state, None, inputs, recorded)
    # Copies: the training epoch reuses the memory of the state that it is given.
    params, statistics = jax.tree.map(jnp.copy, (state.params, state.statistics))
    none_yet = devices.everywhere(parts.mesh, np.full(experiment.seeds, -1, np.float32))
    return Run(state, Selected(params, statistics, none_yet), inputs, recorded)


def shape_of_run(parts: Parts, experiment: Experiment, inputs: Inputs, examples: int | None) -> Run:
    """Shapes and types of what a checkpoint holds."""

    def draw():
        state = draw_state(parts, seed_keys(experiment)["init"])
        return initial_run(state, parts, experiment, inputs, examples)

    return jax.eval_shape(draw)


def compile_record(parts: Parts, split: Split) -> Callable:
    """`record(dynamics, batches, logits) -> dynamics`: adds an epoch's batches and the held-out logits."""
    mesh = parts.mesh
    examples = devices.everywhere(mesh, (split.training, split.validation, split.validation_given))

    def record(recorded, examples, batches, logits):
        training, validation, given = examples
        _, predictions, margins, indices = (x.reshape(len(x), -1) for x in batches)
        predictions, margins = predictions.astype(jnp.int32), margins.astype(jnp.float32)
        weight = dynamics.epoch_weight(margins)
        recorded = dynamics.record(recorded, training[indices], predictions, margins, weight)
        if logits is None:
            return recorded
        held_out = jnp.tile(validation, (len(given), 1)), jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return dynamics.record(recorded, *held_out, dynamics.margins(logits, given), weight)

    compiled = jax.jit(record, out_shardings=devices.replicated(mesh))
    return lambda recorded, batches, logits: compiled(
        recorded, examples, batches, devices.everywhere(mesh, logits)
    )


def measure_training(batches: Batches, split: Split) -> dict[str, Any]:
    """The epoch's metrics on the training batches, given and clean labels looked up by index."""
    losses, predictions, indices = (
        np.asarray(x).reshape(len(x), -1) for x in (batches.loss, batches.predictions, batches.indices)
    )
    given = np.take_along_axis(split.train_given, indices, axis=1)
    clean = None if split.train_clean is None else split.train_clean[indices]
    return metrics.train_metrics(losses, predictions, given, clean)


def group_measurement(
    parts: Parts, experiment: Experiment, split: Split, inputs: Inputs
) -> Callable[[TrainState], dict[str, Any]]:
    """What `--group-statistics` adds to an epoch's metrics, on the first training examples."""
    if not experiment.group_statistics:
        return lambda state: {}
    images = next(stream.chunks(split.train_images, steps.GROUP_EXAMPLES))
    given = split.train_given[:, : steps.GROUP_EXAMPLES]
    clean = None if split.train_clean is None else given == split.train_clean[: steps.GROUP_EXAMPLES]
    run = steps.compile_group_statistics(parts, experiment.seeds)
    return lambda state: run(state, inputs, images, given, clean)


def select(selected: Selected | None, state: TrainState, measured: dict[str, Any]) -> Selected | None:
    """The better of `selected` and the present parameters by accuracy on the held-out given labels."""
    if selected is None:
        return None
    accuracy = jnp.asarray(measured["validation_accuracy"], jnp.float32)
    better = accuracy > selected.accuracy

    def choose(new, old):
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, Selected(state.params, state.statistics, accuracy), selected)


def warn_if_diverged(method: str, measured: dict[str, Any], seeds: range) -> bool:
    """Warns if a loss is no longer a number; the run goes on, since other seeds may be well."""
    lost = [seed for seed, loss in zip(seeds, measured["train_loss"], strict=True) if not np.isfinite(loss)]
    if lost:
        warnings.warn(
            f"{method}: training loss of seed {lost[0]} is not finite in epoch {measured['epoch']}; "
            f"try a smaller --learning-rate, or --standardize if the features are large",
            stacklevel=2,
        )
    return bool(lost)
