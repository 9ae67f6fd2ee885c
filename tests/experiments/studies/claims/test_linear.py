import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.runs import run_folder
from experiments.studies.claims import linear, long_servedio, outliers
from noisy_optax import losses


@pytest.mark.parametrize("index", [0, 1])
def test_mean_losses_at_the_published_minima_are_those_published(index):
    run = run_folder.read_json(linear.PUBLISHED)["outliers"]["runs"][index]
    points = outliers.draw(run["seed"])
    for part, size in (("inliers", 10_000), ("all", 10_050)):
        x, labels = (array[:size] for array in points)
        for name, loss in linear.compared(run["huber_tau"], run["phuber_tau"]).items():
            risk = jnp.mean(loss(linear.logits(run["theta"][part][name] * x), labels))
            np.testing.assert_allclose(risk, run["risk"][part][name], rtol=1e-5)


def test_huberised_loss_has_the_slope_of_the_logistic_one_up_to_tau():
    scores = jnp.array([-20.0, -2.0, -0.5, 0.0, 3.0])
    huberised = functools.partial(linear.huberised, tau=0.7)

    def slopes(loss):
        return jax.vmap(jax.grad(lambda score: loss(linear.logits(score[None]), jnp.array([1]))[0]))(scores)

    np.testing.assert_allclose(slopes(huberised), jnp.maximum(slopes(losses.cross_entropy), -0.7), rtol=1e-5)
    np.testing.assert_allclose(huberised(linear.logits(scores), jnp.ones(5, int))[3], np.log(2), rtol=1e-6)


def test_a_share_of_the_training_labels_is_turned_around_and_no_test_label():
    data = long_servedio.draw(0, 0.3)
    wrong = (np.asarray(data.x[:, 0]) >= 0) != np.asarray(data.given)
    assert 0.25 < wrong.mean() < 0.35
    np.testing.assert_array_equal(data.test_x[:, 0] >= 0, data.test_labels)
    # Half of the points are of the atom that is twice as frequent, whose coordinates have opposite signs.
    near = np.linalg.norm(np.abs(data.x) - long_servedio.GAMMA, axis=1) < 0.06
    assert 0.45 < near.mean() < 0.55


def test_norms_are_clipped_of_the_batch_or_of_each_example():
    x, labels = jnp.array([[2.0, 0.0], [0.0, 0.2]]), jnp.array([1, 0])
    # At w = 0 the gradients are (-1, 0) and (0, 0.1).
    found = {name: gradient(jnp.zeros(2), x, labels) for name, gradient in long_servedio.clipped().items()}
    mean = np.array([-0.5, 0.05])
    np.testing.assert_allclose(found["batch norm 0.1"], 0.1 * mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(found["example norm 0.3"], [-0.15, 0.05], rtol=1e-5)


def test_wrong_labels_defeat_the_logistic_loss_and_not_the_one_clipped_in_p():
    compared = linear.compared(long_servedio.HUBER_TAU, long_servedio.PHUBER_TAU)

    def mean(name):
        # optax's schedule promotes.
        with jax.numpy_dtype_promotion("standard"):
            return long_servedio.accuracy(long_servedio.mean_gradient(compared[name]), 0.2, trials=2)["mean"]

    assert mean("logistic") < long_servedio.FAILS
    assert mean("partially_huberised") > long_servedio.SUCCEEDS
