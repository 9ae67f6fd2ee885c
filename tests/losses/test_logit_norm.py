"""What is particular to losses of the norm of the logits: that numbers of any size have a norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses

LOGITS = np.array([[3.0, -1.0, 2.0], [0.0, 1.1, 0.0], [-4.0, 0.0, -np.inf]], np.float32)
LABELS = np.array([1, 1, 0])


@pytest.mark.parametrize("size", [1e-11, 1e-3, 1e10, 1e20, 8e37])
@pytest.mark.parametrize(
    "loss", [losses.cross_entropy_with_sparse_regularization, losses.logit_clip_cross_entropy]
)
def test_beyond_the_limit_only_the_direction_of_the_logits_matters(loss, size):
    if loss is losses.logit_clip_cross_entropy:
        loss = jax.tree_util.Partial(loss, max_norm=1e-12)
    at = jax.vmap(jax.value_and_grad(loss))
    value, gradient = at(jnp.asarray(LOGITS), LABELS)
    scaled, scaled_gradient = at(jnp.asarray(LOGITS * np.float32(size)), LABELS)
    np.testing.assert_allclose(scaled, value, rtol=1e-6)
    # A gradient below the smallest normal number may be 0.
    tolerance = 1e-6 / size + np.finfo(np.float32).tiny
    np.testing.assert_allclose(scaled_gradient, gradient / np.float32(size), rtol=2e-5, atol=tolerance)
