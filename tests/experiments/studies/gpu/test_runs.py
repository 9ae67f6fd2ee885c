"""Which runs there are, in which order, and that a shared program trains as `train` would."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import method_names
from experiments.studies.gpu import page, runs
from experiments.studies.whole_runs import whole_run
from experiments.studies.whole_runs.whole_run import Pictures
from experiments.training import setup, training_data

LABELS = ("clean", "cifar10n_worst", "cifar10n_aggregate", "symmetric_40", "asymmetric_40", "instance_20")


def test_the_most_valuable_comes_first_and_nothing_twice():
    order = runs.order(60, LABELS)
    assert len({run.name for run in order}) == len(order) == 5 * 11
    assert [run.labels for run in order[:14]] == ["cifar10n_worst"] * 7 + ["clean"] * 7
    assert order[2].method == "recommended"
    by_method = {name for family in runs.families(60, runs.Shape()) for name in family.methods}
    assert {run.method for run in order} == by_method
    # Label sets that are not there are left out.
    assert {run.labels for run in runs.order(60, ("clean",))} == {"clean"}


def test_the_methods_are_spelt_as_the_command_line_takes_them():
    families = runs.families(60, runs.Shape())
    for family in families:
        for spec in family.methods.values():
            transformations = {tuple(parsed[1:]) == () for parsed in [method_names.parse(spec)]}
            assert transformations == {family.gradients == 1}
    # A bound of 3 at the largest rate, and a new fit every 4,096 examples, as published.
    spec = next(family for family in families if "ogc" in family.methods).methods["ogc"]
    own = method_names.parse(spec)[0].changed
    largest = runs.experiment(60, runs.Shape()).optimization.learning_rate
    assert 1 + own["epsilon"] * largest == pytest.approx(3, abs=1e-4)
    assert own["update_every"] * runs.Shape().batch_size == 32 * 128


def test_a_shared_program_trains_as_the_method_alone():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3), np.uint8)
    labels = jnp.asarray(rng.integers(0, 10, 24), jnp.int32)
    pictures = Pictures(jnp.asarray(images), labels[None], labels, jnp.asarray(images[:8]), labels[:8])
    shape = runs.Shape(width=8, batch_size=12, precision="float32", step_by_step=True)
    inputs = training_data.measure_inputs(images, scaling="standardize")
    statistics = runs.fitted_statistics(shape, images, inputs)
    family = runs.Family("two", 1, {"ce": "cross_entropy", "gce": "generalized_cross_entropy"})
    program = runs.compile_family(family, 2, shape, inputs, pictures)
    run = runs.Run("gce", "clean", 2, seed=3)
    found = runs.carry_out(run, family, program, statistics, inputs, pictures, shape)

    asked = dataclasses.replace(runs.experiment(2, shape), first_seed=3)
    parts = setup.assemble("generalized_cross_entropy", asked, (32, 32, 3), 10, 24)
    keys = training_data.seed_keys(asked)
    state = setup.fit_network(parts, setup.initial_state(parts, keys), images, inputs)
    alone = whole_run.loop_of_steps(parts, asked)
    _, expected = alone(state, inputs, pictures, keys["order"], keys["augment"])
    np.testing.assert_allclose(found["train_loss"], expected.train_loss[0], rtol=1e-4)
    assert found["wrong_labels"] == 0
    # Twice in a row: the first run has not used up what all of them start from.
    again = runs.carry_out(run, family, program, statistics, inputs, pictures, shape)
    assert again["train_loss"] == found["train_loss"]
    provenance = {"device": "a", "commit": "b", "jax": "c", "machine": "d"}
    result = {"kind": "run", **shape._asdict(), "examples": 24, **found, "provenance": provenance}
    text = page.page([result])
    assert "| `gce` |" in text
    assert "Runs of 2 epochs of 24 pictures" in text
