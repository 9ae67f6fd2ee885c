"""One SANER step of a network with BatchNorm in each framework, keeping the statistics of either pass."""

import equinox as eqx
import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from flax import nnx

import noisy_optax as nox

IMAGES = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
LABELS = np.arange(6, dtype=np.int32) % 3
OPTIMIZER = optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9))
SANER = nox.saner(rho=0.5, group_b_scale=0.5)

# Frameworks broadcast bias vectors and mix types as they please.
pytestmark = pytest.mark.usefixtures("as_shipped")


@pytest.fixture
def as_shipped():
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def make_step(forward):
    step = nox.training_step(forward, nox.losses.cross_entropy, OPTIMIZER, sharpness=SANER, has_aux=True)
    return step.init, jax.jit(step.update)


def check(before, after, info, clean_mean, perturbed_mean):
    """Every parameter is finite and some moved; the two passes saw different activations."""
    pairs = list(zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    assert all(np.all(np.isfinite(new)) for _, new in pairs)
    assert any(np.any(np.asarray(old) != np.asarray(new)) for old, new in pairs)
    assert info.perturbed_loss > info.loss
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

    def forward(params, inputs):
        images, rest = inputs
        # A copy, so that the two passes start from the same statistics.
        model = nnx.merge(graph, params, rest, copy=True)
        return model(images), nnx.state(model, nnx.Not(nnx.Param))

    init, update = make_step(forward)
    after, state, info = update(params, init(params), (IMAGES, rest), LABELS)
    means = (aux["norm"]["mean"][...] for aux in (info.aux, info.perturbed_aux))
    check(params, after, info, *means)

    # The next step, with the clean statistics kept.
    _, _, following = update(after, state, (IMAGES, info.aux), LABELS)
    assert following.loss < info.loss
    assert update._cache_size() == 1


def test_flax_linen():
    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.BatchNorm(use_running_average=False)(nn.Dense(8)(x)))
            return nn.Dense(3)(x)

    model = Network()
    variables = model.init(jax.random.key(0), IMAGES)
    params, statistics = variables["params"], variables["batch_stats"]

    def forward(params, inputs):
        images, statistics = inputs
        logits, changed = model.apply(
            {"params": params, "batch_stats": statistics}, images, mutable=["batch_stats"]
        )
        return logits, changed["batch_stats"]

    init, update = make_step(forward)
    after, state, info = update(params, init(params), (IMAGES, statistics), LABELS)
    means = (aux["BatchNorm_0"]["mean"] for aux in (info.aux, info.perturbed_aux))
    check(params, after, info, *means)

    # The next step, with the perturbed statistics kept, as the published SANER code does.
    _, _, following = update(after, state, (IMAGES, info.perturbed_aux), LABELS)
    assert following.loss < info.loss
    assert update._cache_size() == 1


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

    def forward(params, inputs):
        images, statistics = inputs
        model = eqx.combine(params, static)
        batched = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))
        return batched(images, statistics)

    init, update = make_step(forward)
    after, state, info = update(params, init(params), (IMAGES, statistics), LABELS)
    means = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(aux)])
        for aux in (info.aux, info.perturbed_aux)
    ]
    check(params, after, info, *means)

    _, _, following = update(after, state, (IMAGES, info.aux), LABELS)
    assert following.loss < info.loss
    assert update._cache_size() == 1
