"""The dynamics-aware loss and its schedules against numbers made by the paper's published code."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses
from noisy_optax.losses._dynamics_aware import entropy
from tests.losses.formulas import DynamicsAware, gce, log_probability, shannon

FOLDER = pathlib.Path(__file__).parent.parent / "golden"
with np.load(FOLDER / "losses.npz") as rows, np.load(FOLDER / "dal.npz") as file:
    INPUTS = {key: rows[key] for key in rows.files if key.split("/")[1] in ("logits", "labels", "u")}
    GOLDEN = {key: file[key] for key in file.files}

GROUPS = ["c2", "c10", "c100", "c1000"]
PUBLISHED = [(0.6, 0), (0.9, 0), (1.2, 0.5), (1.5, 1)]
# Below it the published code cuts the gradient of the first term; within the entropy it adds as much to p.
CLAMP = 1e-6


@functools.partial(jax.jit, static_argnames="function")
def value_and_gradient(function, logits, *arguments):
    values, pull_back = jax.vjp(lambda z: function(z, *arguments), logits)
    return values, pull_back(jnp.ones_like(values))[0]


def dynamics_aware(logits, labels, q, bootstrap_weight):
    return losses.dynamics_aware(logits, labels, q=q, bootstrap_weight=bootstrap_weight)


def stored(group, name, gradient):
    """Stored value, stored gradient, and `gradient` in the form that it is stored in."""
    key = f"{group}/{name}"
    if f"{key}/grad" in GOLDEN:
        return GOLDEN[f"{key}/value"], GOLDEN[f"{key}/grad"], gradient
    return GOLDEN[f"{key}/value"], GOLDEN[f"{key}/gradproj"], np.sum(gradient * INPUTS[f"{group}/u"], axis=1)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("group", GROUPS)
def test_published_values_and_gradients(group):
    logits, labels = INPUTS[f"{group}/logits"].astype(float), INPUTS[f"{group}/labels"]
    unclamped = np.exp(log_probability(logits, labels)[0]) > CLAMP
    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
    for q, weight in PUBLISHED:
        name = f"dal.dal_q{q}_lamb{weight}"
        rebuilt, rebuilt_gradient = DynamicsAware(q, weight, added=CLAMP).evaluate(logits, labels)
        value, expected_gradient, gradient = stored(group, name, rebuilt_gradient)
        close(rebuilt[unclamped], value[unclamped])
        close(gradient[unclamped], expected_gradient[unclamped])

        ours, our_gradient = value_and_gradient(dynamics_aware, logits, labels, float(q), float(weight))
        exact, exact_gradient = DynamicsAware(q, weight).evaluate(logits, labels)
        close(ours, exact)
        close(our_gradient, exact_gradient)

        # What is added to p takes at most CLAMP per class from the entropy; what is clamped, as from GCE.
        num_classes = logits.shape[1]
        cut_off = gce(q).value(-1e300) - gce(q).value(np.log(CLAMP))
        distance = np.abs(ours - value) - weight * num_classes * CLAMP / (q * np.log(num_classes))
        assert np.all(distance <= np.where(unclamped, 0, cut_off) + 1e-10)
        if weight == 0:
            close(ours[unclamped], value[unclamped])
            _, expected_gradient, gradient = stored(group, name, np.asarray(our_gradient))
            close(gradient[unclamped], expected_gradient[unclamped])


@pytest.mark.usefixtures("x64")
def test_published_entropy():
    logits = INPUTS["c10/logits"].astype(float)
    rebuilt, rebuilt_gradient = shannon(logits, added=CLAMP)
    value, expected_gradient, gradient = stored("c10", "dal.entropy_bs", rebuilt_gradient)
    np.testing.assert_allclose(rebuilt, value, atol=1e-10)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-10)
    ours, our_gradient = value_and_gradient(entropy, logits)
    np.testing.assert_allclose(ours, shannon(logits)[0], rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(our_gradient, shannon(logits)[1], atol=1e-12)


def test_entropy_of_a_sure_prediction_is_exact_whichever_class_it_is():
    logits = np.array([[30, 0, 1], [0, 30, 1], [1, 2, 60], [1e4, 0, 0]], np.float32)
    value, gradient = value_and_gradient(entropy, logits)
    expected, expected_gradient = shannon(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5)


def test_entropy_has_a_second_derivative():
    # Also where two classes share the largest logit.
    for logits in ([2.0, 0.0, -1.0, -np.inf], [1.0, 0.5, 1.0, -np.inf]):
        hessian = np.asarray(jax.jit(jax.hessian(entropy))(np.array(logits, np.float32)))
        h = 1e-4
        above, below = (shannon(logits + sign * h * np.eye(4))[1] for sign in (1, -1))
        np.testing.assert_allclose(hessian, (above - below) / (2 * h), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("curve", ["linear", "cosine"])
def test_dal_is_the_loss_on_its_schedules(curve):
    epochs, steps = 4, 3
    robust = losses.dal(epochs, steps, q_start=0.5, q_end=1.5, curve=curve)
    update, value = jax.jit(robust.update), jax.jit(robust.value)
    logits, labels = np.array([[1, 0, -1], [0, 2, 0]], np.float32), np.array([1, 1], np.int32)
    state = robust.init()
    for step in range((epochs + 1) * steps):
        state = update(state, logits, labels)
        t = step // steps / epochs
        t = t if curve == "linear" else (1 - np.cos(np.pi * t)) / 2
        # q crosses 1 half way.
        expected, _ = DynamicsAware(0.5 + t, max(0, 2 * t - 1)).evaluate(logits, labels)
        np.testing.assert_allclose(value(state, logits, labels), expected, rtol=1e-5)


def test_generalized_cross_entropy_still_refuses_q_above_1():
    with pytest.raises(ValueError, match=r"q must be in \(0.0, 1.0\], got 1.2"):
        losses.generalized_cross_entropy(np.zeros((1, 2), np.float32), np.zeros(1, int), q=1.2)
