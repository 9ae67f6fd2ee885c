import jax
import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from experiments import many_classes, plots


@pytest.fixture(scope="module")
def hundred():
    """Accuracy of each loss with 100 classes, two seeds."""
    keys = jax.vmap(jax.random.key)(np.arange(2))

    def accuracies(keys):
        return {
            name: jax.vmap(lambda key, loss=loss: many_classes.train(loss, 100, key))(keys)
            for name, loss in many_classes.compared(100).items()
        }

    return jax.tree.map(np.mean, jax.jit(accuracies)(keys))


def test_mean_absolute_error_needs_the_bias_to_learn_a_hundred_classes(hundred):
    assert hundred["mean absolute error"] < 0.5
    assert hundred["mean absolute error, logit bias"] > 0.65


def test_a_share_of_the_training_labels_is_wrong_and_no_test_label():
    data = many_classes.draw(10, jax.random.key(0))
    right = np.tile(np.arange(10), many_classes.TRAIN_PER_CLASS)
    assert np.sum(np.asarray(data.given) != right) == round(many_classes.NOISE_RATE * len(right))
    np.testing.assert_array_equal(data.test_labels, np.tile(np.arange(10), many_classes.TEST_PER_CLASS))


def test_table_and_picture(tmp_path, capsys):
    own = {"mean absolute error": {"mean": 0.5, "sd": 0.1}, "cross-entropy": {"mean": 0.75, "sd": 0.02}}
    measured = {"seeds": [0, 1], "accuracies": {"10": own, "100": own}}
    Console(width=80).print(many_classes.table(measured))
    assert "50.00 ± 10.00" in capsys.readouterr().out
    plots.many_classes(measured["accuracies"], tmp_path / "many.png")
    assert matplotlib.image.imread(tmp_path / "many.png").size
