"""What is stated beside a loss must be true of it: tables, targets and the command line believe it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses
from noisy_optax.losses import _of_probability, _properties
from tests.losses import test_contract

LOSSES = {name: getattr(losses, name) for name in losses.__all__ if losses.properties(getattr(losses, name))}
C = 10


def test_every_loss_is_under_contract():
    tested = {case.make().func for case in test_contract.LOSSES if hasattr(case.make(), "func")}
    assert [name for name, loss in LOSSES.items() if loss not in tested] == []


@pytest.mark.parametrize("name", LOSSES)
def test_bounded_and_symmetric_are_as_stated(name):
    wrong = np.zeros((2, C), np.float32)
    wrong[:, 0] = -1e4
    wrong[0, 1] = 1e4
    several = 3 * np.random.default_rng(0).normal(size=(8, 1, C)).astype(np.float32)
    logits = np.concatenate([wrong, np.broadcast_to(several, (8, C, C)).reshape(80, -1)])
    labels = np.concatenate([np.zeros(2, np.int32), np.tile(np.arange(C, dtype=np.int32), 8)])
    values = np.asarray(jax.jit(LOSSES[name])(logits, labels))
    totals = values[2:].reshape(8, C).sum(axis=1)
    known = losses.properties(LOSSES[name])
    assert known.bounded == np.all(values[:2] < 1e3)
    assert known.symmetric == (np.ptp(totals) < 1e-4 * np.max(np.abs(totals)))


@pytest.mark.parametrize("name", LOSSES)
def test_log_odds_are_enough_exactly_for_those_that_say_so(name):
    log_odds = jnp.linspace(-8.0, 8.0, 9)
    labels = jnp.zeros(9, jnp.int32)

    def with_others(*shares):
        others = [jnp.full_like(log_odds, jnp.log(share)) for share in shares]
        return LOSSES[name](jnp.stack([log_odds, *others], axis=-1), labels)

    even, uneven, two = with_others(0.5, 0.5), with_others(0.98, 0.02), with_others(1.0)
    known = losses.properties(LOSSES[name])
    if known.of_all_classes:
        # The entropy of DAL has no weight by default, and only the top class matters to eps-softmax.
        same = name in ("dynamics_aware", "eps_softmax_cross_entropy")
        assert same or not np.allclose(even, uneven, rtol=1e-3)
    else:
        form = functools.partial(known.of_log_odds, **_properties.defaults(LOSSES[name]))
        np.testing.assert_allclose(form(log_odds), two, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(even, two, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(uneven, two, rtol=1e-4, atol=1e-6)


def test_of_log_odds_takes_the_form_of_the_loss_with_what_a_partial_sets():
    base = functools.partial(losses.phuber_generalized_cross_entropy, tau=3.0)
    for bound in (base, _of_probability.as_static(base)):
        form = _of_probability.of_log_odds(bound)
        known = losses.properties(losses.phuber_generalized_cross_entropy)
        assert (form.func, form.keywords) == (known.of_log_odds, {"q": 0.7, "tau": 3.0})


def test_a_wrapper_of_a_loss_is_not_taken_for_the_loss():
    @functools.wraps(losses.cross_entropy)
    def doubled(*args, **kwargs):
        return 2 * losses.cross_entropy(*args, **kwargs)

    assert losses.properties(doubled) is None
    np.testing.assert_allclose(_of_probability.of_log_odds(doubled)(jnp.zeros(())), 2 * np.log(2), rtol=1e-6)
