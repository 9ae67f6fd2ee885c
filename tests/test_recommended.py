import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from noisy_optax._recommended import largest_norm
from noisy_optax._recommended import relative_generalized_cross_entropy as relative

UNCLIPPED = 1e6


def softmax(z):
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


@pytest.fixture
def batch():
    logits = np.random.default_rng(0).normal(0, 3, (32, 5))
    return logits, np.random.default_rng(1).integers(0, 5, 32)


@jax.jit
def value_and_gradient(logits, labels, q):
    return jax.value_and_grad(lambda z: jnp.sum(relative(z, labels, q=q, largest_norm=UNCLIPPED)))(logits)


@pytest.mark.parametrize("q", [0.0, 1e-6, 0.3, 1.0])
def test_value_and_gradient_are_those_of_the_formula(x64, batch, q):
    logits, labels = batch
    p = softmax(logits)
    of_label, top = p[np.arange(32), labels], p.max(axis=-1)
    losses = (1 - of_label**q) / (q * top**q) if q else -np.log(of_label)
    weight = (of_label / top) ** q
    value, gradient = value_and_gradient(logits, labels, q)
    np.testing.assert_allclose(value, losses.sum(), rtol=1e-9)
    np.testing.assert_allclose(gradient, weight[:, None] * (p - np.eye(5)[labels]), rtol=1e-6, atol=1e-12)


def test_an_undecided_model_learns_as_from_cross_entropy():
    # Whatever the number of classes, of which generalized cross-entropy takes a power.
    logits, label = jnp.zeros((1, 1000)), jnp.array([7])
    _, gradient = value_and_gradient(logits, label, 1.0)
    _, of_cross_entropy = value_and_gradient(logits, label, 0.0)
    np.testing.assert_allclose(gradient, of_cross_entropy, rtol=1e-6)


def test_logits_are_clipped_so_that_no_class_is_certain():
    for classes in (2, 10, 1000):
        limit = largest_norm(classes)
        # The surest of its label that logits of that norm can be: they sum to 0.
        surest = np.where(np.arange(classes) == 0, classes - 1.0, -1.0) / np.sqrt(classes * (classes - 1.0))
        assert softmax(limit * surest)[0] == pytest.approx(0.88)
        label = jnp.array([0])
        inside, outside = (
            relative(jnp.asarray([scale * limit * surest]), label, q=0.7, largest_norm=limit)
            for scale in (1.0, 50.0)
        )
        np.testing.assert_allclose(inside, outside, rtol=1e-5)
    assert largest_norm(10) == pytest.approx(3.975, abs=1e-3)


@pytest.mark.parametrize("q", [0.0, 0.6, 1.0])
def test_contract_at_the_edges(q):
    logits = jnp.array([[1e4, -1e4, 0.0], [0.0, -jnp.inf, 1.0], [jnp.nan, 0.0, 0.0], [0.0, 1.0, 2.0]])
    labels = jnp.array([1, 0, 0, 3])

    @jax.jit
    def losses_and_gradients(z, where):
        losses, pull_back = jax.vjp(lambda z: relative(z, labels, q=q, largest_norm=5.0, where=where), z)
        return losses, pull_back(jnp.ones(4))[0]

    losses, gradients = losses_and_gradients(logits, jnp.ones(4, bool))
    for found in (losses, gradients):
        assert jnp.all(jnp.isfinite(found[:2]))
        assert jnp.all(jnp.isnan(found[2:]))
    losses, gradients = losses_and_gradients(logits, jnp.array([True, True, False, False]))
    assert jnp.array_equal(losses[2:], jnp.zeros(2))
    assert jnp.array_equal(gradients[2:], jnp.zeros((2, 3)))


def test_half_precision_is_computed_in_float32():
    losses = relative(jnp.zeros((2, 3), jnp.bfloat16), jnp.zeros(2, jnp.int32), q=0.5, largest_norm=5.0)
    assert losses.dtype == jnp.float32


def test_the_schedule_ends_where_the_training_ends():
    loss, _ = nox.recommended(3, total_steps=4)
    state, seen = loss.init(), []
    update = jax.jit(loss.update)
    for _ in range(6):
        state = update(state, jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32))
        seen.append(float(state.hyperparameters["q"]))
    np.testing.assert_allclose(seen, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0])


def test_it_decays_weights_in_front_of_an_optimizer():
    _loss, transformation = nox.recommended(2, 10, decay_mask={"w": True, "b": False})
    optimizer = optax.chain(transformation, optax.sgd(1.0))
    params = {"w": jnp.full((2, 2), 3.0), "b": jnp.ones(2)}
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    np.testing.assert_allclose(updates["w"], -1.0105 * np.ones((2, 2)), rtol=1e-6)
    np.testing.assert_allclose(updates["b"], -np.ones(2))


def test_wrong_arguments_are_named():
    for arguments, name in (((1, 10), "num_classes"), ((10, 0), "total_steps")):
        with pytest.raises(ValueError, match=name):
            nox.recommended(*arguments)
    with pytest.raises(ValueError, match="weight_decay"):
        nox.recommended(10, 10, weight_decay=-1.0)
    loss, _ = nox.recommended(10, 10)
    with pytest.raises(ValueError, match=r"logits \[..., 10\].*got shape \[4, 3\]"):
        loss.value(loss.init(), jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32))
