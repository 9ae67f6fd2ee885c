"""What is bfloat16 and what is not."""

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.config import Model
from experiments.models.build import build

IMAGES = jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.float32)


def network(model, precision, norm="batch"):
    return build(Model(model, norm=norm, precision=precision), (8, 8, 3), num_classes=10)


def products(jaxpr):
    """Convolutions and matrix products, in order, those of inner functions included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("conv_general_dilated", "dot_general"):
            yield equation
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from products(inner)


def dtypes(tree):
    return {leaf.dtype.name for leaf in jax.tree.leaves(tree)}


@pytest.mark.parametrize(
    ("model", "norm"),
    [
        *(("cnn", norm) for norm in ("batch", "group", "none")),
        *((model, "batch") for model in ("mlp", "cnn8", "resnet18", "resnet50", "wideresnet40_2")),
    ],
)
def test_all_products_but_the_head_run_on_bfloat16(model, norm):
    half = network(model, "bfloat16", norm)
    params, statistics = jax.eval_shape(half.init, jax.random.key(0))
    assert dtypes((params, statistics)) == {"float32"}
    traced = jax.make_jaxpr(lambda *args: half.apply(*args, train=True))(params, statistics, IMAGES)
    *inner, head = products(traced.jaxpr)
    assert {var.aval.dtype.name for each in inner for var in (*each.invars, *each.outvars)} == {"bfloat16"}
    assert {var.aval.dtype.name for var in (*head.invars, *head.outvars)} == {"float32"}
    assert {aval.dtype.name for aval in traced.out_avals} == {"float32"}


@pytest.mark.parametrize("model", ["cnn8", "resnet18"])
def test_gradients_are_float32(model):
    half = network(model, "bfloat16")
    params, statistics = jax.eval_shape(half.init, jax.random.key(0))

    def loss(params, statistics, images):
        return jnp.sum(half.apply(params, statistics, images, train=True)[0])

    assert dtypes(jax.eval_shape(jax.grad(loss), params, statistics, IMAGES)) == {"float32"}


def test_running_statistics_accumulate_in_float32():
    """A mean that bfloat16 could not hold, kept by steps that it could not make."""
    half = network("cnn", "bfloat16")
    rng = np.random.default_rng(0)
    params, statistics = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(np.float32),
        jax.eval_shape(half.init, jax.random.key(0)),
    )
    statistics = jax.tree.map(np.zeros_like, statistics)
    apply = jax.jit(half.apply, static_argnames="train")
    images = jnp.asarray(rng.uniform(size=(64, 8, 8, 3)), jnp.float32)
    means = []
    for _ in range(40):
        _, statistics = apply(params, statistics, images, train=True)
        means.append(np.asarray(statistics["norms"][0]["mean"][...]))
    # If the batch stays the same, the mean after n steps is (1 - 0.9^n) of the batch's.
    of_batch = means[0] / 0.1
    for n, mean in enumerate(means, start=1):
        np.testing.assert_allclose(mean, (1 - 0.9**n) * of_batch, rtol=1e-5)
    assert not np.array_equal(means[-1], means[-1].astype(jnp.bfloat16))
