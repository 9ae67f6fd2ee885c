import jax
import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from experiments.runs import run_folder
from experiments.studies.claims import many_classes, report


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


# Sixteen seconds of training, whose outcome with ten seeds is committed.
@pytest.mark.slow
def test_mean_absolute_error_needs_the_bias_to_learn_a_hundred_classes(hundred):
    assert hundred["mean absolute error"] < 0.5
    assert hundred["mean absolute error, logit bias"] > 0.65


def test_a_share_of_the_training_labels_is_wrong_and_no_test_label():
    data = many_classes.draw(10, jax.random.key(0))
    right = np.tile(np.arange(10), many_classes.TRAIN_PER_CLASS)
    assert np.sum(np.asarray(data.given) != right) == round(many_classes.NOISE_RATE * len(right))
    np.testing.assert_array_equal(data.test_labels, np.tile(np.arange(10), many_classes.TEST_PER_CLASS))


def test_table_and_picture(tmp_path, capsys):
    measured = run_folder.read_json(report.RESULTS / "many_classes.json")
    Console(width=100).print(report.table(many_classes, measured))
    assert "38.96 ± 3.45" in capsys.readouterr().out
    many_classes.picture(measured, tmp_path / "many.png")
    assert matplotlib.image.imread(tmp_path / "many.png").size


def test_each_part_of_the_claim_can_fail():
    names = (many_classes.BASELINE, many_classes.WITHOUT_BIAS, many_classes.WITH_BIAS)

    def held(*accuracies):
        own = {name: {"mean": accuracy} for name, accuracy in zip(names, accuracies, strict=True)}
        measured = {"accuracies": {"3": own, "10": own, "300": own}}
        return [check.held for check in many_classes.checks(measured)]

    assert held(0.5, 0.2, 0.6) == [True, True, True]
    assert held(0.5, 0.3, 0.6) == [False, True, True]
    assert held(0.5, 0.2, 0.4) == [True, False, True]
    assert held(0.5, 0.7, 0.6) == [False, True, False]
