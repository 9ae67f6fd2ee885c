import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import Augmentation, Data, Experiment, Model, Optimization
from experiments.data.pictures import augmentation
from experiments.models.network import Network
from experiments.terminal import UserError
from experiments.training import epoch_loops, loop, setup, steps, training_data

KEY = jax.random.key(3)


def images(batch=200, height=5, width=6, channels=2):
    """Bytes without black, so that padding is told from content."""
    return np.random.default_rng(0).integers(1, 256, (batch, height, width, channels)).astype(np.uint8)


def test_a_crop_is_a_window_of_the_padded_image_and_every_window_comes_up():
    before = images()
    after = np.asarray(augmentation.random_crop(KEY, before, padding=2))
    assert (after.shape, after.dtype) == (before.shape, before.dtype)
    padded = np.pad(before, ((0, 0), (2, 2), (2, 2), (0, 0)))
    seen = set()
    for i in range(len(before)):
        found = [
            (y, x)
            for y in range(5)
            for x in range(5)
            if np.array_equal(padded[i, y : y + 5, x : x + 6], after[i])
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 25


def test_padding_is_black_before_normalisation():
    bright = np.full((50, 4, 4, 1), 200, np.uint8)
    inputs = steps.Inputs(jnp.array([200.0]), jnp.array([0.01]))
    seen = np.asarray(steps.prepare(inputs, augmentation.random_crop(KEY, bright, padding=4)))
    np.testing.assert_allclose(np.unique(seen), [-2, 0], atol=1e-6)


def test_a_flip_mirrors_columns_of_half_of_the_images():
    before = images(batch=1000)
    after = np.asarray(augmentation.random_flip(KEY, before))
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(after, before, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(after, before, strict=True)])
    assert np.all(mirrored ^ same)
    # Four standard deviations.
    assert abs(mirrored.mean() - 0.5) < 4 * 0.5 / np.sqrt(1000)


def test_each_change_has_a_key_of_its_own_in_the_order_given():
    config = Augmentation(augment=("flip", "crop"), crop_padding=2)
    before, keys = images(batch=20), [jax.random.fold_in(KEY, i) for i in range(2)]
    expected = augmentation.random_crop(keys[1], augmentation.random_flip(keys[0], before), padding=2)
    np.testing.assert_array_equal(augmentation.build(config, (5, 6, 2))(KEY, before), expected)
    assert np.any(np.asarray(expected) != augmentation.random_crop(KEY, before, padding=2))


def test_a_right_angle_is_exact_and_counter_clockwise():
    square = images(batch=3, height=5, width=5)
    turned = np.asarray(augmentation.rotate(square, jnp.radians(jnp.array([0.0, 90.0, 180.0]))))
    for k in range(3):
        np.testing.assert_array_equal(turned[k], np.rot90(square[k], k))


def test_a_rotation_interpolates_linearly_with_black_around():
    """Against a loop over pixels in numpy."""
    before, degrees = images(batch=2, height=6, width=7), np.array([12.0, -40.0])
    after = np.asarray(augmentation.rotate(before, jnp.radians(jnp.asarray(degrees, jnp.float32))))
    assert after.dtype == np.uint8
    for image, got, angle in zip(before, after, np.radians(degrees), strict=True):
        expected = np.zeros_like(image, float)
        for row in range(6):
            for column in range(7):
                # Up and right of the centre, turned back by the angle.
                up, right = 2.5 - row, column - 3.0
                y = 2.5 - (up * np.cos(angle) - right * np.sin(angle))
                x = 3.0 + right * np.cos(angle) + up * np.sin(angle)
                for i in range(6):
                    for j in range(7):
                        weight = max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j))
                        expected[row, column] += weight * image[i, j]
        # Half a grey level from rounding to bytes.
        assert np.abs(got - expected).max() <= 0.5 + 1e-3


def test_angles_reach_the_limit_and_no_further():
    ramp = np.broadcast_to(np.arange(7, dtype=np.float32)[:, None, None], (500, 7, 21, 1))
    turned = np.asarray(augmentation.random_rotation(KEY, ramp, 10.0))
    # In a ramp from top to bottom, the pixel 10 right of the centre holds 3 + 10 sin(angle).
    angles = np.degrees(np.arcsin((turned[:, 3, 20, 0] - 3) / 10))
    assert angles.min() < -9.7
    assert angles.max() > 9.7
    assert np.abs(angles).max() < 10.01


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("name", ["crop", "flip", "rotate"])
def test_changes_depend_on_the_key_alone_and_keep_the_type(name, dtype):
    change = jax.jit(augmentation.build(Augmentation((name,)), (5, 6, 2)))
    before = images(batch=40).astype(dtype)
    once, again, other = (np.asarray(change(key, before)) for key in (KEY, KEY, jax.random.key(4)))
    assert once.dtype == dtype
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


def test_changes_follow_each_other_in_the_order_given():
    config = Augmentation(("flip", "crop"), crop_padding=1)
    after = augmentation.build(config, (5, 6, 2))(KEY, images())
    keys = [jax.random.fold_in(KEY, i) for i in range(2)]
    expected = augmentation.random_crop(keys[1], augmentation.random_flip(keys[0], images()), padding=1)
    np.testing.assert_array_equal(after, expected)


def test_features_are_refused():
    with pytest.raises(
        UserError, match=r"--augment needs images \[N, H, W, C\], got \[N, 64\]; leave it out"
    ):
        augmentation.build(Augmentation(("flip",)), (64,))
    assert augmentation.build(Augmentation(), (64,)) is None


def experiment(path, **changes):
    return Experiment(
        data=Data(dataset=f"npz:{path}"),
        model=Model(width=16),
        augmentation=Augmentation(("crop", "flip"), crop_padding=1),
        optimization=Optimization(epochs=2, batch_size=8),
        checkpoint_every=1,
        **changes,
    )


def _as_logits(params, statistics, images, *, train):
    """A network whose logits are the pixels it is shown, so that its predictions tell what it saw."""
    return images.reshape(len(images), -1) + params, statistics


SHOWING = Network(lambda key: (jnp.zeros((1, 1)), ()), _as_logits, convolutional=False)


@pytest.mark.parametrize(
    ("compile_epoch", "seeds"), [(epoch_loops.compile_epoch_loop, 2), (epoch_loops.compile_stepwise_epoch, 1)]
)
def test_each_step_of_each_seed_augments_with_a_key_of_its_own(compile_epoch, seeds, tiny_npz, tiny_arrays):
    asked = experiment(tiny_npz, seeds=seeds)
    parts = setup.assemble("cross_entropy", asked, (4, 4, 1), 3, 60)._replace(network=SHOWING)
    pixels, inputs = jnp.asarray(tiny_arrays["train_images"]), steps.Inputs(jnp.zeros(1), jnp.ones(1))
    given = jnp.zeros((seeds, 60), jnp.int32)
    keys = training_data.seed_keys(asked)
    state = setup.initial_state(parts, training_data.seed_keys(asked))
    run_epoch = compile_epoch(parts, 8, seeds)
    _, batches = run_epoch(state, inputs, pixels, given, keys["order"], keys["augment"])
    augmented = jax.jit(parts.augment)
    for seed in range(seeds):
        for step, batch in enumerate(batches.indices[seed]):
            shown = augmented(jax.random.fold_in(keys["augment"][seed], step), pixels[batch])
            np.testing.assert_array_equal(
                batches.predictions[seed, step], np.argmax(np.reshape(shown, (8, -1)), axis=1)
            )


def test_an_epoch_that_is_run_again_draws_the_same(tmp_path, tiny_npz, quiet, monkeypatch):
    """With a stand-in for the epoch: what matters is which keys it is given."""
    asked, given_keys = experiment(tiny_npz), []

    class Interrupted(Exception):
        pass

    def run_epoch(state, inputs, images, given, order_keys, augment_keys):
        given_keys.append(jax.random.key_data(augment_keys).tolist())
        if len(given_keys) == 2:
            raise Interrupted
        integers = np.zeros((1, 7, 8), np.int32)
        return state, epoch_loops.Batches(np.zeros((1, 7)), integers, integers)

    def run_evaluation(params, statistics, inputs, images):
        return np.zeros((1, len(images), 3))

    monkeypatch.setattr(epoch_loops, "compile_loops", lambda *_: (run_epoch, run_evaluation))
    monkeypatch.setattr(loop, "plot", lambda *_: None)
    with pytest.raises(Interrupted):
        loop.train("cross_entropy", asked, tmp_path / "run", quiet)
    loop.train("cross_entropy", asked, tmp_path / "run", quiet)
    first, second, again = given_keys
    assert first != second == again


def test_a_new_purpose_leaves_the_other_draws_alone():
    """The first words of each key as they were before there was augmentation."""
    keys = training_data.seed_keys(Experiment(seeds=2))
    roots = jax.vmap(jax.random.key)(jnp.arange(2, dtype=jnp.uint32))
    for i, purpose in enumerate(("noise", "init", "order", "augment")):
        expected = jax.vmap(jax.random.fold_in, (0, None))(roots, i)
        np.testing.assert_array_equal(jax.random.key_data(keys[purpose]), jax.random.key_data(expected))
