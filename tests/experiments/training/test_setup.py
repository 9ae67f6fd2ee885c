"""What a run is made of before its first step."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import method_names
from experiments.config import Data, Experiment, Model, Optimization, Placement
from experiments.methods import Method
from experiments.training import setup, training_data
from noisy_optax import losses
from noisy_optax.robust_loss import as_robust_loss


@pytest.mark.parametrize("scaling", ["center", "standardize"])
def test_held_out_examples_have_no_part_in_the_scaling(tmp_path, quiet, scaling):
    vectors = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    held_out = np.random.default_rng(0).permutation(40)[:10]
    vectors[held_out] *= 1000
    np.savez(tmp_path / "a.npz", train_images=vectors, train_labels=np.arange(40) % 2)
    data = Data(dataset=f"npz:{tmp_path / 'a.npz'}", validation_fraction=0.25, scaling=scaling)
    asked = Experiment(data=data, model=Model(width=8), optimization=Optimization(batch_size=5))
    found = setup.set_up("cross_entropy", asked, Placement(), quiet, None)
    expected = training_data.measure_inputs(np.delete(vectors, held_out, axis=0), scaling)
    np.testing.assert_allclose(found.inputs.shift, expected.shift, rtol=1e-5)
    np.testing.assert_allclose(found.inputs.scale, expected.scale, rtol=1e-5)


def test_what_a_method_is_told_and_that_the_clip_comes_after_its_transformation(monkeypatch):
    told = []

    def build(name, setting):
        told.append(setting)
        return Method(as_robust_loss(losses.cross_entropy), optax.scale(100.0))

    monkeypatch.setattr(method_names, "build", build)
    optimization = Optimization(
        epochs=3, batch_size=8, learning_rate=1.0, momentum=0.0, weight_decay=0.0, gradient_norm_clip=2.0
    )
    parts = setup.assemble("mine", Experiment(optimization=optimization), (4,), 5, 60)
    (setting,) = told
    assert setting._replace(learning_rate=None) == (5, 3, 7, None, 60)
    params = {"w": jnp.zeros(2)}
    updates, _ = parts.optimizer.update({"w": jnp.array([3.0, 4.0])}, parts.optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], [-1.2, -1.6], rtol=1e-5)
