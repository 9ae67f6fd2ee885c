import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import config
from experiments.runs import run_folder
from experiments.studies.claims import dal_dynamics, gradient_ratio, on_digits
from experiments.training import steps
from experiments.training.loop import train
from noisy_optax import stateless


@pytest.fixture(scope="module")
def experiment(tiny_npz):
    return config.Experiment(
        data=config.Data(dataset=f"npz:{tiny_npz}"),
        model=config.Model(width=8),
        optimization=config.Optimization(epochs=3, batch_size=20),
        seeds=2,
    )


def test_the_curves_are_those_of_train(experiment, tmp_path, quiet):
    curves = on_digits.curves(on_digits.prepare("phuber_cross_entropy", experiment))
    train("phuber_cross_entropy", experiment, tmp_path / "run", quiet)
    for epoch, line in enumerate(run_folder.read_metrics(tmp_path / "run", 3)):
        for name in ("train_loss", "memorised", "test_accuracy"):
            np.testing.assert_array_equal(curves[name][epoch], line[name])


def test_a_loss_of_ones_own_is_trained_on(experiment):
    constant = stateless(lambda logits, labels, **_: 7.0 + 0.0 * logits[..., 0])
    curves = on_digits.curves(on_digits.prepare("cross_entropy", experiment, constant))
    np.testing.assert_array_equal(curves["train_loss"], np.full((3, 2), 7.0))


def test_gradient_norms_are_those_of_single_examples(experiment):
    training = on_digits.prepare("cross_entropy", experiment)
    state, _ = next(on_digits.epochs(training))
    norms = gradient_ratio.gradient_norms(training)(state)
    assert norms.shape == (2, 60)
    first = steps.first_seed(training.parts, state)
    image = steps.prepare(training.inputs, jnp.asarray(training.split.train_images[4:5]))

    def loss(params):
        logits, _ = training.parts.network.apply(params, first.statistics, image, train=False)
        return optax.softmax_cross_entropy_with_integer_labels(logits[0], training.split.train_given[0, 4])

    np.testing.assert_allclose(norms[0, 4], optax.tree.norm(jax.grad(loss)(first.params)), rtol=1e-4)


def test_the_ratio_is_of_means():
    logits = np.log(np.array([[[0.5, 0.5], [0.75, 0.25], [0.9, 0.1]]], np.float32))
    slopes = gradient_ratio.slope(logits, np.array([[0, 1, 1]]))
    np.testing.assert_allclose(slopes, [[2, 4, 10]], rtol=1e-5)
    np.testing.assert_allclose(
        gradient_ratio.ratio(slopes, np.array([[False, True, True]])), [3.5], rtol=1e-5
    )


def test_epochs_until_a_level():
    curve = np.array([[0.2, 0.1], [0.8, 0.3], [0.7, 0.4]])
    np.testing.assert_array_equal(dal_dynamics.epochs_until(curve, np.array([0.5, 0.5])), [2, 4])
