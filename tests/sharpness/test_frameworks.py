"""One SANER step of a network with BatchNorm in each framework, keeping the statistics of either pass."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import noisy_optax as nox

IMAGES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 3
OPTIMIZER = optax.chain(
    nox.saner(rho=0.5, group_b_scale=0.5),
    optax.add_decayed_weights(5e-4),
    optax.sgd(0.1, momentum=0.9),
)

# Frameworks broadcast bias vectors and mix types as they please.
pytestmark = pytest.mark.usefixtures("as_shipped")


@pytest.fixture
def as_shipped():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def check(found, params, clean_mean, perturbed_mean):
    """Updates move every parameter; the two passes saw different activations."""
    for update, param in zip(jax.tree.leaves(found.updates), jax.tree.leaves(params), strict=True):
        assert update.shape == param.shape
        assert np.all(np.isfinite(update))
    assert any(np.any(np.asarray(update) != 0) for update in jax.tree.leaves(found.updates))
    assert found.perturbed_value > found.value
    assert not np.allclose(clean_mean, 0)
    assert not np.allclose(clean_mean, perturbed_mean, rtol=1e-3)


def test_flax_nnx():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.hidden = nnx.Linear(4, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, rngs=rngs)
            self.out = nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(nnx.relu(self.norm(self.hidden(x))))

    graph, params, rest = nnx.split(Network(nnx.Rngs(0)), nnx.Param, ...)

    def loss_fn(params, rest, images, labels):
        # A copy, so that the two passes start from the same statistics.
        model = nnx.merge(graph, params, rest, copy=True)
        loss = jnp.mean(nox.losses.cross_entropy(model(images), labels))
        return loss, nnx.state(model, nnx.Not(nnx.Param))

    step = jax.jit(nox.sharpness.value_and_update(loss_fn, OPTIMIZER))
    found = step(params, OPTIMIZER.init(params), rest, IMAGES, LABELS)
    check(found, params, found.aux["norm"]["mean"][...], found.perturbed_aux["norm"]["mean"][...])

    # The next step, with the clean statistics kept.
    params, state, rest = optax.apply_updates(params, found.updates), found.state, found.aux
    assert step(params, state, rest, IMAGES, LABELS).value < found.value
    assert step._cache_size() == 1


def test_flax_linen():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.BatchNorm(use_running_average=False)(nn.Dense(8)(x)))
            return nn.Dense(3)(x)

    model = Network()
    variables = model.init(jax.random.key(0), IMAGES)
    params, statistics = variables["params"], variables["batch_stats"]

    def loss_fn(params, statistics, images, labels):
        logits, changed = model.apply(
            {"params": params, "batch_stats": statistics}, images, mutable=["batch_stats"]
        )
        return jnp.mean(nox.losses.cross_entropy(logits, labels)), changed["batch_stats"]

    step = jax.jit(nox.sharpness.value_and_update(loss_fn, OPTIMIZER))
    found = step(params, OPTIMIZER.init(params), statistics, IMAGES, LABELS)
    means = (aux["BatchNorm_0"]["mean"] for aux in (found.aux, found.perturbed_aux))
    check(found, params, *means)

    # The next step, with the perturbed statistics kept, as the published SANER code does.
    params, state, statistics = (
        optax.apply_updates(params, found.updates),
        found.state,
        found.perturbed_aux,
    )
    assert step(params, state, statistics, IMAGES, LABELS).value < found.value
    assert step._cache_size() == 1


def test_equinox():
    class Network(eqx.Module):
        hidden: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        out: eqx.nn.Linear

        def __init__(self, key):
            first, second = jax.random.split(key)
            self.hidden = eqx.nn.Linear(4, 8, key=first)
            self.norm = eqx.nn.BatchNorm(8, axis_name="batch", mode="ema")
            self.out = eqx.nn.Linear(8, 3, key=second)

        def __call__(self, x, statistics):
            x, statistics = self.norm(self.hidden(x), statistics)
            return self.out(jax.nn.relu(x)), statistics

    model, statistics = eqx.nn.make_with_state(Network)(jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss_fn(params, statistics, images, labels):
        model = eqx.combine(params, static)
        logits, statistics = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(
            images, statistics
        )
        return jnp.mean(nox.losses.cross_entropy(logits, labels)), statistics

    step = jax.jit(nox.sharpness.value_and_update(loss_fn, OPTIMIZER))
    found = step(params, OPTIMIZER.init(params), statistics, IMAGES, LABELS)
    means = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(aux)])
        for aux in (found.aux, found.perturbed_aux)
    ]
    check(found, params, *means)

    params, state, statistics = eqx.apply_updates(params, found.updates), found.state, found.aux
    assert step(params, state, statistics, IMAGES, LABELS).value < found.value
    assert step._cache_size() == 1
