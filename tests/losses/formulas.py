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
