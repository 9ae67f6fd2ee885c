"""Which examples a run trains on, which it holds out, and the keys of all that is drawn."""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from experiments.config import Data, Experiment
from experiments.data import labels as data_labels
from experiments.data import sources, stream
from experiments.data.dataset import Dataset, Images, Stream
from experiments.runs import run_folder
from experiments.terminal import Progress, UserError
from experiments.training.steps import Inputs


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


def load(
    experiment: Experiment, progress: Progress, fold: Fold | None = None
) -> tuple[Dataset, data_labels.GivenLabels, Split]:
    """The data set, the labels that each seed is given, and what of both is trained on."""
    data, batch_size = experiment.data, experiment.optimization.batch_size
    if data.stream and jax.process_count() > 1:
        raise UserError("--stream works with a single process only; leave out --coordinator")
    dataset = sources.load(data, progress)
    given = data_labels.corrupt(data, dataset, seed_keys(experiment)["noise"])
    if data.labels_file is not None and given.rate is not None and dataset.train_clean_labels is None:
        progress.say(
            f"{data.labels_file}: {given.rate[0]:.1%} of the labels differ from those of {data.dataset}, "
            f"which are taken for clean; if the file corrects them, give it as --corrections"
        )
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
        **({"named_by": dataset.named_by} if dataset.named_by != "file" else {}),
        **({} if dataset.offset is None else {"offset": dataset.offset.tolist()}),
    }


def is_as_recorded(dataset: Dataset, record: dict[str, Any]) -> bool:
    """Whether these are the data that a run was trained on, by what `resolved` said of them then."""
    found = run_folder.as_read(resolved(dataset, record["train_examples"]))
    # Other names of the classes do not make other data.
    compared = (found.keys() & record.keys()) - {"class_names", "named_by"}
    return all(found[name] == record[name] for name in compared)


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


Scaling = Literal["auto", "center", "standardize", "none"]


def measure_inputs(images: Images | Stream, scaling: Scaling) -> Inputs:
    """How the training images are scaled; `Data.scaling` says what the choices mean."""
    channels, is_vector = images.shape[-1:], len(images.shape) == 2
    if scaling == "none" or (scaling == "auto" and images.dtype == np.uint8 and not is_vector):
        unit = 1 / 255 if images.dtype == np.uint8 else 1.0
        return Inputs(jnp.zeros(channels, jnp.float32), jnp.full(channels, unit, jnp.float32))
    if scaling == "auto" and not is_vector:
        return _float_pictures(images)
    # Imported here, since it takes a second and pictures do not need it.
    from noisy_optax.sklearn import scales

    mean, deviations = _moments(images)
    if scaling == "auto":
        scale = scales(deviations)
    elif scaling == "center":
        scale = np.full(channels, np.sqrt(np.sum(deviations**2)) or 1.0)
    else:
        # A feature that never varies carries nothing: centred, it is 0 whatever its scale.
        scale = np.where(deviations > 0, deviations, 1)
    return Inputs(jnp.asarray(mean, jnp.float32), jnp.asarray(1 / scale, jnp.float32))


# Pictures of floats in this range are taken as they are: in 0 to 1, in -1 to 1, or standardised.
AS_THEY_ARE = 8.0


def _float_pictures(images: Images | Stream) -> Inputs:
    """As they are in 0 to 1 or near it, divided by 255 where they are bytes, else standardised."""
    low = min(float(chunk.min()) for chunk in stream.chunks(images))
    high = max(float(chunk.max()) for chunk in stream.chunks(images))
    channels = images.shape[-1:]
    if max(-low, high) <= AS_THEY_ARE:
        return Inputs(jnp.zeros(channels, jnp.float32), jnp.ones(channels, jnp.float32))
    if low >= 0 and high <= 255:
        return Inputs(jnp.zeros(channels, jnp.float32), jnp.full(channels, 1 / 255, jnp.float32))
    return measure_inputs(images, "standardize")


def resolved_scaling(data: Data) -> Scaling:
    """The scaling that `auto` stands for: one scale for tables, whose columns count alike, and embeddings."""
    kind = data.dataset.partition(":")[0]
    return "center" if data.scaling == "auto" and kind in ("csv", "npy") else data.scaling


def scaling_in_words(inputs: Inputs, input_shape: tuple[int, ...]) -> str:
    """How inputs are scaled, for the terminal.

    >>> scaling_in_words(Inputs(jnp.zeros(2), jnp.full(2, 0.25)), (2,))
    'inputs are centred and divided by 4, one scale for all 2 columns; see --scaling'
    """
    if len(input_shape) == 3:
        if not inputs.shift.any():
            return f"pictures are divided by {1 / float(inputs.scale[0]):.3g}; see --scaling"
        return "pictures are standardised, since they are outside of 0 to 255; see --scaling"
    if inputs.scale.max() == inputs.scale.min():
        return (
            f"inputs are centred and divided by {1 / float(inputs.scale[0]):.3g}, one scale for all "
            f"{len(inputs.scale)} columns; see --scaling"
        )
    return f"inputs are centred, each of the {len(inputs.scale)} columns has its own scale; see --scaling"


def _moments(images: Images | Stream) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel or column, in float64."""
    # In chunks, so that a stream gives the same to the last bit.
    channels, count = images.shape[-1:], math.prod(images.shape[:-1])

    def mean_of(function):
        sums = [function(chunk).reshape(-1, *channels).sum(axis=0) for chunk in stream.chunks(images)]
        return sum(sums) / count

    mean = mean_of(lambda chunk: chunk.astype(np.float64))
    return mean, np.sqrt(mean_of(lambda chunk: np.square(chunk - mean)))


def seeds_of(experiment: Experiment) -> range:
    """The seeds that the configuration asks for."""
    return range(experiment.first_seed, experiment.first_seed + experiment.seeds)


def seed_keys(experiment: Experiment) -> dict[str, PRNGKeyArray]:
    """One key per seed for each thing that is drawn, so that none depends on how much another draws."""
    roots = jax.vmap(jax.random.key)(jnp.asarray(seeds_of(experiment), jnp.uint32))
    # New purposes go last, so that those before them keep their draws.
    purposes = ("noise", "init", "order", "augment")
    return {name: jax.vmap(jax.random.fold_in, (0, None))(roots, i) for i, name in enumerate(purposes)}
