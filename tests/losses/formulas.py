"""Losses that depend on p alone, a second time and in NumPy: what the library is compared with."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Formula(NamedTuple):
    """A loss and its derivative as functions of log p, to stay exact at both ends of p."""

    value: Callable
    derivative: Callable

    def evaluate(self, logits, labels):
        """Value and gradient in float64 for logits [B, C] and labels [B]."""
        log_p, log_p_gradient = log_probability(logits, labels)
        return self.value(log_p), self.derivative(log_p)[:, None] * log_p_gradient

    def values(self, logits, labels):
        return self.evaluate(logits, labels)[0]


def log_probability(logits, labels):
    """log p of the label and its gradient, one-hot minus softmax, precise for p near 0 and near 1."""
    logits = np.asarray(logits, np.float64)
    is_label = np.arange(logits.shape[1]) == np.asarray(labels)[:, None]
    others = np.logaddexp.reduce(np.where(is_label, -np.inf, logits), axis=1)
    log_odds = np.sum(np.where(is_label, logits, 0), axis=1) - others
    log_p, log_complement = -np.logaddexp(0, -log_odds), -np.logaddexp(0, log_odds)
    softmax_of_others = np.exp(np.where(is_label, 0, logits - others[:, None]) + log_complement[:, None])
    return log_p, np.where(is_label, np.exp(log_complement)[:, None], -softmax_of_others)


CROSS_ENTROPY = Formula(lambda log_p: -log_p, lambda log_p: np.full_like(log_p, -1))
BRIER = Formula(lambda log_p: np.expm1(log_p) ** 2, lambda log_p: 2 * np.expm1(log_p) * np.exp(log_p))


def gce(q):
    return Formula(lambda log_p: -np.expm1(q * log_p) / q, lambda log_p: -np.exp(q * log_p))


MEAN_ABSOLUTE_ERROR = gce(1)


def clipped(base, tau, p_tau):
    def value(log_p):
        tangent = base.value(np.log(p_tau)) + tau * (p_tau - np.exp(log_p))
        return np.where(np.exp(log_p) > p_tau, base.value(log_p), tangent)

    def derivative(log_p):
        return np.where(np.exp(log_p) > p_tau, base.derivative(log_p), -tau * np.exp(log_p))

    return Formula(value, derivative)


def phuber_ce(tau):
    return clipped(CROSS_ENTROPY, tau, 1 / tau)


def phuber_gce(q, tau):
    return clipped(gce(q), tau, tau ** (1 / (q - 1)))


def focal(gamma):
    def value(log_p):
        return -((-np.expm1(log_p)) ** gamma) * log_p

    def derivative(log_p):
        complement = -np.expm1(log_p)
        return gamma * complement ** (gamma - 1) * np.exp(log_p) * log_p - complement**gamma

    return Formula(value, derivative)


def bounded_ce(beta):
    def value(log_p):
        return -np.logaddexp(np.log(beta), np.log1p(-beta) + log_p)

    def exact_near_one(log_p):
        return np.where(log_p > -0.5, -np.log1p((1 - beta) * np.expm1(log_p)), value(log_p))

    return Formula(exact_near_one, lambda log_p: -np.exp(np.log1p(-beta) + log_p + value(log_p)))


class Biased(NamedTuple):
    """A formula with `epsilon` added to the label's logit."""

    base: Formula
    epsilon: float

    def evaluate(self, logits, labels):
        is_label = np.arange(np.shape(logits)[1]) == np.asarray(labels)[:, None]
        return self.base.evaluate(np.asarray(logits, np.float64) + self.epsilon * is_label, labels)

    def values(self, logits, labels):
        return self.evaluate(logits, labels)[0]


class Relative(NamedTuple):
    """(1 - p^q) / (q P^q) with P, the largest probability, held constant for the gradient."""

    q: float

    def evaluate(self, logits, labels):
        value, gradient = gce(self.q).evaluate(logits, labels)
        classes = np.arange(np.shape(logits)[1])
        top = np.max([log_probability(logits, np.full(len(logits), k))[0] for k in classes], axis=0)
        scale = np.exp(-self.q * top)
        return value * scale, gradient * scale[:, None]

    def values(self, logits, labels):
        return self.evaluate(logits, labels)[0]


class DynamicsAware(NamedTuple):
    """(1 - p^q) / q, and the entropy times bootstrap_weight / (q log C)."""

    q: float
    bootstrap_weight: float
    # Added to p within the logarithm by the published code.
    added: float = 0.0

    def evaluate(self, logits, labels):
        value, gradient = gce(self.q).evaluate(logits, labels)
        entropy, entropy_gradient = shannon(logits, self.added)
        weight = self.bootstrap_weight / (self.q * np.log(np.shape(logits)[1]))
        return value + weight * entropy, gradient + weight * entropy_gradient

    def values(self, logits, labels):
        return self.evaluate(logits, labels)[0]


def shannon(logits, added=0.0):
    """-sum_k p_k log(p_k + added) and its gradient."""
    logits = np.asarray(logits, np.float64)
    top = np.argmax(logits, axis=1)
    log_top, _ = log_probability(logits, top)
    log_p = logits - logits[np.arange(len(top)), top][:, None] + log_top[:, None]
    p = np.exp(log_p)
    log_p = np.where(p > 0, log_p if added == 0 else np.log(p + added), 0)
    entropy = -np.sum(p * log_p, axis=1)
    if added == 0:
        return entropy, -p * (log_p + entropy[:, None])
    slope = -log_p - p / (p + added)
    return entropy, p * (slope - np.sum(p * slope, axis=1, keepdims=True))


# --- losses of all classes, as analytic functions of the logits ---------------------------------------------


class OfLogits(NamedTuple):
    """A loss as an analytic function of logits [B, C] and the mask of the label.

    Its derivatives are read off the imaginary part at a complex step of 1e-30, exact to rounding.
    """

    value: Callable

    def evaluate(self, logits, labels):
        """Value and gradient in float64 for logits [B, C] and labels [B]."""
        directions = np.eye(np.shape(logits)[1])
        gradient = [self.along(logits, labels, direction)[1] for direction in directions]
        return self.along(logits, labels, directions[0])[0], np.stack(gradient, axis=1)

    def values(self, logits, labels):
        return self.along(logits, labels, np.zeros(np.shape(logits)[1]))[0]

    def along(self, logits, labels, direction):
        """Value, and derivative in a direction: [C], or one for each example."""
        z = np.asarray(logits, np.float64) + 1e-30j * np.asarray(direction, np.float64)
        is_label = np.arange(z.shape[1]) == np.asarray(labels)[:, None]
        with np.errstate(all="ignore"):
            value = self.value(z, is_label)
        return value.real, value.imag / 1e-30

    def times(self, weight):
        return OfLogits(lambda z, y: weight * self.value(z, y))

    def plus(self, other):
        return OfLogits(lambda z, y: self.value(z, y) + other.value(z, y))


def log_softmax(z):
    shifted = z - np.max(z.real, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def softmax(z):
    return np.exp(log_softmax(z))


def softmax_complement(z):
    """1 - p for every class, as the sum over the others."""
    e = np.exp(z - np.max(z.real, axis=1, keepdims=True))
    return (e @ (1 - np.eye(z.shape[1]))) / np.sum(e, axis=1, keepdims=True)


def label(x, is_label):
    return np.sum(np.where(is_label, x, 0), axis=1)


def others(x, is_label):
    return np.sum(np.where(is_label, 0, x), axis=1)


def of_p(function):
    """A loss of p, the label's probability, alone."""
    return OfLogits(lambda z, y: function(label(softmax(z), y)))


CE = OfLogits(lambda z, y: -label(log_softmax(z), y))
MAE = OfLogits(lambda z, y: label(softmax_complement(z), y))
MSE = OfLogits(lambda z, y: np.sum((softmax(z) - y) ** 2, axis=1))


def taylor(order):
    return OfLogits(lambda z, y: sum(MAE.value(z, y) ** i / i for i in range(1, order + 1)))


def rce(floor=1e-4):
    return MAE.times(-np.log(floor))


def sce(alpha, beta):
    return CE.times(alpha).plus(rce().times(beta))


def js(w):
    def value(z, y):
        p, log_p = softmax(z), log_softmax(z)
        log_m = np.where(y, np.log(w + (1 - w) * p), np.log(1 - w) + log_p)
        terms = np.where(p == 0, 0, p * (log_p - log_m))
        return (-w * label(log_m, y) + (1 - w) * np.sum(terms, axis=1)) / (-(1 - w) * np.log(1 - w))

    return OfLogits(value)


def agce(a, q):
    return of_p(lambda p: ((a + 1) ** q - (a + p) ** q) / q)


def aul(a, q):
    return of_p(lambda p: ((a - p) ** q - (a - 1) ** q) / q)


def ael(a):
    return of_p(lambda p: np.exp(-p / a) - np.exp(-1 / a))


def anorm(a, q):
    return aul(a, q).plus(OfLogits(lambda z, y: others(np.exp(q * log_softmax(z)), y) / q))


NCE = OfLogits(lambda z, y: label(log_softmax(z), y) / np.sum(log_softmax(z), axis=1))


def focal_of_classes(z, gamma):
    return -(softmax_complement(z) ** gamma) * log_softmax(z)


def normalised_focal(gamma):
    def value(z, y):
        losses = focal_of_classes(z, gamma)
        return label(losses, y) / np.sum(losses, axis=1)

    return OfLogits(value)


def share_of_others(gains, y):
    positive = np.where(gains.real > 0, gains, 0)
    return others(positive, y) / np.sum(positive, axis=1)


def nnce(floor=1e-7):
    return OfLogits(lambda z, y: share_of_others(log_softmax(z) - np.log(floor), y))


def nnfl(gamma, floor=1e-7):
    largest = -((1 - floor) ** gamma) * np.log(floor)
    return OfLogits(lambda z, y: share_of_others(largest - focal_of_classes(z, gamma), y))


def power_sum(q):
    return OfLogits(lambda z, y: np.sum(np.exp(q * log_softmax(z)), axis=1))


def norm(z):
    length = np.sqrt(np.sum(np.where(np.isneginf(z.real), 0, z) ** 2, axis=1, keepdims=True))
    return np.where(length.real < 1e-12, 1e-12, length)


def ce_sr(weight, temperature, q):
    total = CE.plus(power_sum(q).times(weight))
    return OfLogits(lambda z, y: total.value(z / norm(z) / temperature, y))


def logit_clip(tau):
    return OfLogits(lambda z, y: CE.value(np.where(norm(z).real > tau, tau * z / norm(z), z), y))


def eps_softmax(m):
    def value(z, y):
        is_top = z.real == np.max(z.real, axis=1, keepdims=True)
        p = np.where(is_top, (1 - softmax_complement(z) / (1 + m)), softmax(z) / (1 + m))
        return -np.log(label(p, y))

    return OfLogits(value)


def bi_tempered(t1, t2):
    def exp_t(x, t):
        return np.exp(x) if t == 1 else (1 + (1 - t) * x) ** (1 / (1 - t))

    def log_t(x, t):
        return np.log(x) if t == 1 else (x ** (1 - t) - 1) / (1 - t)

    def value(z, y):
        # Bisection for real logits, then one Newton step that carries the imaginary parts.
        top = np.max(z.real, axis=1, keepdims=True)
        low, high = top, top + np.maximum(-log_t(1 / z.shape[1], t2), 0)
        for _ in range(200):
            middle = (low + high) / 2
            above = np.sum(exp_t(z.real - middle, t2), axis=1, keepdims=True) > 1
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        p = exp_t(z - middle, t2)
        step = (np.sum(p, axis=1, keepdims=True) - 1) / np.sum(p**t2, axis=1, keepdims=True)
        p = exp_t(z - middle - step, t2)
        return -log_t(label(p, y), t1) - (1 - np.sum(p ** (2 - t1), axis=1)) / (2 - t1)

    return OfLogits(value)
