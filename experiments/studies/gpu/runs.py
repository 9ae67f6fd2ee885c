"""The training runs of the speed-run network: which, in which order, and the programs that they share."""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import Experiment
from experiments.presets import speedrun_cifar10
from experiments.studies.gpu.one_of import one_of
from experiments.studies.gpu.pictures import CLASSES
from experiments.studies.whole_runs import whole_run
from experiments.studies.whole_runs.whole_run import Pictures
from experiments.training import setup, training_data
from experiments.training.steps import Inputs, TrainState

PRESET_EPOCHS = 10
# The published setting of OGC: a bound on the gradient ratio of 3 at the largest learning rate of 0.1, and a
# new fit every 32 batches of 128.
OGC_LARGEST_BOUND, OGC_REFIT_EXAMPLES = 3, 32 * 128


class Shape(NamedTuple):
    """What the size of a run depends on; the defaults are the real thing, others are for rehearsals.

    Attributes:
      width: of the network.
      batch_size: examples per step.
      precision: what convolutions are computed in.
      step_by_step: whether a run is a loop of Python's, see `whole_run.compile_run`.
    """

    width: int = 256
    batch_size: int = 1024
    precision: Any = "bfloat16"
    step_by_step: bool = False


class Family(NamedTuple):
    """Methods that one compiled program serves: they differ in the loss only.

    Attributes:
      gradients: how many a step takes.
      methods: name in the results -> how `--method` spells it.
    """

    name: str
    gradients: int
    methods: dict[str, str]


class Run(NamedTuple):
    """A training run; its name is what the results call it."""

    method: str
    labels: str
    epochs: int
    seed: int = 0

    @property
    def name(self) -> str:
        """Unique among the runs of one shape and one set of pictures."""
        return f"{self.method} / {self.labels} / {self.epochs} epochs / seed {self.seed}"


class Program(NamedTuple):
    """A family's compiled run.

    Attributes:
      initial: `initial(keys) -> TrainState`.
      run: see `whole_run.CompiledRun`.
      compile_seconds: what tracing and compiling took.
      bytes: memory that a run needs on the device, its pictures included; None if XLA does not say.
    """

    initial: Callable[[jax.Array], TrainState]
    run: Callable[..., tuple[TrainState, whole_run.Epoch]]
    compile_seconds: float
    bytes: int | None


def families(epochs: int, shape: Shape) -> list[Family]:
    """The methods of the matrix for runs of so many epochs."""
    largest_rate = experiment(epochs, shape).optimization.learning_rate
    ogc = f"epsilon={(OGC_LARGEST_BOUND - 1) / largest_rate:g},update_every={refit_every(shape)}"
    # Published: 50 of 200 epochs.
    saner = f"saner:scale_epochs={max(1, epochs // 4)}"
    return [
        Family(
            "one gradient",
            1,
            {
                "cross_entropy": "cross_entropy",
                "generalized_cross_entropy": "generalized_cross_entropy",
                "dal": "dal",
                "ogc_on_gce": f"ogc:base=generalized_cross_entropy,{ogc}",
                "ogc": f"ogc:{ogc}",
                "phuber_cross_entropy": "phuber_cross_entropy:tau=2",
                "mae_logit_bias": "mae_logit_bias",
                "elr": "elr",
            },
        ),
        Family("SANER", 2, {"saner": f"cross_entropy+{saner}", "dal+saner": f"dal+{saner}"}),
        Family("recommended", 1, {"recommended": "recommended"}),
    ]


def refit_every(shape: Shape) -> int:
    """Steps between OGC's refits, for as many examples as published."""
    return max(1, OGC_REFIT_EXAMPLES // shape.batch_size)


PRESET = Family("preset", 1, {"cross_entropy": "cross_entropy"})


def order(epochs: int, label_sets: Sequence[str]) -> list[Run]:
    """The runs of the matrix, the most valuable first."""
    first = ("cross_entropy", "elr", "recommended", "ogc", "dal", "saner", "generalized_cross_entropy")
    then = ("ogc_on_gce", "phuber_cross_entropy", "dal+saner", "mae_logit_bias")
    columns = ("cifar10n_worst", "clean", "symmetric_40", "asymmetric_40")
    cells = [
        *((labels, method) for labels in columns for method in first),
        *((labels, method) for labels in columns for method in then),
        *(("cifar10n_aggregate", method) for method in first + then),
    ]
    return [Run(method, labels, epochs) for labels, method in cells if labels in label_sets]


def experiment(epochs: int, shape: Shape) -> Experiment:
    """The preset, stretched over so many epochs."""
    preset = speedrun_cifar10.PRESETS[0].train.experiment
    warmup = max(1, round(speedrun_cifar10.RISING_SHARE * epochs)) if epochs > 1 else 0
    return dataclasses.replace(
        preset,
        model=dataclasses.replace(preset.model, width=shape.width, precision=shape.precision),
        optimization=dataclasses.replace(
            preset.optimization, epochs=epochs, batch_size=shape.batch_size, warmup_epochs=warmup
        ),
    )


def compile_family(family: Family, epochs: int, shape: Shape, inputs: Inputs, pictures: Pictures) -> Program:
    """Traces and compiles a family's run; safe to call from several threads."""
    started = time.perf_counter()
    asked = experiment(epochs, shape)
    number, *image_shape = pictures.train_images.shape
    every = [
        setup.assemble(spec, asked, tuple(image_shape), CLASSES, number) for spec in family.methods.values()
    ]
    # They have the transformation in common.
    method = every[0].method._replace(loss=one_of([parts.method.loss for parts in every]))
    parts = every[0]._replace(method=method)
    keys = training_data.seed_keys(asked)
    draw = functools.partial(setup.draw_state, parts)
    initial = jax.jit(draw).lower(keys["init"]).compile()
    state = jax.eval_shape(draw, keys["init"])
    arguments = state, inputs, pictures, keys["order"], keys["augment"]
    compiled = whole_run.compile_run(parts, asked, *arguments, step_by_step=shape.step_by_step)
    return Program(initial, compiled.run, time.perf_counter() - started, compiled.bytes)


def fitted_statistics(shape: Shape, images: np.ndarray, inputs: Inputs) -> Any:
    """What every run's network starts with and no seed changes: the whitening filters for the pictures."""
    asked = experiment(1, shape)
    parts = setup.assemble("cross_entropy", asked, images.shape[1:], CLASSES, len(images))
    state = setup.initial_state(parts, training_data.seed_keys(asked))
    return setup.fit_network(parts, state, images, inputs).statistics


def carry_out(
    run: Run,
    family: Family,
    program: Program,
    statistics: Any,
    inputs: Inputs,
    pictures: Pictures,
    shape: Shape,
) -> dict[str, Any]:
    """Trains; returns what the results say of the run."""
    asked = dataclasses.replace(experiment(run.epochs, shape), first_seed=run.seed)
    keys = training_data.seed_keys(asked)
    state = program.initial(keys["init"])
    index = jnp.full_like(state.loss.index, list(family.methods).index(run.method))
    loss = state.loss._replace(index=index)
    # A copy: the run reuses the memory of the state that it is given.
    state = state._replace(
        statistics=jax.tree.map(jnp.copy, statistics), training=state.training._replace(loss=loss)
    )
    started = time.perf_counter()
    _, epochs = program.run(state, inputs, pictures, keys["order"], keys["augment"])
    measured = {name: values[0].tolist() for name, values in jax.device_get(epochs)._asdict().items()}
    wrong = np.asarray(pictures.given) != np.asarray(pictures.clean)
    return {
        "method": run.method,
        "spec": family.methods[run.method],
        "labels": run.labels,
        "wrong_labels": float(wrong.mean()),
        "epochs": run.epochs,
        "seed": run.seed,
        "seconds": time.perf_counter() - started,
        "program": family.name,
        "gradients": family.gradients,
        "compile_seconds": program.compile_seconds,
        "bytes": program.bytes,
        **measured,
    }
