"""A run as one compiled loop against the same run step by step, seed by seed, and on what it must learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import Augmentation, Experiment, Model, Optimization
from experiments.studies.whole_runs import whole_run
from experiments.studies.whole_runs.whole_run import Pictures
from experiments.training import evaluation, setup, training_data

EXAMPLES, TESTED, CLASSES = 48, 20, 3


@pytest.fixture(scope="module")
def pictures():
    """Three classes that the colour tells apart, a quarter of the training labels wrong."""
    rng = np.random.default_rng(0)

    def draw(count):
        labels = np.arange(count) % CLASSES
        images = rng.integers(0, 100, (count, 16, 16, 3))
        images[np.arange(count), :, :, labels] += 120
        return images.astype(np.uint8), labels.astype(np.int32)

    (train_images, clean), (test_images, test_labels) = draw(EXAMPLES), draw(TESTED)
    given = np.where(np.arange(EXAMPLES) % 4 == 0, (clean + 1) % CLASSES, clean).astype(np.int32)
    return Pictures(*map(jnp.asarray, (train_images, given[None], clean, test_images, test_labels)))


def experiment(**changes):
    return Experiment(
        model=Model("speedrun", width=8),
        augmentation=Augmentation(("crop", "flip"), crop_padding=2, evaluate_flipped=True),
        optimization=Optimization(
            epochs=changes.pop("epochs", 2),
            batch_size=16,
            learning_rate=0.2,
            learning_rate_schedule="triangle",
            warmup_epochs=1,
        ),
        **changes,
    )


def prepared(method, asked, pictures):
    images = np.asarray(pictures.train_images)
    pictures = pictures._replace(given=jnp.tile(pictures.given, (asked.seeds, 1)))
    parts = setup.assemble(method, asked, images.shape[1:], CLASSES, len(images))
    inputs = training_data.measure_inputs(images, scaling="standardize")
    keys = training_data.seed_keys(asked)
    state = setup.fit_network(parts, setup.initial_state(parts, keys), images, inputs)
    return parts, (state, inputs, pictures, keys["order"], keys["augment"])


def run(method, asked, pictures, **options):
    parts, arguments = prepared(method, asked, pictures)
    state, epochs = whole_run.compile_run(parts, asked, *arguments, **options).run(*arguments)
    return jax.device_get((state.params, epochs))


@pytest.mark.parametrize(
    "method",
    [
        "ogc:queue_size=32,update_every=2",
        pytest.param("dal+saner:scale_epochs=2", marks=pytest.mark.slow),
    ],
)
def test_the_compiled_loop_is_the_loop_of_steps(method, pictures, monkeypatch):
    # So that the last chunk of test pictures is not full.
    monkeypatch.setattr(evaluation, "CHUNK", 7)
    in_one, step_by_step = (
        run(method, experiment(), pictures, step_by_step=value) for value in (False, True)
    )
    for found, expected in zip(jax.tree.leaves(in_one), jax.tree.leaves(step_by_step), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_it_learns_and_what_it_measures_is_so(pictures):
    _, epochs = run("cross_entropy", experiment(epochs=8), pictures)
    assert epochs.test_accuracy.shape == (1, 8)
    assert epochs.test_accuracy[0, -1] >= 0.85
    # Three quarters of the labels are right, and those it predicts, as long as it has not memorised the rest.
    assert epochs.train_clean_accuracy[0, -1] > 0.9
    assert epochs.memorised[0, -1] < 0.3
    assert epochs.train_loss[0, -1] < epochs.train_loss[0, 0]


@pytest.mark.slow
def test_seeds_side_by_side_are_seeds_one_by_one(pictures):
    together, _ = run("cross_entropy", experiment(seeds=2), pictures)
    for seed in range(2):
        alone, _ = run("cross_entropy", experiment(first_seed=seed), pictures)
        for found, expected in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(found[seed], expected[0], rtol=1e-3, atol=1e-4)


def test_the_memory_is_told(pictures):
    asked = dataclasses.replace(experiment(epochs=1), model=Model("mlp", width=8))
    asked = dataclasses.replace(asked, augmentation=Augmentation())
    parts, arguments = prepared("cross_entropy", asked, pictures)
    compiled = whole_run.compile_run(parts, asked, *arguments)
    pixels = sum(x.nbytes for x in (pictures.train_images, pictures.test_images))
    assert pixels < compiled.bytes < 10 * pixels
