"""What a network says of images when it is not being trained."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.training import evaluation
from experiments.training.steps import Inputs
from tests.experiments.training import toy

RNG = np.random.default_rng(0)
PARAMS = {"w": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32)}
STATISTICS = {"mean": jnp.array([1.0, -2.0, 0.5])}
IMAGES = RNG.random((5, 2, 2, 1), np.float32)


def test_an_image_is_predicted_alike_whatever_it_is_predicted_with():
    def logits(images):
        return evaluation.predicted_logits(toy.parts(), PARAMS, STATISTICS, jnp.asarray(images))

    expected = IMAGES.reshape(5, 4) @ PARAMS["w"] - STATISTICS["mean"][None]
    np.testing.assert_allclose(logits(IMAGES), expected, rtol=1e-5)
    np.testing.assert_allclose(logits(IMAGES[:1]), expected[:1], rtol=1e-5)


def test_an_image_and_its_mirror_image_are_predicted_alike():
    parts = toy.parts(evaluate_flipped=True)

    def logits(images):
        return evaluation.predicted_logits(parts, PARAMS, STATISTICS, jnp.asarray(images))

    np.testing.assert_allclose(logits(IMAGES), logits(IMAGES[:, :, ::-1]), rtol=1e-6)
    assert np.abs(logits(IMAGES) - logits(IMAGES[:, ::-1])).max() > 0.01


def test_chunks_of_images_come_back_in_order_for_each_seed(monkeypatch):
    monkeypatch.setattr(evaluation, "CHUNK", 2)
    params = {"w": jnp.stack([PARAMS["w"], -PARAMS["w"]])}
    statistics = {"mean": jnp.stack([STATISTICS["mean"], jnp.zeros(3)])}
    inputs = Inputs(jnp.full(1, 0.5), jnp.full(1, 2.0))
    found = evaluation.compile_evaluation(toy.parts(), 2)(params, statistics, inputs, IMAGES)
    seen = (IMAGES - 0.5).reshape(5, 4) * 2
    expected = jnp.stack([seen @ PARAMS["w"] - STATISTICS["mean"][None], seen @ -PARAMS["w"]])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert jax.nn.softmax(found).shape == (2, 5, 3)
