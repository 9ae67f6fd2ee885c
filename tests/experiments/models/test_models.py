import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import Model
from experiments.models.build import build
from experiments.terminal import UserError

IMAGES = jax.random.uniform(jax.random.key(0), (6, 5, 7, 2))


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_logits_and_statistics(model, norm):
    network = build(Model(model, width=16, norm=norm), (5, 7, 2), num_classes=3)
    params, statistics = network.init(jax.random.key(1))
    logits, after = network.apply(params, statistics, IMAGES, train=True)
    assert logits.shape == (6, 3)
    assert bool(jax.tree.leaves(statistics)) == (norm == "batch")
    moved = [bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (statistics, after)), strict=True)]
    assert all(moved)
    # Evaluation neither moves the statistics nor depends on the other examples of the batch.
    together, kept = network.apply(params, after, IMAGES, train=False)
    alone, _ = network.apply(params, after, IMAGES[:1], train=False)
    np.testing.assert_allclose(together[:1], alone, rtol=1e-5, atol=1e-5)
    chex.assert_trees_all_equal(kept, after)


def test_mlp_is_the_reference_network():
    network = build(Model(), (64,), num_classes=10)
    params, _ = network.init(jax.random.key(0))
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(params))
    assert shapes == [(10,), (64, 256), (256,), (256,), (256, 10), (256, 256)]


def test_initialisation_is_uniform_within_one_over_root_fan_in():
    params, _ = build(Model(), (64,), num_classes=10).init(jax.random.key(0))
    layer = params["hidden"][0]
    for values in (layer["kernel"][...], layer["bias"][...]):
        values = np.asarray(values) * np.sqrt(64)
        assert np.abs(values).max() <= 1
        assert values.std() == pytest.approx(1 / np.sqrt(3), rel=0.1)


def test_a_cnn_needs_images():
    with pytest.raises(UserError, match=r"--model cnn needs images \[N, H, W, C\], got \[N, 64\]"):
        build(Model("cnn"), (64,), num_classes=10)
