"""Clipped losses: the slope with respect to p, the probability of the given label, is limited to tau."""

import functools
from collections.abc import Callable

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from noisy_optax._checks import check_range, is_concrete
from noisy_optax.losses import _label, _of_probability
from noisy_optax.losses._cross_entropy import cross_entropy_of_log_odds
from noisy_optax.losses._generalized_cross_entropy import generalized_cross_entropy_of_log_odds
from noisy_optax.losses._properties import stated
from noisy_optax.robust_loss import Loss


def tangent_below(
    function: Callable[[Float[Array, "..."]], Float[Array, "..."]],
    log_odds: Float[Array, "..."],
    threshold: Float[Array, ""],
    tau: Float[Array, ""],
) -> Float[Array, "..."]:
    """`function` of the log-odds above `threshold` (log-odds too), below it a line of slope -tau in p."""
    clipped = log_odds <= threshold
    # p_tau - p, as a difference of the smaller of p and 1 - p.
    p_difference = jnp.where(
        threshold <= 0,
        jnp.exp(_label.log_probability(threshold)) - jnp.exp(_label.log_probability(log_odds)),
        jnp.exp(_label.log_complement(log_odds)) - jnp.exp(_label.log_complement(threshold)),
    )
    tangent = function(threshold) + tau * p_difference
    return jnp.where(clipped, tangent, function(jnp.where(clipped, threshold, log_odds)))


def clip_slope(base: Loss, *, tau: ArrayLike) -> Loss:
    r"""Clips the slope of a loss with respect to p at tau.

    Let $g(p) = |\ell'(p)|$, and let $p_\tau$ be the probability with $g(p_\tau) = \tau$. Then

    $$\ell_\tau(p) = \begin{cases} \ell(p) & p > p_\tau \\
      \ell(p_\tau) + \tau\,(p_\tau - p) & p \le p_\tau \end{cases}$$

    The slope is $|\ell_\tau'| = \min(g, \tau)$, and the loss is bounded. $p_\tau$ is found by bisection: once
    if tau is a number, in every step if it is traced. If $g$ exceeds tau everywhere, the loss is clipped
    everywhere. If $g$ never reaches tau for p >= 1e-7 (mean absolute error with tau >= 1), nothing changes.

    Args:
      base: a loss that is a decreasing, convex function of p alone, from this library or made by
        `of_probability`; set its hyper-parameters, to numbers, with `functools.partial`.
      tau: largest slope, > 0.

    Returns:
      A `Loss`.

    Raises:
      ValueError: tau is out of range; when the loss is first called, base is not decreasing, convex or a
        function of p alone.

    References:
      Menon, Rawat, Reddi, Kumar, Can Gradient Clipping Mitigate Label Noise?, ICLR 2020, section 4.

    >>> import functools, jax.numpy as jnp, noisy_optax as nox
    >>> base = functools.partial(nox.losses.generalized_cross_entropy, q=0.5)
    >>> loss = nox.losses.clip_slope(base, tau=2.0) # p_tau = 1/4, so at p = 0: 1 + 2 * 1/4
    >>> loss(jnp.array([[-jnp.inf, 0.0]]), jnp.array([0]))
    Array([1.5], dtype=float32)
    """
    check_range("tau", tau, above=0.0)
    if jnp.ndim(tau) != 0:
        raise ValueError(f"tau must be a scalar, got shape {jnp.shape(tau)}; jax.vmap gives several losses")
    solve = functools.partial(_of_probability.slope_to_log_odds, base)
    check = _of_probability.once(lambda: _of_probability.check_base(base))
    # A number is solved for once, even if the loss is first called while something else is being traced.
    solved = _of_probability.once(lambda: _of_probability.evaluate_now(solve, tau))

    def loss(logits, labels, *, axis=-1, where=None):
        check()
        threshold = jnp.asarray(solved() if is_concrete(tau) else solve(tau))
        log_odds = _label.label_log_odds(logits, labels, axis=axis, where=where)
        clipped = tangent_below(
            _of_probability.of_log_odds(base),
            log_odds,
            threshold.astype(log_odds.dtype),
            jnp.asarray(tau, log_odds.dtype),
        )
        return _label.finish(clipped, where)

    return loss


def phuber_cross_entropy_of_log_odds(log_odds: Float[Array, "..."], *, tau: ArrayLike) -> Float[Array, "..."]:
    """-log p above 1 / tau, the tangent below."""
    tau = jnp.asarray(tau, log_odds.dtype)
    return tangent_below(cross_entropy_of_log_odds, log_odds, -jnp.log(tau - 1), tau)


@stated(bounded=True, symmetric=False, of_log_odds=phuber_cross_entropy_of_log_odds)
def phuber_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    tau: ArrayLike = 10.0,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Partially Huberised cross-entropy: cross-entropy with its slope in p clipped at tau.

    $$\ell = \begin{cases} -\log p & p > 1/\tau \\ \log\tau + 1 - \tau p & p \le 1/\tau \end{cases}$$

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      tau: > 1; the paper uses 2 for MNIST, 2 or 10 for CIFAR-10 and 10 or 50 for CIFAR-100.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1 + log tau], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or tau is out of range.

    References:
      Menon, Rawat, Reddi, Kumar, Can Gradient Clipping Mitigate Label Noise?, ICLR 2020, section 4.2.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.losses.phuber_cross_entropy(jnp.array([[0.0, 0.0], [-jnp.inf, 0.0]]), jnp.array([0, 0]), tau=4.0)
    Array([0.6931472, 2.3862944], dtype=float32)
    """
    check_range("tau", tau, above=1.0)
    return _label.of_label(phuber_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, tau=tau)


def phuber_generalized_cross_entropy_of_log_odds(
    log_odds: Float[Array, "..."], *, q: ArrayLike, tau: ArrayLike
) -> Float[Array, "..."]:
    """(1 - p^q) / q above tau^(1 / (q - 1)), the tangent below."""
    q, tau = jnp.asarray(q, log_odds.dtype), jnp.asarray(tau, log_odds.dtype)
    base = functools.partial(generalized_cross_entropy_of_log_odds, q=q)
    return tangent_below(base, log_odds, _label.log_odds_of(jnp.log(tau) / (q - 1)), tau)


@stated(bounded=True, symmetric=False, of_log_odds=phuber_generalized_cross_entropy_of_log_odds)
def phuber_generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: ArrayLike = 0.7,
    tau: ArrayLike = 10.0,
    axis: int = -1,
    where: ArrayLike | None = None,
) -> Float[Array, "..."]:
    r"""Partially Huberised generalized cross-entropy: its slope in p clipped at tau.

    $$\ell = \begin{cases} (1 - p^q)/q & p > p_\tau \\
      (1 - p_\tau^q)/q + \tau\,(p_\tau - p) & p \le p_\tau \end{cases}
      \qquad p_\tau = \tau^{1/(q-1)}$$

    Args:
      logits: floating, `[..., C]` with the class axis at `axis`.
      labels: integer class indices in `[0, C)`, `[...]`; others give NaN in value and gradient.
      q: in (0, 1).
      tau: > 1.
      axis: the class axis of `logits`.
      where: boolean, `[...]`; examples that are False give 0 with zero gradient.

    Returns:
      Losses in [0, 1/q], float32 or wider, `[...]`.

    Raises:
      TypeError: labels are not integers, or logits not floating.
      ValueError: shapes do not match, or q or tau is out of range.

    References:
      Menon, Rawat, Reddi, Kumar, Can Gradient Clipping Mitigate Label Noise?, ICLR 2020, section 4.2.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> loss = nox.losses.phuber_generalized_cross_entropy
    >>> loss(jnp.array([[-jnp.inf, 0.0]]), jnp.array([0]), q=0.5, tau=2.0)
    Array([1.5], dtype=float32)
    """
    check_range("q", q, above=0.0, below=1.0)
    check_range("tau", tau, above=1.0)
    return _label.of_label(
        phuber_generalized_cross_entropy_of_log_odds, logits, labels, axis=axis, where=where, q=q, tau=tau
    )
