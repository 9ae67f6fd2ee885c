"""What every loss promises, whatever its formula. A new loss joins by adding one line to LOSSES."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import hypothesis
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from noisy_optax import losses
from tests import compiling
from tests.losses import formulas
from tests.losses.formulas import (
    BRIER,
    CROSS_ENTROPY,
    MEAN_ABSOLUTE_ERROR,
    Biased,
    DynamicsAware,
    Formula,
    bounded_ce,
    focal,
    gce,
    phuber_ce,
    phuber_gce,
)


class Case(NamedTuple):
    name: str
    # Without arguments, since making some losses solves for a threshold, which takes a second.
    make: Callable
    formula: Formula | Biased | DynamicsAware | formulas.OfLogits
    # The largest value, that at p = 0; None if it is infinite.
    bound: float | None
    # The constant that the loss sums to over all labels, as a function of C.
    symmetric: Callable | None = None
    # Whether value and gradient keep their relative precision as p approaches 1.
    precise_near_one: bool = True
    # If not, the value at p = 0 and the number of classes are the formula's business too.
    of_p_alone: bool = True
    # Whether the value at p = 0 is the bound, with zero gradient; else it depends on the other classes.
    bound_at_zero: bool = True
    # Whether a label at -inf has no finite value although the loss is bounded.
    nan_at_impossible_label: bool = False
    # The value at p = 1, the least.
    least: float = 0.0
    # Whether adding a constant to all logits changes nothing.
    shift_invariant: bool = True
    # Whether the gradient is that of the value; else a factor is held constant, as the docstring says.
    gradient_of_value: bool = True
    # What the loss is of the other classes where one is at -inf, if not the same.
    without_a_class: formulas.OfLogits | None = None


def bind(loss, **hyper):
    return lambda: functools.partial(loss, **hyper)


def js_bound(w):
    return 1 + w * np.log(w) / ((1 - w) * np.log(1 - w))


# What the normalised losses are where a wrong class, at -inf, costs infinitely much.
ZERO = formulas.MAE.times(0.0)

LOSSES = [
    Case("cross_entropy", bind(losses.cross_entropy), CROSS_ENTROPY, None),
    Case("mean_absolute_error", bind(losses.mean_absolute_error), MEAN_ABSOLUTE_ERROR, 1.0, lambda c: c - 1),
    Case("gce_0.3", bind(losses.generalized_cross_entropy, q=0.3), gce(0.3), 1 / 0.3),
    Case("focal", bind(losses.focal, gamma=2), focal(2), None),
    Case("phuber_ce", bind(losses.phuber_cross_entropy, tau=4), phuber_ce(4), 1 + np.log(4)),
    Case(
        "phuber_gce",
        bind(losses.phuber_generalized_cross_entropy, q=0.5, tau=2),
        phuber_gce(0.5, 2),
        1.5,
    ),
    Case(
        "clip_slope",
        lambda: losses.clip_slope(losses.cross_entropy, tau=5.0),
        phuber_ce(5),
        1 + np.log(5),
    ),
    Case(
        "of_probability",
        lambda: losses.of_probability(lambda p: (1 - p) ** 2),
        BRIER,
        1.0,
        precise_near_one=False,
    ),
    Case("bounded_cross_entropy", bind(losses.bounded_cross_entropy, beta=0.1), bounded_ce(0.1), np.log(10)),
    Case(
        "with_logit_bias",
        lambda: losses.with_logit_bias(losses.mean_absolute_error, 2.0),
        Biased(MEAN_ABSOLUTE_ERROR, 2.0),
        1.0,
    ),
    Case(
        "dynamics_aware",
        bind(losses.dynamics_aware, q=1.2, bootstrap_weight=0.5),
        DynamicsAware(1.2, 0.5),
        1.5 / 1.2,
        of_p_alone=False,
    ),
    Case("unhinged", bind(losses.unhinged), MEAN_ABSOLUTE_ERROR, 1.0, lambda c: c - 1),
    Case(
        "reverse_cross_entropy",
        bind(losses.reverse_cross_entropy, label_floor=1e-3),
        formulas.rce(1e-3),
        3 * np.log(10),
        lambda c: 3 * np.log(10) * (c - 1),
    ),
    Case("symmetric_cross_entropy", bind(losses.symmetric_cross_entropy), formulas.sce(0.1, 1), None),
    Case("taylor_cross_entropy", bind(losses.taylor_cross_entropy, order=4), formulas.taylor(4), 25 / 12),
    Case("jensen_shannon", bind(losses.jensen_shannon, weight=0.3), formulas.js(0.3), js_bound(0.3)),
    Case(
        "agce",
        bind(losses.asymmetric_generalized_cross_entropy, a=0.1, q=2),
        formulas.agce(0.1, 2),
        0.6,
    ),
    Case("asymmetric_unhinged", bind(losses.asymmetric_unhinged, a=2, q=3), formulas.aul(2, 3), 7 / 3),
    Case(
        "asymmetric_exponential",
        bind(losses.asymmetric_exponential, a=0.5),
        formulas.ael(0.5),
        1 - np.exp(-2),
    ),
    Case(
        "asymmetric_norm",
        bind(losses.asymmetric_norm, a=1.5, q=0.5),
        formulas.anorm(1.5, 0.5),
        2 * (1.5**0.5 - 0.5**0.5 + 4**0.5),
        bound_at_zero=False,
    ),
    Case("mean_squared_error", bind(losses.mean_squared_error), formulas.MSE, 2.0, bound_at_zero=False),
    Case(
        "normalized_cross_entropy",
        bind(losses.normalized_cross_entropy),
        formulas.NCE,
        1.0,
        lambda c: 1,
        without_a_class=ZERO,
    ),
    Case(
        "normalized_focal",
        bind(losses.normalized_focal, gamma=2),
        formulas.normalised_focal(2),
        1.0,
        lambda c: 1,
        without_a_class=ZERO,
    ),
    Case(
        "normalized_negative_cross_entropy",
        bind(losses.normalized_negative_cross_entropy),
        formulas.nnce(),
        1.0,
        lambda c: c - 1,
    ),
    Case(
        "normalized_negative_focal",
        bind(losses.normalized_negative_focal, gamma=2, min_probability=1e-4),
        formulas.nnfl(2, 1e-4),
        1.0,
        lambda c: c - 1,
    ),
    Case(
        "nce_rce",
        bind(losses.nce_rce, beta=0.5),
        formulas.NCE.plus(formulas.rce().times(0.5)),
        1 + 2 * np.log(10),
        lambda c: 1 + 2 * np.log(10) * (c - 1),
        without_a_class=formulas.rce().times(0.5),
    ),
    Case(
        "nce_agce",
        bind(losses.nce_agce, a=1, q=2),
        formulas.NCE.plus(formulas.agce(1, 2).times(4)),
        7.0,
        without_a_class=formulas.agce(1, 2).times(4),
    ),
    Case(
        "nce_nnce",
        bind(losses.nce_nnce),
        formulas.NCE.plus(formulas.nnce()).times(5),
        10.0,
        lambda c: 5 * c,
        without_a_class=formulas.nnce().times(5),
    ),
    Case(
        "weighted_sum",
        lambda: losses.weighted_sum((losses.mean_absolute_error, 2.0), (losses.mean_squared_error, 0.5)),
        formulas.MAE.times(2).plus(formulas.MSE.times(0.5)),
        3.0,
        bound_at_zero=False,
    ),
    Case(
        "bi_tempered",
        bind(losses.bi_tempered, t1=0.7, t2=1.5),
        formulas.bi_tempered(0.7, 1.5),
        1 / 0.3,
        bound_at_zero=False,
    ),
    Case(
        "eps_softmax_cross_entropy",
        bind(losses.eps_softmax_cross_entropy, m=9.0),
        formulas.eps_softmax(9),
        None,
    ),
    Case(
        "sparsity",
        bind(losses.sparsity, q=0.5),
        formulas.power_sum(0.5),
        5**0.5,
        bound_at_zero=False,
        least=1.0,
    ),
    Case(
        "cross_entropy_with_sparse_regularization",
        bind(losses.cross_entropy_with_sparse_regularization, weight=2.0, q=0.5),
        formulas.ce_sr(2, 0.5, 0.5),
        None,
        precise_near_one=False,
        least=2.0,
        shift_invariant=False,
    ),
    Case(
        "relative_generalized_cross_entropy",
        bind(losses.relative_generalized_cross_entropy, q=0.5),
        formulas.Relative(0.5),
        5**0.5 / 0.5,
        bound_at_zero=False,
        gradient_of_value=False,
    ),
    Case(
        "with_logit_clip",
        lambda: losses.with_logit_clip(losses.cross_entropy, 3.0),
        formulas.logit_clip(3),
        np.log(1 + 4 * np.exp(3 * np.sqrt(5 / 4))),
        precise_near_one=False,
        nan_at_impossible_label=True,
        shift_invariant=False,
    ),
    Case(
        "logit_clip_cross_entropy",
        bind(losses.logit_clip_cross_entropy, max_norm=3.0),
        formulas.logit_clip(3),
        np.log(1 + 4 * np.exp(3 * np.sqrt(5 / 4))),
        precise_near_one=False,
        nan_at_impossible_label=True,
        shift_invariant=False,
    ),
]


class Loss:
    """A loss with what is compiled of it; one at a time, all of its tests before the next one's."""

    def __init__(self, case):
        self.case = case
        self.call = case.make()

    def by_operations(self, logits, labels, where):
        values, pull_back = jax.vjp(lambda z: self.call(z, labels, where=where), logits)
        return values, pull_back(jnp.ones_like(values))[0]

    compiled = functools.partialmethod(
        jax.jit(
            by_operations,
            static_argnums=0,
            # As for users, whatever tests/conftest.py asks for.
            compiler_options={
                "xla_backend_optimization_level": 3,
                "xla_llvm_disable_expensive_passes": False,
                **compiling.newer_fusions(True),
            },
        )
    )

    @functools.partial(jax.jit, static_argnums=(0, 3))
    def sum_and_gradient(self, logits, labels, axis):
        return jax.value_and_grad(lambda z: self.call(z, labels, axis=axis).sum())(logits)

    def value_and_gradient(self, logits, labels, where=None):
        if where is None:
            where = np.ones(len(logits), bool)
        # To compile a loss takes half a second. Other types and shapes go operation by operation, which are
        # the same in all losses.
        usual = np.shape(logits) == LOGITS.shape and logits.dtype == LOGITS.dtype
        values, gradients = (self.compiled if usual else self.by_operations)(logits, labels, where)
        return np.asarray(values), np.asarray(gradients)


# Module scope makes pytest run all tests of one loss before those of the next.
@pytest.fixture(scope="module", params=LOSSES, ids=[case.name for case in LOSSES])
def loss(request):
    return Loss(request.param)


# For what happens before the formula, in code that all losses share: one of each kind of loss is enough.
FEW = [case for case in LOSSES if case.name in ("cross_entropy", "nce_agce", "bi_tempered")]


@pytest.fixture(scope="module", params=FEW, ids=[case.name for case in FEW])
def one_of_few(request):
    return Loss(request.param)


F32, I32, BOOL = jnp.float32, jnp.int32, jnp.bool_
B, C = 8, 5
LOGITS = (3 * np.random.default_rng(0).normal(size=(B, C))).astype(np.float32)
LABELS = np.array([0, 1, 2, 3, 4, 0, 2, 4], np.int32)
LOGITS64, LABELS64 = LOGITS.astype(np.float64), LABELS.astype(np.int64)
WIDE = stn.arrays(np.float32, (B, C), elements=st.floats(-1e4, 1e4, width=32))
LABEL = stn.arrays(np.int32, B, elements=st.integers(0, C - 1))
IMPOSSIBLE = stn.arrays(np.bool_, (B, C))
MASK = stn.arrays(np.bool_, B)


def is_label(labels, num_classes=C):
    return np.arange(num_classes) == labels[:, None]


def with_label_logit(value):
    return np.where(is_label(LABELS), np.float32(value), LOGITS)


def with_wrong_logit(value):
    """One wrong class per row at `value`."""
    return np.where(is_label((LABELS + 1) % C), np.float32(value), LOGITS)


# --- values and gradients ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("x64")
def test_float64_value_and_gradient_follow_the_formula(loss):
    values, gradients = loss.value_and_gradient(LOGITS64, LABELS64)
    expected_values, expected_gradients = loss.case.formula.evaluate(LOGITS64, LABELS64)
    np.testing.assert_allclose(values, expected_values, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradients, expected_gradients, rtol=1e-11, atol=1e-13)


@pytest.mark.usefixtures("x64")
def test_float64_gradient_is_the_slope_of_the_value(loss):
    if not loss.case.gradient_of_value:
        pytest.skip("stated in the docstring")
    direction = np.random.default_rng(1).normal(size=(B, C))
    h = 1e-5
    above, below = (loss.value_and_gradient(LOGITS64 + step * direction, LABELS64)[0] for step in (h, -h))
    _, gradients = loss.value_and_gradient(LOGITS64, LABELS64)
    differences = (above - below) / (2 * h)
    np.testing.assert_allclose(np.sum(gradients * direction, 1), differences, rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("x64")
def test_shift_of_all_logits_changes_nothing(loss):
    if not loss.case.shift_invariant:
        pytest.skip("stated in the docstring")
    # Multiples of 2^-10, so that adding the shift is exact.
    logits = np.round(LOGITS64 * 1024) / 1024
    shifted, shifted_gradients = loss.value_and_gradient(logits + 1e4, LABELS64)
    values, gradients = loss.value_and_gradient(logits, LABELS64)
    np.testing.assert_allclose(shifted, values, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(shifted_gradients, gradients, rtol=1e-10, atol=1e-14)


def test_forward_mode_is_there(loss):
    # Whether its numbers are right, the transposed ones say.
    out = jax.eval_shape(lambda z: jax.jvp(lambda z: loss.call(z, LABELS), (z,), (z,)), LOGITS)
    assert [x.shape for x in out] == [(B,), (B,)]


@pytest.mark.parametrize("sign", [1, -1])
def test_float32_keeps_its_relative_precision_at_both_ends_of_p(loss, sign):
    if sign > 0 and not loss.case.precise_near_one:
        pytest.skip("stated in the docstring")
    log_odds = sign * np.array([0.01, 1, 3, 7, 15, 30, 50, 70], np.float32)
    logits = np.array([0, 0.5, -0.5, -2, -1], np.float32) * np.ones((B, 1), np.float32)
    logits[:, 0] = log_odds
    labels = np.zeros(B, np.int32)
    value, gradient = loss.value_and_gradient(logits, labels)
    with jax.enable_x64(True):
        exact_value, exact_gradient = loss.value_and_gradient(
            logits.astype(np.float64), labels.astype(np.int64)
        )
    # Below the smallest normal number float32 has no relative precision to keep.
    tiny = np.finfo(np.float32).tiny
    np.testing.assert_allclose(value, exact_value, rtol=1e-5, atol=tiny)
    if isinstance(loss.case.formula, Formula):
        np.testing.assert_allclose(gradient, exact_gradient, rtol=1e-5, atol=tiny)
    else:
        # Where a loss looks at all classes, components of its gradient pass through 0.
        scale = np.max(np.abs(exact_gradient), axis=1, keepdims=True)
        assert np.all(np.abs(gradient - exact_gradient) <= 1e-5 * scale + tiny)


def test_near_the_largest_numbers_value_and_gradient_are_both_finite_or_both_nan(loss):
    sizes = np.float32([0, 1e19, 1e38, 1.8e38, 3.4e38])
    values = np.concatenate([sizes, -sizes[1:], [np.float32(-np.inf)]])
    # Each pair of sizes, at the label and at another class, among logits of ordinary size.
    pairs = np.array(np.meshgrid(values, values)).reshape(2, -1).T
    for rows in np.array_split(pairs, -(-len(pairs) // B)):
        logits = LOGITS.copy()
        logits[: len(rows), 0], logits[: len(rows), 1] = rows.T
        value, gradient = loss.value_and_gradient(logits, np.zeros(B, np.int32))
        finite = np.isfinite(value)
        np.testing.assert_array_equal(finite, ~np.isnan(value))
        np.testing.assert_array_equal(finite, np.isfinite(gradient).all(axis=1), err_msg=str(logits))


@hypothesis.given(logits=WIDE, labels=LABEL, impossible=IMPOSSIBLE)
def test_finite_and_in_range_for_any_logit_up_to_1e4_and_minus_inf_at_wrong_classes(
    loss, logits, labels, impossible
):
    impossible &= ~is_label(labels)
    logits = np.where(impossible, np.float32(-np.inf), logits)
    value, gradient = loss.value_and_gradient(logits, labels)
    assert np.all(np.isfinite(value))
    assert np.all(np.isfinite(gradient))
    assert np.all(gradient[impossible] == 0)
    assert np.all(value >= loss.case.least * (1 - 1e-6))
    if loss.case.bound is not None:
        assert np.all(value <= loss.case.bound * (1 + 1e-6))


@pytest.mark.slow
@hypothesis.given(
    logits=stn.arrays(np.float32, (B, C), elements=st.floats(width=32)),
    labels=stn.arrays(np.int32, B, elements=st.integers(-2, C + 1)),
    where=MASK,
)
def test_any_numbers_at_all_give_finite_ones_or_nan_in_value_and_gradient(loss, logits, labels, where):
    value, gradient = loss.value_and_gradient(logits, labels, where)
    lost = np.isnan(value)
    assert not np.any(np.isinf(value))
    np.testing.assert_array_equal(lost, np.any(np.isnan(gradient), axis=1))
    assert np.all(np.isfinite(gradient[~lost]))
    assert not np.any(value[~where])
    assert not np.any(gradient[~where])
    usable = where & np.all(np.abs(logits) <= 1e4, axis=1) & (labels >= 0) & (labels < C)
    assert not np.any(lost & usable)


SHAPES = [((C,), -1), ((3, 2), -1), ((7, 3), 0), ((2, C, 3), 1)]


@pytest.mark.slow
@hypothesis.given(data=st.data())
def test_any_type_and_shape_is_what_float64_makes_of_the_same_logits(loss, data):
    dtype = data.draw(st.sampled_from([jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64]))
    shape, axis = data.draw(st.sampled_from(SHAPES))
    batch = tuple(size for place, size in enumerate(shape) if place != axis % len(shape))
    drawn = data.draw(stn.arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32)))
    labels = data.draw(stn.arrays(np.int32, batch, elements=st.integers(0, shape[axis] - 1)))
    with jax.enable_x64(True):
        logits = jnp.asarray(drawn).astype(dtype)
        value, gradient = loss.sum_and_gradient(logits, labels, axis)
        expected, expected_gradient = loss.sum_and_gradient(logits.astype(jnp.float64), labels, axis)
    assert gradient.dtype == dtype
    gradient, expected_gradient = np.asarray(gradient), np.asarray(expected_gradient)
    scale = max(1.0, np.max(np.abs(expected_gradient)))
    with np.errstate(over="ignore"):
        # Some gradients do not fit into float16.
        expected_gradient = expected_gradient.astype(gradient.dtype).astype(np.float64)
    np.testing.assert_allclose(np.asarray(value), np.asarray(expected), rtol=1e-4, atol=1e-4)
    tolerance = scale * max(1e-3, 2 * float(jnp.finfo(dtype).eps))
    np.testing.assert_allclose(gradient.astype(np.float64), expected_gradient, atol=tolerance)


def test_class_at_minus_inf_is_as_if_it_were_not_there(loss):
    impossible = np.array([-np.inf, *LOGITS[0, 1:]], np.float32) * np.ones((B, 1), np.float32)
    labels = np.array([1, 2, 3, 4, 1, 2, 3, 4], np.int32)
    value, gradient = loss.value_and_gradient(impossible, labels)
    if loss.case.of_p_alone:
        formula = loss.case.without_a_class or loss.case.formula
        expected, expected_gradient = formula.evaluate(impossible[:, 1:], labels - 1)
    else:
        expected, expected_gradient = loss.case.formula.evaluate(impossible, labels)
        expected_gradient = expected_gradient[:, 1:]
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient[:, 1:], expected_gradient, rtol=1e-5, atol=1e-6)


def test_label_that_is_alone_costs_least(loss):
    logits = np.where(is_label(LABELS), np.float32(3), np.float32(-np.inf))
    value, gradient = loss.value_and_gradient(logits, LABELS)
    np.testing.assert_allclose(value, loss.case.least, atol=1e-6)
    np.testing.assert_array_equal(gradient, 0)


def test_value_at_impossible_label(loss):
    value, gradient = loss.value_and_gradient(with_label_logit(-np.inf), LABELS)
    if not loss.case.of_p_alone:
        expected, expected_gradient = loss.case.formula.evaluate(with_label_logit(-1e5), LABELS)
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(gradient[is_label(LABELS)], 0)
    elif loss.case.bound is None or loss.case.nan_at_impossible_label:
        assert np.all(np.isnan(value))
    elif not loss.case.bound_at_zero:
        expected, _ = loss.value_and_gradient(with_label_logit(-1e4), LABELS)
        # The heavy tail of bi_tempered is still felt there.
        np.testing.assert_allclose(value, expected, rtol=1e-2)
        assert np.all(value <= loss.case.bound)
        assert np.all(np.isfinite(gradient))
        assert np.all(gradient[is_label(LABELS)] == 0)
    else:
        np.testing.assert_allclose(value, loss.case.bound, rtol=1e-6)
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize(
    "logits",
    [
        with_label_logit(np.nan),
        with_wrong_logit(np.nan),
        with_label_logit(np.inf),
        with_wrong_logit(np.inf),
        np.full_like(LOGITS, -np.inf),
    ],
    ids=["nan label", "nan wrong", "+inf label", "+inf wrong", "all -inf"],
)
def test_nan_where_there_is_no_finite_value_and_nowhere_else(loss, logits):
    bad = np.arange(B) % 2 == 0
    value, gradient = loss.value_and_gradient(np.where(bad[:, None], logits, LOGITS), LABELS)
    expected_value, expected_gradient = loss.value_and_gradient(LOGITS, LABELS)
    assert np.all(np.isnan(value[bad]))
    # A finite gradient beside a NaN value would be applied without anybody noticing.
    assert np.all(np.any(np.isnan(gradient[bad]), axis=1))
    np.testing.assert_array_equal(value[~bad], expected_value[~bad])
    np.testing.assert_array_equal(gradient[~bad], expected_gradient[~bad])


def test_two_classes(loss):
    logits = LOGITS[:, :2]
    value, gradient = loss.value_and_gradient(logits, LABELS % 2)
    expected, expected_gradient = loss.case.formula.evaluate(logits, LABELS % 2)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


def test_sum_over_labels_of_symmetric_losses(loss):
    total = sum(loss.value_and_gradient(LOGITS, np.full(B, label, np.int32))[0] for label in range(C))
    if loss.case.symmetric is not None:
        np.testing.assert_allclose(total, loss.case.symmetric(C), rtol=1e-6)
    else:
        assert np.ptp(total) > 0.1


@hypothesis.given(permutation=st.permutations(range(C)))
def test_names_of_the_classes_do_not_matter(loss, permutation):
    permutation = np.array(permutation)
    value, gradient = loss.value_and_gradient(
        LOGITS[:, permutation], np.argsort(permutation)[LABELS].astype(np.int32)
    )
    expected_value, expected_gradient = loss.value_and_gradient(LOGITS, LABELS)
    np.testing.assert_allclose(value, expected_value, rtol=1e-5, atol=1e-7)
    # Terms near 1 cancel in some gradients and leave two roundings of theirs.
    np.testing.assert_allclose(gradient, expected_gradient[:, permutation], rtol=1e-5, atol=3e-7)


# --- labels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", [-1, C, 2**31 - 1])
def test_label_out_of_range_is_nan_in_value_and_gradient(loss, label):
    labels = np.where(np.arange(B) == 3, np.int32(label), LABELS)
    value, gradient = loss.value_and_gradient(LOGITS, labels)
    expected_value, expected_gradient = loss.value_and_gradient(LOGITS, LABELS)
    others = np.arange(B) != 3
    assert np.isnan(value[3])
    assert np.all(np.isnan(gradient[3]))
    np.testing.assert_array_equal(value[others], expected_value[others])
    np.testing.assert_array_equal(gradient[others], expected_gradient[others])


def test_neither_a_label_nor_a_possible_class_is_nan_in_value_and_gradient(one_of_few):
    value, gradient = one_of_few.value_and_gradient(np.full_like(LOGITS, -np.inf), np.full_like(LABELS, -1))
    assert np.all(np.isnan(value))
    assert np.all(np.any(np.isnan(gradient), axis=1))


def test_a_single_possible_class_that_is_not_the_label_is_nan_in_both_or_in_neither(loss):
    logits = np.where(np.arange(C) == 1, np.float32(0), np.full_like(LOGITS, -np.inf))
    value, gradient = loss.value_and_gradient(logits, np.zeros_like(LABELS))
    np.testing.assert_array_equal(np.isnan(value), np.any(np.isnan(gradient), axis=1))


def test_eight_bit_labels_do_not_wrap_around_the_number_of_classes(one_of_few):
    logits = np.zeros((2, 300), np.float32)
    # In eight bits, 259 is 3 and 299 is 43.
    logits[:, [3, 43, 259, 299]] = [3.0, 1.0, 4.0, 2.0]
    labels = np.array([3, 43], np.uint8)
    expected = one_of_few.case.formula.values(logits, labels)
    np.testing.assert_allclose(one_of_few.call(logits, labels), expected, rtol=1e-5)


@pytest.mark.usefixtures("x64")
def test_int64_labels_are_not_cut_to_32_bits(one_of_few):
    labels = np.where(np.arange(B) == 3, 2**32, LABELS64)
    value, gradient = one_of_few.value_and_gradient(LOGITS64, labels)
    np.testing.assert_array_equal(np.isnan(value), np.arange(B) == 3)
    assert np.all(np.isnan(gradient[3]))


# --- where, axis, shape, dtype ----------------------------------------------------------------------------


@hypothesis.given(
    where=MASK,
    bad_logit=st.sampled_from([np.nan, np.inf, -np.inf, 1e38]),
    bad_label=st.sampled_from([-1, C, 2**31 - 1]),
)
def test_masked_examples_are_exactly_zero_and_touch_nothing(loss, where, bad_logit, bad_label):
    logits = np.where(where[:, None], LOGITS, np.float32(bad_logit))
    labels = np.where(where, LABELS, np.int32(bad_label))
    value, gradient = loss.value_and_gradient(logits, labels, where)
    expected_value, expected_gradient = loss.value_and_gradient(LOGITS, LABELS)
    np.testing.assert_array_equal(value, np.where(where, expected_value, 0))
    np.testing.assert_array_equal(gradient, np.where(where[:, None], expected_gradient, 0))


def test_axis_and_two_batch_axes_with_mask(loss):
    expected = loss.value_and_gradient(LOGITS, LABELS)[0].reshape(4, 2)
    class_in_the_middle = np.moveaxis(LOGITS.reshape(4, 2, C), -1, 1)
    where = np.array([[True, False], [True, True], [False, True], [False, False]])
    got = loss.call(class_in_the_middle, LABELS.reshape(4, 2), axis=1, where=where)
    np.testing.assert_allclose(got, np.where(where, expected, 0), rtol=1e-6)


def test_vmap_over_single_examples_is_the_batch(loss):
    # Without jit, every loss runs in the doctests.
    expected, _ = loss.value_and_gradient(LOGITS, LABELS)
    np.testing.assert_allclose(jax.vmap(loss.call)(LOGITS, LABELS), expected, rtol=1e-6)


def test_shape_and_dtype(loss):
    def out(logits, labels, axis=-1, dtype=F32, label_dtype=I32):
        arguments = jax.ShapeDtypeStruct(logits, dtype), jax.ShapeDtypeStruct(labels, label_dtype)
        array = jax.eval_shape(functools.partial(loss.call, axis=axis), *arguments)
        assert not array.weak_type
        return array.shape, array.dtype

    assert out((C,), ()) == ((), F32)
    assert out((0, C), (0,)) == ((0,), F32)
    assert out((2, 3, C), (2, 3)) == ((2, 3), F32)
    assert out((C, 2, 3), (2, 3), axis=0) == ((2, 3), F32)
    assert out((2, C, 3), (2, 3), axis=-2) == ((2, 3), F32)
    assert out((B, C), (B,), dtype=jnp.float16) == ((B,), F32)
    assert out((B, C), (B,), dtype=jnp.bfloat16, label_dtype=jnp.uint8) == ((B,), F32)
    assert out((B, C), (B,), label_dtype=jnp.uint32) == ((B,), F32)
    with jax.enable_x64(True):
        assert out((B, C), (B,), dtype=jnp.float64, label_dtype=jnp.uint8) == ((B,), jnp.float64)
        assert out((B, C), (B,), label_dtype=jnp.int64) == ((B,), F32)
        assert out((B, C), (B,), dtype=jnp.bfloat16, label_dtype=jnp.uint64) == ((B,), F32)


def test_half_precision_logits_are_computed_in_float32(one_of_few):
    half = jnp.asarray(LOGITS, jnp.bfloat16)
    # -1 in eight bits is 255, and the last class when counted from the end.
    labels = np.where(np.arange(B) == 3, -1, LABELS).astype(np.int8)
    expected, _ = one_of_few.value_and_gradient(np.asarray(half, np.float32), labels.astype(np.int32))
    np.testing.assert_allclose(one_of_few.call(half, labels), expected, rtol=1e-6)
    assert np.isnan(expected[3])
    gradient = jax.eval_shape(jax.grad(lambda z: one_of_few.call(z, LABELS).sum()), half)
    assert gradient.dtype == jnp.bfloat16


def test_nothing_in_the_step_calls_back_to_the_host(loss):
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda z: loss.call(z, LABELS).sum()))(LOGITS))
    assert "callback" not in jaxpr


# --- bad input, at trace time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "labels", "where", "error", "message"),
    [
        (((8, 5), I32), ((8,), I32), None, TypeError, r"logits must be floating, got int32"),
        (((8, 5), BOOL), ((8,), I32), None, TypeError, r"logits must be floating, got bool"),
        (((8, 5), jnp.complex64), ((8,), I32), None, TypeError, r"logits must be floating, got complex64"),
        (((8, 5), F32), ((8,), F32), None, TypeError, r"labels must be integer.*got float32"),
        (((8, 5), F32), ((8,), BOOL), None, TypeError, r"labels must be integer.*got bool"),
        (((8, 5), F32), ((8, 5), F32), None, TypeError, r"one-hot and soft labels"),
        (((8, 5), F32), ((8, 5), I32), None, ValueError, r"expected labels of shape \(8,\).*got \(8, 5\)"),
        # The shapes at which one-hot and integer labels would broadcast.
        (((5, 5), F32), ((5, 5), I32), None, ValueError, r"expected labels of shape \(5,\).*got \(5, 5\)"),
        (((5, 5), F32), ((5, 5), F32), None, TypeError, r"one-hot and soft labels"),
        (((8, 5), F32), ((8, 1), I32), None, ValueError, r"expected labels of shape \(8,\).*got \(8, 1\)"),
        (((8, 5), F32), ((1,), I32), None, ValueError, r"expected labels of shape \(8,\).*got \(1,\)"),
        (((8, 5), F32), ((), I32), None, ValueError, r"expected labels of shape \(8,\).*got \(\)"),
        (((5, 8), F32), ((8,), I32), None, ValueError, r"expected labels of shape \(5,\).*got \(8,\)"),
        (((), F32), ((), I32), None, ValueError, r"no class axis"),
        (((8, 5), F32), ((8,), I32), ((8,), I32), TypeError, r"where must be boolean, got int32"),
        (((8, 5), F32), ((8,), I32), ((8,), F32), TypeError, r"where must be boolean, got float32"),
        (((8, 5), F32), ((8,), I32), ((), BOOL), ValueError, r"expected where of shape \(8,\).*got \(\)"),
        (
            ((8, 5), F32),
            ((8,), I32),
            ((8, 5), BOOL),
            ValueError,
            r"expected where of shape \(8,\).*got \(8, 5\)",
        ),
        (
            ((5, 5), F32),
            ((5,), I32),
            ((5, 5), BOOL),
            ValueError,
            r"expected where of shape \(5,\).*got \(5, 5\)",
        ),
    ],
)
def test_bad_input_is_refused_when_traced(one_of_few, logits, labels, where, error, message):
    arguments = [jax.ShapeDtypeStruct(*array) for array in (logits, labels, where) if array is not None]
    with pytest.raises(error, match=message):
        jax.eval_shape(lambda z, y, w=None: one_of_few.call(z, y, where=w), *arguments)


def test_one_hot_labels_are_refused_by_every_loss(loss):
    one_hot = jax.ShapeDtypeStruct((B, C), jnp.float32)
    with pytest.raises(TypeError, match="one-hot and soft labels"):
        jax.eval_shape(loss.call, one_hot, one_hot)


@pytest.mark.parametrize("axis", [2, -3])
def test_axis_that_is_not_there_is_refused(one_of_few, axis):
    with pytest.raises(ValueError, match=f"no class axis {axis}"):
        jax.eval_shape(functools.partial(one_of_few.call, axis=axis), LOGITS, LABELS)


def test_options_are_keyword_only(one_of_few):
    with pytest.raises(TypeError, match="positional"):
        one_of_few.call(LOGITS, LABELS, -1)


def test_lowers_for_every_platform(loss):
    def mean(logits, labels):
        return loss.call(logits, labels).mean()

    step = jax.jit(jax.value_and_grad(mean))
    exported = jax.export.export(step, platforms=["cpu", "cuda", "tpu"])(LOGITS, LABELS)
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_a_64_bit_label_is_not_cut_to_another_class(one_of_few):
    for dtype in (np.int64, np.uint64):
        labels = np.array([1, 2**32, 2**32 + 2], dtype)
        values = np.asarray(one_of_few.call(LOGITS[:3], labels))
        np.testing.assert_array_equal(np.isnan(values), [False, True, True])


@pytest.mark.parametrize("classes", [0, 1])
def test_at_least_two_classes(classes):
    # One check for all losses. One logit, as of a sigmoid, would cost nothing and teach nothing.
    with pytest.raises(
        ValueError, match=rf"expected at least 2 classes on axis -1 .*, got shape \(2, {classes}\)"
    ):
        losses.cross_entropy(np.zeros((2, classes), np.float32), np.zeros(2, int))
