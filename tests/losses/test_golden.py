"""Losses against numbers made by the papers' published code (tests/golden/README.md).

The published code clamps p or adds to it, ours does not. So three things are compared: the stored numbers
with the published formula rebuilt here, clamps and all; our losses with the exact formula; and, where no
clamp is active, our losses with the stored numbers themselves.
"""

import functools
import itertools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses
from tests.losses.formulas import CROSS_ENTROPY, Formula, gce, log_probability, phuber_ce, phuber_gce

with np.load(pathlib.Path(__file__).parent.parent / "golden" / "losses.npz") as file:
    GOLDEN = {key: file[key] for key in file.files}


def clip_slope_of(base):
    return lambda logits, labels, *, tau: losses.clip_slope(base, tau=tau)(logits, labels)


clipped_ce = clip_slope_of(losses.cross_entropy)
clipped_gce = {q: clip_slope_of(functools.partial(losses.generalized_cross_entropy, q=q)) for q in (0.3, 0.7)}
gce_above_one = losses.of_probability(lambda p: (1 - p**1.3) / 1.3)


class Published(NamedTuple):
    name: str
    ours: Callable
    hyper: dict
    formula: Formula
    clamp: tuple = (0.0, 1.0)
    added: float = 0.0
    # The value that the published code has in excess below this p, where it jumps.
    jump_at: float = 0.0
    jump: float = 0.0


OGC_CLAMP = (1e-7, 1 - 1e-7)


def published_ogc_gce(q, thr):
    tau = thr ** (q - 1)
    name = f"ogc.ogc_gce_q{q}_thr{thr}"
    return Published(
        name, clipped_gce[q], {"tau": tau}, phuber_gce(q, tau), OGC_CLAMP, jump_at=thr, jump=1 - thr**q
    )


CE, MAE, GCE = losses.cross_entropy, losses.mean_absolute_error, losses.generalized_cross_entropy
PHUBER_CE, PHUBER_GCE = losses.phuber_cross_entropy, losses.phuber_generalized_cross_entropy

PUBLISHED = [
    Published("ogc.ce", CE, {}, CROSS_ENTROPY),
    Published("phuber.ce", CE, {}, CROSS_ENTROPY),
    Published("anl.ce", CE, {}, CROSS_ENTROPY),
    Published("ogc.mae", MAE, {}, gce(1.0), OGC_CLAMP),
    Published("dal.mae", MAE, {}, gce(1.0)),
    Published("anl.mae", MAE, {}, gce(1.0)),
    Published("ogc.gce_q0.3", GCE, {"q": 0.3}, gce(0.3), OGC_CLAMP),
    Published("ogc.gce_q0.7", GCE, {"q": 0.7}, gce(0.7), OGC_CLAMP),
    Published("ogc.gce_q1", GCE, {"q": 1.0}, gce(1.0), OGC_CLAMP),
    Published("dal.gce_q0.7", GCE, {"q": 0.7}, gce(0.7), (1e-6, 1.0)),
    Published("dal.gce_q1.3", gce_above_one, {}, gce(1.3), (1e-6, 1.0)),
    Published("anl.gce_q0.3", GCE, {"q": 0.3}, gce(0.3), (1e-7, 1.0)),
    Published("phuber.gce_q0.3", GCE, {"q": 0.3}, gce(0.3), added=1e-9),
    Published("phuber.gce_q0.7", GCE, {"q": 0.7}, gce(0.7), added=1e-9),
    *(
        Published(f"ogc.phuber_ce_tau{t}", PHUBER_CE, {"tau": t}, phuber_ce(t), OGC_CLAMP)
        for t in (2, 10, 30)
    ),
    *(Published(f"phuber.phuber_ce_tau{t}", PHUBER_CE, {"tau": t}, phuber_ce(t)) for t in (2, 10, 50)),
    *(
        Published(f"phuber.phuber_gce_q{q}_tau{t}", PHUBER_GCE, {"q": q, "tau": t}, phuber_gce(q, t))
        for q, t in ((0.7, 10), (0.7, 2), (0.3, 5))
    ),
    Published("ogc.ogc_ce_thr0.05", clipped_ce, {"tau": 1 / 0.05}, phuber_ce(1 / 0.05), OGC_CLAMP),
    Published("ogc.ogc_ce_thr0.3", clipped_ce, {"tau": 1 / 0.3}, phuber_ce(1 / 0.3), OGC_CLAMP),
    published_ogc_gce(0.7, 0.05),
    published_ogc_gce(0.7, 0.3),
    published_ogc_gce(0.3, 0.2),
]
# One test per function of ours, since compiling it is what takes time. Clipping is slow to compile, and what
# depends on the number of classes is the same code in all of them, hence fewer groups.
EVERY_GROUP = {f.__name__: f for f in (CE, MAE, GCE)}
TWO_GROUPS = {f.__name__: f for f in (PHUBER_CE, PHUBER_GCE)}
ONE_GROUP = {
    "of_probability": gce_above_one,
    "clipped_ce": clipped_ce,
    "clipped_gce_q0.3": clipped_gce[0.3],
    "clipped_gce_q0.7": clipped_gce[0.7],
}


def parametrize_ours(ours):
    cases = {name: [case for case in PUBLISHED if case.ours is function] for name, function in ours.items()}
    return pytest.mark.parametrize("cases", cases.values(), ids=cases)


def rebuilt(case, logits, labels):
    if case.clamp == (0.0, 1.0) and case.added == 0:
        return case.formula.evaluate(logits, labels)
    log_p, log_p_gradient = log_probability(logits, labels)
    p = np.exp(log_p)
    used = np.clip(p, *case.clamp) + case.added
    value = case.formula.value(np.log(used)) + case.jump * (used <= case.jump_at)
    passes = (p >= case.clamp[0]) & (p <= case.clamp[1])
    return value, (passes * case.formula.derivative(np.log(used)) * p / used)[:, None] * log_p_gradient


@functools.partial(jax.jit, static_argnames="loss")
def value_and_gradient(loss, logits, labels, hyper):
    values, pull_back = jax.vjp(lambda z: loss(z, labels, **hyper), logits)
    return values, pull_back(jnp.ones_like(values))[0]


def evaluate(case, group, dtype):
    logits, labels = GOLDEN[f"{group}/logits"], GOLDEN[f"{group}/labels"]
    hyper = {name: np.asarray(value, dtype) for name, value in case.hyper.items()}
    value, gradient = value_and_gradient(case.ours, logits.astype(dtype), labels, hyper)
    assert value.dtype == gradient.dtype == dtype
    return np.asarray(value, np.float64), np.asarray(gradient, np.float64)


def assert_close(case, group, name, got, expected, *, tolerance, rows=slice(None)):
    """Within tolerance * max(1, |value|), for gradients within tolerance * max(1e-2, largest of the row)."""
    if name == "value":
        scale = np.maximum(1, np.abs(expected))
    else:
        scale = np.maximum(1e-2, np.max(np.abs(expected), axis=-1, keepdims=True))
    error = np.abs(got - expected) / scale
    worst = np.max(error.reshape(len(error), -1), axis=1)[rows]
    label = GOLDEN[f"{group}/row"][rows]
    assert np.all(worst <= tolerance), (
        f"{case.name}: {name} off by {worst.max():.1e} at {label[np.argmax(worst)]}"
    )


def assert_matches_stored(case, group, value, gradient, **kwargs):
    stored = f"{group}/{case.name}"
    assert_close(case, group, "value", value, GOLDEN[stored + "/value"], **kwargs)
    if stored + "/grad" in GOLDEN:
        assert_close(case, group, "gradient", gradient, GOLDEN[stored + "/grad"], **kwargs)
    else:
        projected = np.sum(gradient * GOLDEN[f"{group}/u"], axis=1, keepdims=True)
        assert_close(case, group, "gradient", projected, GOLDEN[stored + "/gradproj"][:, None], **kwargs)


def what_is_cut_off(case):
    """How far a decreasing, convex loss moves at most when p is clamped or `added` to p."""
    low, high = max(case.clamp[0], case.added), case.clamp[1]
    if low == 0:
        return 0.0
    at_zero, at_low, at_high, at_one = case.formula.value(np.array([-1e300, np.log(low), np.log(high), 0.0]))
    return max(at_zero - at_low, at_high - at_one)


@parametrize_ours(EVERY_GROUP | TWO_GROUPS | ONE_GROUP)
@pytest.mark.usefixtures("x64")
def test_float64_value_and_gradient(cases):
    groups = ["c10", "c100", "c1000", "c2"]
    if cases[0].ours not in EVERY_GROUP.values():
        groups = groups[:2] if cases[0].ours in TWO_GROUPS.values() else groups[:1]
    for case, group in itertools.product(cases, groups):
        logits, labels = GOLDEN[f"{group}/logits"], GOLDEN[f"{group}/labels"]
        assert_matches_stored(case, group, *rebuilt(case, logits, labels), tolerance=1e-10)

        value, gradient = evaluate(case, group, np.float64)
        exact_value, exact_gradient = case.formula.evaluate(logits, labels)
        assert_close(case, group, "value", value, exact_value, tolerance=1e-10)
        assert_close(case, group, "gradient", gradient, exact_gradient, tolerance=1e-10)

        p = np.exp(log_probability(logits, labels)[0])
        same_formula = np.flatnonzero((p > case.clamp[0]) & (p < case.clamp[1]) & (case.added == 0))
        without_jump = value + case.jump * (p <= case.jump_at)
        assert_matches_stored(case, group, without_jump, gradient, tolerance=1e-10, rows=same_formula)
        distance = np.max(np.abs(without_jump - GOLDEN[f"{group}/{case.name}/value"]))
        assert distance <= what_is_cut_off(case) + 1e-10, case.name


@parametrize_ours(EVERY_GROUP | TWO_GROUPS)
def test_float32_value_and_gradient(cases):
    logits, labels = GOLDEN["c10/logits"], GOLDEN["c10/labels"]
    for case in cases:
        value, gradient = evaluate(case, "c10", np.float32)
        exact_value, exact_gradient = case.formula.evaluate(logits, labels)
        # The references themselves move by up to 4.1e-7 when they are run in float32.
        assert_close(case, "c10", "value", value, exact_value, tolerance=1e-6)
        assert np.max(np.abs(gradient - exact_gradient)) <= 1e-6, case.name


def test_every_stored_loss_is_compared():
    stored = {key.split("/")[1] for key in GOLDEN} - {"logits", "labels", "row", "u"}
    assert stored == {case.name for case in PUBLISHED}
