"""The losses of all classes, and combinations, against numbers made by the papers' published code.

As in test_golden: the published formula, with its clamps, offsets, unconverged iterations and factors held
fixed, is rebuilt here and equals the stored numbers; ours equals the exact formula of formulas.py; and where
the two formulas are the same ours equals the stored numbers, elsewhere it is within a stated distance.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noisy_optax import losses
from tests.losses import formulas as exact
from tests.losses.formulas import OfLogits, label, log_softmax, of_p, others, softmax
from tests.losses.test_golden import GOLDEN as ROWS
from tests.losses.test_golden import assert_close

with np.load(pathlib.Path(__file__).parent.parent / "golden" / "losses_more.npz") as file:
    GOLDEN = {key: file[key] for key in file.files}

GROUPS = ["c10", "c100", "c1000", "c2"]
RCE_SCALE = -np.log(1e-4)


# --- what the published code computes ---------------------------------------------------------------------


def clamp(x, low, high=np.inf):
    """Without a gradient beyond the limits, since the imaginary part goes with the real one."""
    return np.where(x.real < low, low, np.where(x.real > high, high, x))


def held_fixed(x):
    return x.real


def published_taylor(order, low, high=1.0):
    def value(z, y):
        p = clamp(label(softmax(z), y), low, high)
        return sum((1 - p) ** i / i for i in range(1, order + 1))

    return OfLogits(value)


def published_rce(low, high=np.inf):
    return OfLogits(lambda z, y: RCE_SCALE * others(clamp(softmax(z), low, high), y))


def published_sce(alpha, beta, low, high=np.inf):
    return exact.CE.times(alpha).plus(published_rce(low, high).times(beta))


def published_js(w, low):
    def value(z, y):
        p = softmax(z)
        log_m = np.log(clamp(w * y + (1 - w) * p, low))
        divergence = np.sum(p * (np.log(clamp(p, low)) - log_m), axis=1)
        return (-w * label(log_m, y) + (1 - w) * divergence) / (-(1 - w) * np.log(1 - w))

    return OfLogits(value)


def published_logit_clip(tau, delta):
    def value(z, y):
        length = exact.norm(z) + 1e-7
        return exact.CE.value(np.where(length.real > tau, delta * z / length, z), y)

    return OfLogits(value)


def published_nce_agce(alpha, beta, a, q):
    return exact.NCE.times(alpha).plus(exact.agce(a, q).times(beta))


def published_focal_of_classes(z, gamma):
    return -(held_fixed(exact.softmax_complement(z)) ** gamma) * log_softmax(z)


def published_focal(gamma):
    return OfLogits(lambda z, y: label(published_focal_of_classes(z, gamma), y))


def published_normalised_focal(gamma):
    def value(z, y):
        f = published_focal_of_classes(z, gamma)
        return label(f, y) / np.sum(f, axis=1)

    return OfLogits(value)


def published_nnfl(gamma, low=1e-7):
    def value(z, y):
        log_p = clamp(log_softmax(z), np.log(low))
        f = -(held_fixed(1 - np.exp(log_p)) ** gamma) * log_p
        gains = -((1 - low) ** gamma) * np.log(low) - f
        return 1 - label(gains, y) / np.sum(gains, axis=1)

    return OfLogits(value)


def published_ogc_focal(gamma, threshold):
    def base(p):
        return -((1 - p) ** gamma) * np.log(p)

    def value(z, y):
        p = clamp(label(softmax(z), y), 1e-7, 1 - 1e-7)
        return np.where(p.real > threshold, base(p), 1 - focal_slope(gamma, threshold) * p + base(threshold))

    return OfLogits(value)


def focal_slope(gamma, p):
    return gamma * (1 - p) ** (gamma - 1) * -np.log(p) + (1 - p) ** gamma / p


def published_ce_sr(weight, temperature, q):
    def value(z, y):
        u = z / exact.norm(z) / temperature
        return exact.CE.value(u, y) + weight * np.sum(clamp(softmax(u), 1e-6) ** q, axis=1)

    return OfLogits(value)


def published_bi_tempered(t1, t2):
    """Five steps of a fixed-point iteration, differentiated through."""

    def exp_t(x):
        return (1 + (1 - t2) * x) ** (1 / (1 - t2))

    def log_t(x, t):
        return (x ** (1 - t) - 1) / (1 - t)

    def value(z, y):
        top = np.take_along_axis(z, np.argmax(z.real, axis=1)[:, None], axis=1)
        below_top = z - top
        scaled = below_top
        for _ in range(5):
            scaled = below_top * np.sum(exp_t(scaled), axis=1, keepdims=True) ** (1 - t2)
        total = np.sum(exp_t(scaled), axis=1, keepdims=True)
        p = exp_t(below_top + log_t(1 / total, t2))
        smoothed = label(log_t(y + 1e-6, t1), y)
        return smoothed - log_t(label(p, y), t1) - (1 - np.sum(p ** (2 - t1), axis=1)) / (2 - t1)

    return OfLogits(value)


# --- the losses -------------------------------------------------------------------------------------------


class Published(NamedTuple):
    name: str
    ours: Callable
    hyper: dict
    published: OfLogits
    exact: OfLogits
    # Where the published formula is exact: the limits of p, and of which p.
    limits: tuple = (0.0, 1.0)
    of_label_only: bool = False
    # How far values move beyond the limits, as a function of C.
    distance: Callable = lambda c: 0.0
    # What the published code has in excess, as a function of the label's p.
    excess: Callable = np.zeros_like
    # By how much its gradients, with factors held fixed, may differ from ours.
    held_fixed: float = 0.0


def combine(*terms):
    """A weighted sum: its hyper-parameters are the weights w0, w1 and those named after each loss."""

    def loss(logits, labels, **hyper):
        parts = []
        for index, (part, *names) in enumerate(terms):
            bound = functools.partial(part, **{name: hyper[name] for name in names}) if names else part
            parts.append((bound, hyper[f"w{index}"]))
        return losses.weighted_sum(*parts)(logits, labels)

    return loss


def mse_over_classes(logits, labels):
    return losses.mean_squared_error(logits, labels) / logits.shape[-1]


def clipped_focal(gamma):
    def loss(logits, labels, *, tau):
        return losses.clip_slope(functools.partial(losses.focal, gamma=gamma), tau=tau)(logits, labels)

    return loss


taylor = {n: functools.partial(losses.taylor_cross_entropy, order=n) for n in (2, 6, 18)}
clipped_focals = {gamma: clipped_focal(gamma) for gamma in (0.5, 2)}
nce_mae = combine((losses.normalized_cross_entropy,), (losses.mean_absolute_error,))
nfl_mae = combine((losses.normalized_focal, "gamma"), (losses.mean_absolute_error,))
nfl_rce = combine((losses.normalized_focal, "gamma"), (losses.reverse_cross_entropy,))
nce_aul = combine((losses.normalized_cross_entropy,), (losses.asymmetric_unhinged, "a", "q"))
nce_ael = combine((losses.normalized_cross_entropy,), (losses.asymmetric_exponential, "a"))


def nfl_nnfl(logits, labels, *, alpha, beta, gamma):
    active = functools.partial(losses.normalized_focal, gamma=gamma)
    negative = functools.partial(losses.normalized_negative_focal, gamma=gamma)
    return losses.weighted_sum((active, alpha), (negative, beta))(logits, labels)


AGCE, SCE, JS = (
    losses.asymmetric_generalized_cross_entropy,
    losses.symmetric_cross_entropy,
    losses.jensen_shannon,
)


def focal_entry(name, gamma):
    formula = OfLogits(lambda z, y: label(exact.focal_of_classes(z, gamma), y))
    # The derivative of the factor, gamma (1 - p)^gamma p log p, is at most gamma / e.
    return Published(
        name, losses.focal, {"gamma": gamma}, published_focal(gamma), formula, held_fixed=gamma / np.e
    )


def ogc_focal_entry(gamma, threshold):
    tau = focal_slope(gamma, threshold)

    def base(p):
        return -((1 - p) ** gamma) * np.log(p)

    def continuous(z, y):
        p = label(softmax(z), y)
        tangent = base(threshold) + tau * (threshold - p)
        return np.where(p.real > threshold, label(exact.focal_of_classes(z, gamma), y), tangent)

    return Published(
        f"ogc.ogc_fl_gamma{gamma}_thr{threshold}",
        clipped_focals[gamma],
        {"tau": tau},
        published_ogc_focal(gamma, threshold),
        OfLogits(continuous),
        (1e-7, 1 - 1e-7),
        True,
        lambda c: 1e-7 * tau,
        excess=lambda p: np.where(p <= threshold, 1 - tau * threshold, 0.0),
    )


def taylor_entry(name, order, low, high):
    # The slope at p = 0 is the order.
    return Published(
        name,
        taylor[order],
        {},
        published_taylor(order, low, high),
        exact.taylor(order),
        (low, high),
        True,
        lambda c: order * low,
    )


def rce_distance(weight, low):
    return lambda c: weight * RCE_SCALE * c * low


def sce_entry(repository, alpha, beta, low, high=np.inf):
    return Published(
        f"{repository}.sce_a{alpha}_b{beta}",
        SCE,
        {"alpha": alpha, "beta": beta},
        published_sce(alpha, beta, low, high),
        exact.sce(alpha, beta),
        (low, high),
        distance=rce_distance(beta, low),
    )


def nce_rce_entry(name, alpha, beta, low):
    return Published(
        name,
        losses.nce_rce,
        {"alpha": alpha, "beta": beta},
        exact.NCE.times(alpha).plus(published_rce(low).times(beta)),
        exact.NCE.times(alpha).plus(exact.rce().times(beta)),
        (low, np.inf),
        distance=rce_distance(beta, low),
    )


def js_entry(name, w, low):
    # p log(low / p) is at most low / e, and so on for m = (1 - w) p.
    return Published(
        name,
        JS,
        {"weight": w},
        published_js(w, low),
        exact.js(w),
        (low / (1 - w), np.inf),
        distance=lambda c: c * low * (1 + 1 / (1 - w)) / np.e / -np.log(1 - w),
    )


def agce_entry(name, a, q):
    return Published(name, AGCE, {"a": a, "q": q}, exact.agce(a, q), exact.agce(a, q))


def nce_agce_entry(name, alpha, beta, a, q):
    formula = exact.NCE.times(alpha).plus(exact.agce(a, q).times(beta))
    return Published(name, losses.nce_agce, {"alpha": alpha, "beta": beta, "a": a, "q": q}, formula, formula)


def nce_nnce_entry(name, alpha, beta):
    formula = exact.NCE.times(alpha).plus(exact.nnce().times(beta))
    return Published(name, losses.nce_nnce, {"alpha": alpha, "beta": beta}, formula, formula)


def nce_entry(name):
    return Published(name, losses.normalized_cross_entropy, {}, exact.NCE, exact.NCE)


def ce_sr_entry(name, weight, temperature, q):
    return Published(
        name,
        losses.cross_entropy_with_sparse_regularization,
        {"weight": weight, "temperature": temperature, "q": q},
        published_ce_sr(weight, temperature, q),
        exact.ce_sr(weight, temperature, q),
    )


def bi_tempered_entry(name, t1, t2, distance):
    return Published(
        name,
        losses.bi_tempered,
        {"t1": t1, "t2": t2},
        published_bi_tempered(t1, t2),
        exact.bi_tempered(t1, t2),
        (np.inf, np.inf),
        distance=lambda c: distance,
    )


def logit_clip_entry(tau, delta, ours=losses.logit_clip_cross_entropy):
    return Published(
        f"ogc.lc_ce_tau{tau}_delta{delta}",
        ours,
        {"max_norm": tau} if tau == delta else {"tau": tau, "delta": delta},
        published_logit_clip(tau, delta),
        exact.logit_clip(tau) if tau == delta else clip_to_another_length(tau, delta),
        (np.inf, np.inf),
        # 1e-7 added to a norm of at least tau shortens the logits, of norm delta, by this much; the
        # gradient of cross-entropy has a norm of at most sqrt(2).
        distance=lambda c: 1e-7 * delta / tau * np.sqrt(2),
    )


def clip_to_another_length(tau, delta):
    return OfLogits(
        lambda z, y: exact.CE.value(np.where(exact.norm(z).real > tau, delta * z / exact.norm(z), z), y)
    )


def clip_with_a_jump(logits, labels, *, tau, delta):
    """The published loss, from ours: which has one length only."""
    beyond = jnp.sum(logits**2, axis=-1) > tau**2
    clipped = losses.logit_clip_cross_entropy(logits, labels, max_norm=delta)
    return jnp.where(beyond, clipped, losses.cross_entropy(logits, labels))


MAE, MSE, CE = exact.MAE, exact.MSE, exact.CE
# Held fixed, the factors of the normalised losses move gradients by what was measured, rounded up.
NFL, PUBLISHED_NFL = exact.normalised_focal(0.5), published_normalised_focal(0.5)

PUBLISHED = [
    *(focal_entry(f"ogc.fl_gamma{gamma}", gamma) for gamma in (0, 0.5, 2)),
    focal_entry("anl.fl_gamma0.5", 0.5),
    *(ogc_focal_entry(gamma, threshold) for gamma, threshold in ((0.5, 0.05), (0.5, 0.3), (2, 0.2))),
    *(taylor_entry(f"ogc.taylor_ce_t{n}", n, 1e-7, 1 - 1e-7) for n in (2, 6)),
    *(taylor_entry(f"dal.tce_order{n}", n, 1e-6, 1.0) for n in (2, 6, 18)),
    *(js_entry(f"ogc.js_w{w}", w, 1e-7) for w in (0.1, 0.5, 0.9)),
    *(js_entry(f"dal.js_pi{w}", w, 1e-6) for w in (0.1, 0.5)),
    sce_entry("ogc", 0.1, 1, 1e-7, 1 - 1e-7),
    sce_entry("ogc", 6, 0.1, 1e-7, 1 - 1e-7),
    sce_entry("dal", 0.1, 1, 1e-6),
    sce_entry("anl", 6, 0.1, 1e-7),
    *(
        Published(
            f"{repository}.rce",
            losses.reverse_cross_entropy,
            {},
            published_rce(low),
            exact.rce(),
            (low, np.inf),
            distance=rce_distance(1, low),
        )
        for repository, low in (("dal", 1e-6), ("anl", 1e-7))
    ),
    nce_rce_entry("ogc.nce_rce_a1_b1", 1, 1, 1e-7),
    nce_rce_entry("ogc.nce_rce_a10_b0.1", 10, 0.1, 1e-7),
    nce_rce_entry("dal.nce_rce_a10_b0.1", 10, 0.1, 1e-6),
    nce_rce_entry("anl.nce_rce", 1, 1, 1e-7),
    nce_entry("dal.nce"),
    nce_entry("anl.nce"),
    logit_clip_entry(1, 1),
    logit_clip_entry(2.5, 2.5),
    logit_clip_entry(10, 0.5, clip_with_a_jump),
    nce_nnce_entry("ogc.nce_nnce_a5_b5", 5, 5),
    nce_nnce_entry("ogc.nce_nnce_a10_b1", 10, 1),
    nce_nnce_entry("anl.anl_ce_a5_b5", 5, 5),
    nce_nnce_entry("anl.anl_ce_a10_b1", 10, 1),
    agce_entry("dal.agce_a1_q2", 1, 2),
    agce_entry("dal.agce_a1e-05_q0.5", 1e-5, 0.5),
    agce_entry("anl.agce_a6_q1.5", 6, 1.5),
    nce_agce_entry("dal.nce_agce_a6_q1.5_al1_be4", 1, 4, 6, 1.5),
    nce_agce_entry("dal.nce_agce_a1.8_q3_al10_be0.1", 10, 0.1, 1.8, 3),
    nce_agce_entry("anl.nce_agce", 1, 4, 6, 1.5),
    ce_sr_entry("dal.ce_sr_lamb8_tau0.5_p0.01", 8, 0.5, 0.01),
    ce_sr_entry("dal.ce_sr_lamb4_tau0.2_p0.1", 4, 0.2, 0.1),
    bi_tempered_entry("dal.btl_t10.7_t21.5", 0.7, 1.5, 3e-2),
    bi_tempered_entry("dal.btl_t10.8_t21.2", 0.8, 1.2, 1e-2),
    bi_tempered_entry("dal.btl_t10.3_t24", 0.3, 4.0, 2e-2),
    Published(
        "dal.pnorm_p0.01",
        losses.sparsity,
        {"q": 0.01},
        OfLogits(lambda z, y: np.sum(clamp(softmax(z), 1e-6) ** 0.01, axis=1)),
        exact.power_sum(0.01),
        (1e-6, np.inf),
        distance=lambda c: c * 1e-6**0.01,
    ),
    Published("phuber.unhinged", losses.unhinged, {}, of_p(lambda p: 1 - p), MAE),
    Published(
        "anl.mse",
        mse_over_classes,
        {},
        OfLogits(lambda z, y: MSE.value(z, y) / z.shape[1]),
        OfLogits(lambda z, y: MSE.value(z, y) / z.shape[1]),
    ),
    Published("anl.nnce_min1e-07", losses.normalized_negative_cross_entropy, {}, exact.nnce(), exact.nnce()),
    Published(
        "anl.nfl_gamma0.5", losses.normalized_focal, {"gamma": 0.5}, PUBLISHED_NFL, NFL, held_fixed=0.2
    ),
    Published(
        "anl.nnfl_gamma0.5",
        losses.normalized_negative_focal,
        {"gamma": 0.5},
        published_nnfl(0.5),
        exact.nnfl(0.5),
        held_fixed=0.2,
    ),
    Published(
        "anl.aul_a6.3_q1.5",
        losses.asymmetric_unhinged,
        {"a": 6.3, "q": 1.5},
        exact.aul(6.3, 1.5),
        exact.aul(6.3, 1.5),
    ),
    Published(
        "anl.anorm_a1.5_p0.9",
        losses.asymmetric_norm,
        {"a": 1.5, "q": 0.9},
        OfLogits(
            lambda z, y: (
                (
                    np.sum(np.where(y, 1.5 - clamp(softmax(z), 1e-5), clamp(softmax(z), 1e-5)) ** 0.9, axis=1)
                    - 0.5**0.9
                )
                / 0.9
            )
        ),
        exact.anorm(1.5, 0.9),
        (1e-5, np.inf),
        distance=lambda c: c * 1e-5**0.9 / 0.9,
    ),
    Published(
        "anl.ael_a5",
        losses.asymmetric_exponential,
        {"a": 5.0},
        of_p(lambda p: np.exp(-p / 5)),
        exact.ael(5),
        excess=lambda p: np.full_like(p, np.exp(-1 / 5)),
    ),
    Published("anl.nce_mae", nce_mae, {"w0": 1.0, "w1": 1.0}, exact.NCE.plus(MAE), exact.NCE.plus(MAE)),
    Published(
        "anl.nfl_mae",
        nfl_mae,
        {"w0": 1.0, "w1": 1.0, "gamma": 0.5},
        PUBLISHED_NFL.plus(MAE),
        NFL.plus(MAE),
        held_fixed=0.2,
    ),
    Published(
        "anl.nfl_rce",
        nfl_rce,
        {"w0": 10.0, "w1": 0.1, "gamma": 0.5},
        PUBLISHED_NFL.times(10).plus(published_rce(1e-7).times(0.1)),
        NFL.times(10).plus(exact.rce().times(0.1)),
        (1e-7, np.inf),
        distance=rce_distance(0.1, 1e-7),
        held_fixed=2.0,
    ),
    Published(
        "anl.nce_aul",
        nce_aul,
        {"w0": 1.0, "w1": 4.0, "a": 6.3, "q": 1.5},
        exact.NCE.plus(exact.aul(6.3, 1.5).times(4)),
        exact.NCE.plus(exact.aul(6.3, 1.5).times(4)),
    ),
    Published(
        "anl.nce_ael",
        nce_ael,
        {"w0": 1.0, "w1": 4.0, "a": 5.0},
        exact.NCE.plus(of_p(lambda p: 4 * np.exp(-p / 5))),
        exact.NCE.plus(exact.ael(5).times(4)),
        excess=lambda p: np.full_like(p, 4 * np.exp(-1 / 5)),
    ),
    Published(
        "anl.anl_fl_a5_b5_gamma0.5",
        nfl_nnfl,
        {"alpha": 5.0, "beta": 5.0, "gamma": 0.5},
        PUBLISHED_NFL.times(5).plus(published_nnfl(0.5).times(5)),
        NFL.times(5).plus(exact.nnfl(0.5).times(5)),
        held_fixed=2.0,
    ),
]

# What is made of parts that are compared on their own, or slow to compile, is compared with ten classes only.
MADE_OF_PARTS = (
    nce_mae,
    nfl_mae,
    nfl_rce,
    nce_aul,
    nce_ael,
    nfl_nnfl,
    clip_with_a_jump,
    losses.nce_rce,
    losses.nce_agce,
    losses.nce_nnce,
    *clipped_focals.values(),
)


def value_and_gradient(loss, logits, labels, hyper):
    values, pull_back = jax.vjp(lambda z: loss(z, labels, **hyper), logits)
    return values, pull_back(jnp.ones_like(values))[0]


# Compiling takes longer than running.
compiled = jax.jit(
    value_and_gradient, static_argnames="loss", compiler_options={"xla_backend_optimization_level": 0}
)


class Rows(NamedTuple):
    """The rows of a group: compares values, and gradients either in full or along a direction."""

    group: str

    def logits_and_labels(self):
        return ROWS[f"{self.group}/logits"].astype(np.float64), ROWS[f"{self.group}/labels"]

    def directions(self):
        return ROWS.get(f"{self.group}/u")

    def stored(self, case):
        key = f"{self.group}/{case.name}"
        if self.directions() is None:
            return GOLDEN[key + "/value"], GOLDEN[key + "/grad"]
        return GOLDEN[key + "/value"], GOLDEN[key + "/gradproj"][:, None]

    def formula(self, formula):
        if self.directions() is None:
            return formula.evaluate(*self.logits_and_labels())
        value, slope = formula.along(*self.logits_and_labels(), self.directions())
        return value, slope[:, None]

    def ours(self, case):
        hyper = {name: np.asarray(value, np.float64) for name, value in case.hyper.items()}
        value, gradient = (np.asarray(x) for x in compiled(case.ours, *self.logits_and_labels(), hyper))
        if self.directions() is None:
            return value, gradient
        return value, np.sum(gradient * self.directions(), axis=1, keepdims=True)

    def within_limits(self, case):
        """Rows where neither limit is touched by the probabilities that the published code clamps."""
        logits, labels = self.logits_and_labels()
        p = (
            np.exp(exact.log_probability(logits, labels)[0])[:, None]
            if case.of_label_only
            else softmax(logits)
        )
        low, high = case.limits
        return np.flatnonzero(np.all((p > low) & (p < high), axis=1) | (case.limits == (0.0, 1.0)))

    def assert_close(self, case, got, expected, rows=slice(None)):
        for name, a, b in zip(("value", "gradient"), got, expected, strict=True):
            assert_close(case, self.group, name, a, b, tolerance=1e-10, rows=rows)


@pytest.mark.parametrize("case", PUBLISHED, ids=[case.name for case in PUBLISHED])
def test_the_published_formula_rebuilt(case):
    for rows in map(Rows, GROUPS):
        rows.assert_close(case, rows.formula(case.published), rows.stored(case))


# Entries with the same function next to each other, since compiling it is what takes time.
BY_FUNCTION = sorted(PUBLISHED, key=lambda case: [c.ours for c in PUBLISHED].index(case.ours))


@pytest.mark.parametrize("case", BY_FUNCTION, ids=[case.name for case in BY_FUNCTION])
@pytest.mark.parametrize(
    "groups", [("c10",), pytest.param(("c2", "c100", "c1000"), marks=pytest.mark.slow)], ids="-".join
)
@pytest.mark.usefixtures("x64")
def test_ours_in_float64(case, groups):
    for rows in map(Rows, groups):
        if case.ours in MADE_OF_PARTS and rows.group != "c10":
            continue
        value, gradient = rows.ours(case)
        stored_value, stored_gradient = rows.stored(case)
        rows.assert_close(case, (value, gradient), rows.formula(case.exact))

        logits, labels = rows.logits_and_labels()
        with_excess = value + case.excess(np.exp(exact.log_probability(logits, labels)[0]))
        same_gradient = stored_gradient if case.held_fixed == 0 else gradient
        same = rows.within_limits(case)
        rows.assert_close(case, (with_excess, gradient), (stored_value, same_gradient), rows=same)
        distance = np.max(np.abs(with_excess - stored_value))
        assert distance <= case.distance(logits.shape[1]) + 1e-10, distance
        if case.held_fixed and rows.directions() is None:
            assert np.max(np.abs(gradient - stored_gradient)) <= case.held_fixed


def test_every_stored_loss_is_compared():
    stored = {key.split("/")[1] for key in GOLDEN}
    assert stored == {case.name for case in PUBLISHED}
    assert len(PUBLISHED) == len(stored)
