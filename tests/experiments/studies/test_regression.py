from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.runs import run_folder
from experiments.studies import regression

RESULTS = Path(regression.__file__).parents[1] / "results"


def test_a_share_of_the_training_targets_is_wrong_and_no_test_target():
    right, wrong = regression.split(3, 0.0), regression.split(3, 0.25)
    changed = np.asarray(right.given != wrong.given)
    assert changed.sum() == round(0.25 * regression.TRAIN_SIZE)
    assert np.std(wrong.given[changed]) > 5
    for a, b in zip(right, wrong, strict=True):
        if a is not right.given:
            np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(right.given.mean(), 0, atol=1e-6)
    np.testing.assert_allclose(right.given.std(), 1, rtol=1e-5)


def test_fixed_limits_limit_what_their_names_say():
    gradients = {"w": jnp.asarray([[3.0, 4.0]] + [[0.3, 0.4]] * (regression.BATCH_SIZE - 1))}
    named = regression.methods()

    def mean(name):
        method = named[name]
        updates, _ = method.update(gradients, method.init({"w": jnp.zeros(2)}), {"w": jnp.zeros(2)})
        return np.asarray(updates["w"])

    rest = (regression.BATCH_SIZE - 1) / regression.BATCH_SIZE
    plain = np.array([0.6, 0.8]) * (5 / regression.BATCH_SIZE + 0.5 * rest)
    np.testing.assert_allclose(mean("plain"), plain, rtol=1e-5)
    np.testing.assert_allclose(mean("batch norm 0.3"), [0.18, 0.24], rtol=1e-5)
    clipped = np.array([0.6, 0.8]) * (1 / regression.BATCH_SIZE + 0.5 * rest)
    np.testing.assert_allclose(mean("example norm 1"), clipped, rtol=1e-5)


def test_it_beat_plain_descent_and_limits_of_the_batch_with_twenty_seeds():
    measured = run_folder.read_json(RESULTS / "regression.json")
    for rate in ("0.1", "0.3"):
        errors = {name: spread["mean"] for name, spread in measured["errors"][rate].items()}
        others = [error for name, error in errors.items() if name.startswith(("plain", "batch"))]
        assert errors["ogc"] < min(others)


@pytest.mark.slow
def test_it_beats_plain_descent_and_the_best_limit_of_the_batch(monkeypatch, capsys):
    chosen = {name: regression.methods()[name] for name in ("plain", "batch norm 0.1", "ogc")}
    monkeypatch.setattr(regression, "methods", lambda: chosen)
    monkeypatch.setattr(regression, "SEEDS", range(10, 12))
    monkeypatch.setattr(regression, "RATES", (0.3,))
    # As it runs for users.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        measured = regression.measure()
    Console().print(regression.table(measured))
    errors = {name: spread["mean"] for name, spread in measured["errors"]["0.3"].items()}
    assert errors["ogc"] < min(errors["plain"], errors["batch norm 0.1"])
