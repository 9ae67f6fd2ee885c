"""The training step that methods are timed on: by default the small CNN, batch 128."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import config
from experiments.studies.bench import timing
from experiments.training import setup, steps, training_data

BATCH_SIZE, IMAGE_SHAPE, CLASSES = 128, (16, 16, 3), 10


class Training:
    """A compiled training step of a method; each call goes on from where the last one ended.

    Not an epoch in one loop, as `train` has it: XLA runs convolutions inside of loops on a CPU ten times as
    slowly, which would hide what is to be measured.
    """

    def __init__(
        self,
        method: str,
        *,
        network: Any = "cnn",
        shape: tuple[int, ...] = IMAGE_SHAPE,
        examples: int = BATCH_SIZE,
        audited: int | None = None,
    ):
        experiment = config.Experiment(
            model=config.Model(model=network), optimization=config.Optimization(batch_size=BATCH_SIZE)
        )
        rng = np.random.default_rng(0)
        images = rng.random((BATCH_SIZE, *shape), np.float32)
        parts = setup.assemble(method, experiment, shape, CLASSES, examples)._replace(audited=audited)
        self.indices = jnp.asarray(rng.permutation(examples)[:BATCH_SIZE], jnp.int32)
        self.state = steps.first_seed(parts, setup.initial_state(parts, training_data.seed_keys(experiment)))
        self.batch = jnp.asarray(images), jnp.asarray(rng.integers(0, CLASSES, BATCH_SIZE, np.int32))
        self.step = jax.jit(functools.partial(steps.train_step, parts), donate_argnums=0)
        self.first_call_seconds = round(timing.first_call(self), 2)

    def __call__(self):
        """One step."""
        self.state, outputs = self.step(self.state, *self.batch, indices=self.indices)
        return outputs
