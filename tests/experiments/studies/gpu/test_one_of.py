import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.gpu.one_of import one_of
from noisy_optax import losses, ogc, stateless

LOSSES = [
    stateless(losses.cross_entropy),
    losses.dal(total_epochs=3, steps_per_epoch=2),
    ogc.ogc_loss(learning_rate=0.1, update_every=2, queue_size=8),
]


@pytest.mark.parametrize("index", range(len(LOSSES)))
def test_the_chosen_one_is_as_it_is_alone_and_the_others_rest(index):
    chosen = one_of(LOSSES)
    rng = np.random.default_rng(0)
    state, alone = chosen.init()._replace(index=jnp.int32(index)), LOSSES[index].init()

    def value(loss, state, logits, labels):
        return jax.value_and_grad(lambda z: jnp.sum(loss.value(state, z, labels)))(logits)

    update = jax.jit(chosen.update)
    for _ in range(5):
        logits = rng.normal(size=(8, 3)).astype(np.float32)
        labels = rng.integers(0, 3, 8).astype(np.int32)
        state, alone = update(state, logits, labels), LOSSES[index].update(alone, logits, labels)
        found = jax.jit(lambda s, z, y: value(chosen, s, z, y))(state, logits, labels)
        expected = value(LOSSES[index], alone, logits, labels)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    for i, (loss, found) in enumerate(zip(LOSSES, state.states, strict=True)):
        expected = alone if i == index else loss.init()
        for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
