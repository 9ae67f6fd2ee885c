"""What every transformation keeps, whatever it does: a new one joins by a line in the table."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from noisy_optax import ogc, schedules, sharpness

# Eight outputs, to be split over up to eight devices.
SHAPES = {"w": (3, 8), "b": (8,)}
BATCH = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def example_gradient(params, x):
    """The gradient of a small network's loss for one example."""

    def loss(params):
        return jnp.sum(jnp.tanh(x @ params["w"] + params["b"]) ** 3)

    return jax.grad(loss)(params)


def batch_gradient(params):
    gradients = jax.vmap(example_gradient, (None, 0))(params, jnp.asarray(BATCH))
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)


def per_example_gradients(params):
    return jax.vmap(example_gradient, (None, 0))(params, jnp.asarray(BATCH))


def sharpness_extras(params):
    del params
    return {"grad_fn": batch_gradient}


def chunk_extras(params):
    del params
    return {"grad_fn": example_gradient, "chunks": jnp.asarray(BATCH)}


def probability_extras(params):
    logits = jnp.asarray(BATCH) @ params["w"]
    return {"log_probabilities": jax.nn.log_softmax(logits.astype(jnp.float32))[:, 0]}


def no_extras(params):
    del params
    return {}


class Case(NamedTuple):
    """A transformation, the gradients it takes at some parameters, and the extra arguments it needs."""

    make: Callable[[], optax.GradientTransformation]
    gradients: Callable[[Any], Any] = batch_gradient
    extras: Callable[[Any], dict[str, Any]] = sharpness_extras


SCALE = schedules.saner_scale(0.2, 2, steps_per_epoch=1)
# A refit in every step.
SMALL = {"bound": 1.2, "update_every": 1, "queue_size": 4}
CASES = {
    "sam": Case(lambda: sharpness.sam(0.3)),
    "asam": Case(lambda: sharpness.asam(0.3)),
    "friendly_sam": Case(lambda: sharpness.friendly_sam(0.3)),
    "gsam": Case(lambda: sharpness.gsam(0.3)),
    "saner": Case(lambda: sharpness.saner(0.3, SCALE)),
    "vasso + saner on gsam": Case(
        lambda: sharpness.sharpness_aware(
            sharpness.vasso_perturbation(0.3),
            sharpness.saner_combination(SCALE, of=sharpness.gsam_combination(0.1)),
        )
    ),
    "m_sharpness": Case(
        lambda: sharpness.m_sharpness(sharpness.vasso(0.3)), per_example_gradients, chunk_extras
    ),
    "clip_by_probability": Case(
        lambda: ogc.clip_by_probability(**SMALL), per_example_gradients, probability_extras
    ),
    "clip_by_gradient_norm": Case(
        lambda: ogc.clip_by_gradient_norm(**SMALL), per_example_gradients, no_extras
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def start(seed=1, dtype=jnp.float32):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


def update(case, state, params, transformation=None):
    transformation = case.make() if transformation is None else transformation
    return transformation.update(case.gradients(params), state, params, **case.extras(params))


@functools.cache
def compiled(make):
    """One compiled step of a case, shared by the tests."""
    case = next(case for case in CASES.values() if case.make is make)
    return jax.jit(functools.partial(update, case))


def trained(case, steps=2):
    """Updates, state and parameters after some steps."""
    params = start()
    state, updates = case.make().init(params), None
    for _ in range(steps):
        updates, state = compiled(case.make)(state, params)
        params = jax.tree.map(lambda w, u: w - 0.1 * u, params, updates)
    return updates, state, params


def assert_same(found, expected, **tolerances):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerances), found, expected)


def signature(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def test_updates_are_shaped_like_the_parameters_and_the_state_stays_as_it_is(case):
    updates, state, params = trained(case)
    assert signature(updates) == signature(params)
    assert signature(state) == signature(case.make().init(params))
    assert jax.tree.structure(state) == jax.tree.structure(case.make().init(params))
    assert all(isinstance(leaf, jax.Array) and leaf.size for leaf in jax.tree.leaves(state))


def test_nothing_is_traced_twice(case):
    traces = []

    @jax.jit
    def step(state, params):
        traces.append(None)
        return update(case, state, params)

    params = start()
    state = case.make().init(params)
    for _ in range(3):
        step.eval_shape(state, params)
        updates, state = compiled(case.make)(state, params)
        params = optax.apply_updates(params, updates)
    assert len(traces) == 1


def test_jit_changes_nothing(case):
    _, state, params = trained(case)
    assert_same(compiled(case.make)(state, params), update(case, state, params), rtol=1e-5, atol=1e-6)


def test_unknown_arguments_are_accepted_and_reach_the_rest_of_a_chain(case):
    seen = []

    def spy(updates, state, params=None, **extra_args):
        seen.append(extra_args)
        return jax.tree.map(lambda u: -0.5 * u, updates), state

    probe = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), spy)
    params, chain = start(), optax.chain(case.make(), probe)
    extras = {**case.extras(params), "unheard_of": 3}
    updates, state = chain.update(case.gradients(params), chain.init(params), params, **extras)
    alone, alone_state = update(case, case.make().init(params), params)
    assert seen == [extras]
    assert_same(updates, jax.tree.map(lambda u: -0.5 * u, alone), rtol=1e-6)
    assert_same(state[0], alone_state, rtol=1e-6)


def test_replicas_by_vmap(case):
    members = [start(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)
    states = jax.vmap(case.make().init)(stacked)
    found = jax.jit(jax.vmap(lambda state, params: update(case, state, params)))(states, stacked)
    for i, params in enumerate(members):
        expected = compiled(case.make)(case.make().init(params), params)
        assert_same(jax.tree.map(lambda x, i=i: x[i], found), expected, rtol=1e-5, atol=1e-6)


def test_state_as_a_carry_of_scan(case):
    def step(carry, _):
        state, params = carry
        updates, state = update(case, state, params)
        return (state, jax.tree.map(lambda w, u: w - 0.1 * u, params, updates)), None

    carry = case.make().init(start()), start()
    found, _ = jax.jit(lambda carry: jax.lax.scan(step, carry, length=2))(carry)
    assert_same(found, trained(case)[1:], rtol=1e-4, atol=1e-6)


def test_init_of_abstract_parameters(case):
    shapes = jax.eval_shape(case.make().init, jax.eval_shape(start))
    assert signature(shapes) == signature(case.make().init(start()))
    # optax finds what in a state is shaped like the parameters.
    doubled = optax.tree_map_params(case.make(), lambda x: x + 1, case.make().init(start()))
    assert signature(doubled) == signature(case.make().init(start()))


def test_sharding_of_the_parameters_is_kept(case):
    mesh = jax.make_mesh((8,), ("model",), axis_types=(jax.sharding.AxisType.Auto,))
    shardings = {
        "w": jax.NamedSharding(mesh, jax.P(None, "model")),
        "b": jax.NamedSharding(mesh, jax.P("model")),
    }
    params = jax.device_put(start(), shardings)
    state = case.make().init(params)
    updates, new = compiled(case.make)(state, params)

    def matrices(tree):
        return [leaf for leaf in jax.tree.leaves(tree) if leaf.shape == SHAPES["w"]]

    for leaf in (*matrices(state), *matrices(updates), *matrices(new)):
        assert leaf.sharding.is_equivalent_to(shardings["w"], 2)
    alone = compiled(case.make)(case.make().init(start()), start())
    assert_same((updates, new), alone, rtol=1e-5, atol=1e-6)


def test_checkpoint_with_an_abstract_target(case, tmp_path):
    _, state, _ = trained(case)
    target = jax.eval_shape(case.make().init, start())
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), target)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", target)
    assert_same(restored, state, rtol=0)


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from primitives(inner)


def test_nothing_leaves_the_device_and_it_lowers_for_every_platform(case):
    params = start()
    state = case.make().init(params)
    found = set(primitives(jax.make_jaxpr(compiled(case.make))(state, params).jaxpr))
    assert not [name for name in found if "callback" in name or "infeed" in name or "outfeed" in name]
    jax.export.export(compiled(case.make), platforms=["cpu", "cuda", "tpu"])(state, params)


def test_half_precision_parameters(case):
    params = start(dtype=jnp.bfloat16)
    state = case.make().init(params)
    with jax.numpy_dtype_promotion("standard"):
        shapes = jax.eval_shape(lambda: update(case, state, params))
    assert signature(shapes) == (signature(params), signature(state))
