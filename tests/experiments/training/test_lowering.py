"""Training steps lower for the accelerators that this machine does not have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import methods
from experiments.config import Augmentation, Experiment, Model, Optimization
from experiments.training import setup, steps, training_data

BATCH_SIZE = 8
MLP = Model(width=16)
RESNET = Model(model="resnet18", precision="bfloat16")
COMBINED = [f"cross_entropy+{name}" for name in methods.TRANSFORMATIONS]


@pytest.mark.parametrize(
    ("method", "model"),
    [
        *((name, MLP) for name in ("dal", *COMBINED)),
        pytest.param("ogc+saner", RESNET, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "model", value),
)
def test_a_step_lowers_for_every_platform(method, model):
    augmentation = Augmentation(augment=("crop", "flip", "rotate"))
    asked = Experiment(
        model=model, augmentation=augmentation, optimization=Optimization(batch_size=BATCH_SIZE)
    )
    parts = setup.assemble(method, asked, (32, 32, 3), 10, 10 * BATCH_SIZE)._replace(audited=96)
    inputs = training_data.measure_inputs(np.zeros((1, 32, 32, 3), np.uint8), scaling="none")
    of_all_seeds = setup.shape_of_run(parts, asked, inputs).state
    state = jax.eval_shape(lambda state: steps.first_seed(parts, state), of_all_seeds)

    def step(state, inputs, images, labels, key_data):
        key = jax.random.wrap_key_data(key_data)
        batch = steps.training_batch(parts, inputs, images, labels, key)
        return steps.train_step(parts, state, *batch, indices=jnp.arange(BATCH_SIZE))

    images = jax.ShapeDtypeStruct((BATCH_SIZE, 32, 32, 3), jnp.uint8)
    labels, key_data = (
        jax.ShapeDtypeStruct((BATCH_SIZE,), jnp.int32),
        jax.ShapeDtypeStruct((2,), jnp.uint32),
    )
    exported = jax.export.export(jax.jit(step), platforms=("cpu", "cuda", "tpu"))(
        state, inputs, images, labels, key_data
    )
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "callback" not in exported.mlir_module()
