"""Label-noise models with explicit keys. They return the noisy labels and the noise that was drawn."""

import functools
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, PRNGKeyArray
from numpy.typing import NDArray

from noisy_optax._checks import check_range
from noisy_optax.losses._label import at_least_32_bits

# The classes of CIFAR-100's twenty superclasses, from aquatic mammals to the second kind of vehicles.
_CIFAR100_SUPERCLASSES = (
    (4, 30, 55, 72, 95),
    (1, 32, 67, 73, 91),
    (54, 62, 70, 82, 92),
    (9, 10, 16, 28, 61),
    (0, 51, 53, 57, 83),
    (22, 39, 40, 86, 87),
    (5, 20, 25, 84, 94),
    (6, 7, 14, 18, 24),
    (3, 42, 43, 88, 97),
    (12, 17, 37, 68, 76),
    (23, 33, 49, 60, 71),
    (15, 19, 21, 31, 38),
    (34, 63, 64, 66, 75),
    (26, 45, 77, 79, 99),
    (2, 11, 35, 46, 98),
    (27, 29, 44, 78, 93),
    (36, 50, 65, 74, 80),
    (47, 52, 56, 59, 96),
    (8, 13, 48, 58, 90),
    (41, 69, 81, 85, 89),
)

CIFAR10_MAP = (0, 1, 0, 5, 7, 3, 6, 7, 8, 1)
"""For `asymmetric`: truck to automobile, bird to airplane, deer to horse, cat to dog and back; the other five
stay."""
CIFAR100_SUPERCLASS_MAP = tuple(
    following
    for _, following in sorted(
        (members[i], members[(i + 1) % 5]) for members in _CIFAR100_SUPERCLASSES for i in range(5)
    )
)
"""For `asymmetric`: to the next class of the superclass, in a circle."""
CIFAR100_NEXT_MAP = (*range(1, 100), 0)
"""For `asymmetric`: to the next of all classes, in a circle."""


class NoisyLabels(NamedTuple):
    """Labels after corruption, and the noise that was realised.

    Attributes:
      labels: integer class indices, `[n]`, of the clean labels' type if that has 32 bits, int32 if fewer.
      rate: float32 scalar, the fraction of labels that changed.
      matrix: float32, `[C, C]`; row i is the distribution of the new label among examples of class i
        (a row of zeros if there are none).
    """

    labels: Integer[Array, "n"]
    rate: Float[Array, ""]
    matrix: Float[Array, "classes classes"]


def realised(clean: ArrayLike, noisy: ArrayLike, num_classes: int) -> NoisyLabels:
    """The noise rate and the transition matrix between `clean` and `noisy` labels.

    Args:
      clean: integer class indices, `[n]`.
      noisy: integer class indices, `[n]`.
      num_classes: C, at least 2.

    Raises:
      TypeError: labels are not integers.
      ValueError: labels are out of range, or of different or no length.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> nox.noise.realised(jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 1, 1]), num_classes=2).matrix
    Array([[0.5, 0.5],
           [0. , 1. ]], dtype=float32)
    """
    num_classes = _check_classes(num_classes)
    clean, noisy = _check_labels(clean, num_classes), _check_labels(noisy, num_classes)
    if clean.shape != noisy.shape:
        raise ValueError(f"expected as many clean labels as noisy ones, got {clean.size} and {noisy.size}")
    return _realised(clean, noisy, num_classes)


@functools.partial(jax.jit, static_argnums=2)
def _realised(clean: Integer[Array, "n"], noisy: Integer[Array, "n"], num_classes: int) -> NoisyLabels:
    counts = jnp.zeros((num_classes, num_classes), jnp.float32).at[clean, noisy].add(1.0)
    matrix = counts / jnp.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return NoisyLabels(noisy, jnp.mean((clean != noisy).astype(jnp.float32)), matrix)


def symmetric(
    key: PRNGKeyArray, labels: ArrayLike, rate: float, *, num_classes: int, exact: bool = True
) -> NoisyLabels:
    """Symmetric noise: a label changes with probability `rate`, to any *other* class with equal chance.

    Some papers redraw from all classes, including the true one. This is `uniform`, with a share of wrong
    labels of `rate * (C - 1) / C`.

    Args:
      key: a JAX random key.
      labels: integer class indices, `[n]`.
      rate: fraction of labels to change, in [0, 1].
      num_classes: C, at least 2.
      exact: change exactly `round(rate * n)` labels (True), or each one independently (False).

    Raises:
      TypeError: labels are not integers.
      ValueError: labels are not one-dimensional or out of range, or rate or num_classes is out of range.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> noisy = nox.noise.symmetric(jax.random.key(0), jnp.zeros(10, int), 0.4, num_classes=3)
    >>> float(noisy.rate)
    0.4...
    """
    num_classes = _check_classes(num_classes)
    return _shift_some(key, labels, rate, (1, num_classes), num_classes, exact)


def uniform(
    key: PRNGKeyArray, labels: ArrayLike, rate: float, *, num_classes: int, exact: bool = True
) -> NoisyLabels:
    """Uniform noise: a share `rate` of the labels is redrawn from *all* classes, the true one included.

    Args:
      key: a JAX random key.
      labels: integer class indices, `[n]`.
      rate: fraction of labels to redraw, in [0, 1]; `rate * (C - 1) / C` of them come out wrong on average.
      num_classes: C, at least 2.
      exact: redraw exactly `round(rate * n)` labels (True), or each one independently (False).

    Raises:
      TypeError: labels are not integers.
      ValueError: labels are not one-dimensional or out of range, or rate or num_classes is out of range.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> noisy = nox.noise.uniform(jax.random.key(0), jnp.zeros(1000, int), 1.0, num_classes=4)
    >>> noisy.matrix[0].round(1)
    Array([0.3, 0.2, 0.2, 0.2], dtype=float32)
    """
    num_classes = _check_classes(num_classes)
    return _shift_some(key, labels, rate, (0, num_classes), num_classes, exact)


def pair(
    key: PRNGKeyArray, labels: ArrayLike, rate: float, *, num_classes: int, exact: bool = True
) -> NoisyLabels:
    """Pair noise: a label y changes with probability `rate`, always to the next class, (y + 1) mod C.

    Args:
      key: a JAX random key.
      labels: integer class indices, `[n]`.
      rate: fraction of labels to change, in [0, 1]; above 0.5, the true class is no longer the majority.
      num_classes: C, at least 2.
      exact: change exactly `round(rate * n)` labels (True), or each one independently (False).

    Raises:
      TypeError: labels are not integers.
      ValueError: labels are not one-dimensional or out of range, or rate or num_classes is out of range.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> nox.noise.pair(jax.random.key(0), jnp.array([0, 1, 2]), 1.0, num_classes=3).labels
    Array([1, 2, 0], dtype=int32)
    """
    num_classes = _check_classes(num_classes)
    return _shift_some(key, labels, rate, (1, 2), num_classes, exact)


def asymmetric(
    key: PRNGKeyArray,
    labels: ArrayLike,
    rate: float,
    class_map: Sequence[int] | NDArray[np.integer],
    *,
    exact: bool = True,
) -> NoisyLabels:
    """Asymmetric noise: a label y changes with probability `rate`, always to the class `class_map[y]`.

    As in the papers, the rate refers to the classes that change at all: `CIFAR10_MAP` at 0.4 makes one label
    in five wrong. `CIFAR100_SUPERCLASS_MAP` and `CIFAR100_NEXT_MAP` are two different models that papers call
    asymmetric noise on CIFAR-100. Both change every class.

    Args:
      key: a JAX random key.
      labels: integer class indices, `[n]`.
      rate: fraction of labels to change, in [0, 1], of each class that is not its own `class_map[y]`.
      class_map: integer class indices, `[C]`, C at least 2.
      exact: change `rate * m` of a class's m labels, rounded to one of the two nearest integers (True), or
        each label independently (False).

    Raises:
      TypeError: labels or class_map are not integers.
      ValueError: labels or class_map are not one-dimensional or out of range, or rate is out of range.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> cat, frog = 3, 6
    >>> labels = jnp.array([cat, cat, frog, frog])
    >>> noisy = nox.noise.asymmetric(jax.random.key(0), labels, 0.5, nox.noise.CIFAR10_MAP)
    >>> sorted(noisy.labels.tolist()), float(noisy.rate) # one cat is now a dog
    ([3, 5, 6, 6], 0.25)
    """
    check_range("rate", rate, at_least=0.0, at_most=1.0)
    to = _check_class_map(class_map)
    classes = np.eye(len(to))
    return transition(key, labels, (1 - rate) * classes + rate * classes[to], exact=exact)


def instance_dependent(
    key: PRNGKeyArray,
    features: ArrayLike,
    labels: ArrayLike,
    rate: float,
    *,
    num_classes: int,
    spread: float = 0.1,
    exact: bool = True,
) -> NoisyLabels:
    r"""Instance-dependent noise: the new label depends on the features of the example.

    An example x of class y has a flip rate from $N(\text{rate}, \text{spread}^2)$ truncated to [0, 1]. If it
    flips, the wrong class is drawn from $\mathrm{softmax}(x^\top W_y)$ without y, where the projections
    $W_y$, `[D, C]`, one per class, are standard normal. So similar examples get similar wrong labels,
    the more reliably the larger the norm of x.

    The flip rates do not depend on x. Therefore, with exact counts every example is equally likely to change.

    Args:
      key: a JAX random key; also draws the projections.
      features: floating, `[n, ...]`, flattened to `[n, D]`; images scaled to [0, 1] in the published code.
      labels: integer class indices, `[n]`.
      rate: fraction of labels to change, in [0, 1].
      num_classes: C, at least 2.
      spread: > 0, the standard deviation of the flip rates before truncation; 0.1 as published.
      exact: change exactly `round(rate * n)` labels (True), or each one independently by its flip rate
        (False), as published. Because of the truncation, the mean of the flip rates is above a `rate` near 0
        (0.08 for 0) and below a `rate` near 1.

    Raises:
      TypeError: labels are not integers, or features not floating.
      ValueError: labels are not one-dimensional or out of range, features are not finite or not as many, or
        rate, spread or num_classes is out of range.

    References:
      Xia, Liu, Han, Wang, Gong, Liu, Niu, Tao, Sugiyama, Part-dependent Label Noise: Towards
      Instance-dependent Label Noise, NeurIPS 2020, arXiv 2006.07836, algorithm 2.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> features, labels = jnp.ones((100, 8)), jnp.zeros(100, int)
    >>> noisy = nox.noise.instance_dependent(jax.random.key(0), features, labels, 0.4, num_classes=3)
    >>> round(float(noisy.rate), 3)
    0.4
    """
    check_range("rate", rate, at_least=0.0, at_most=1.0)
    check_range("spread", spread, above=0.0)
    num_classes = _check_classes(num_classes)
    labels = _check_labels(labels, num_classes)
    features = _check_features(features, labels.shape[0])
    amount = round(float(rate) * labels.shape[0]) if exact else 0
    # Arrays, so that an integer or another NumPy type does not compile anew.
    normal = jnp.asarray(rate, dtype=float), jnp.asarray(spread, dtype=float)
    return _instance_dependent_jit(key, features, labels, normal, amount, num_classes, exact)


def transition(key: PRNGKeyArray, labels: ArrayLike, matrix: ArrayLike, *, exact: bool = True) -> NoisyLabels:
    """Noise by a transition matrix: a label i becomes j with probability `matrix[i, j]`.

    Args:
      key: a JAX random key.
      labels: integer class indices, `[n]`.
      matrix: `[C, C]`, non-negative, each row summing to 1.
      exact: give label j to `matrix[i, j]` of class i's examples up to one example (True), or draw each
        label independently (False).

    Raises:
      TypeError: labels are not integers.
      ValueError: labels are not one-dimensional or out of range, or matrix is not a transition matrix.

    >>> import jax, jax.numpy as jnp, noisy_optax as nox
    >>> matrix = jnp.array([[0.5, 0.5], [0.0, 1.0]])
    >>> nox.noise.transition(jax.random.key(0), jnp.array([0, 0, 0, 0, 1]), matrix).matrix
    Array([[0.5, 0.5],
           [0. , 1. ]], dtype=float32)
    """
    matrix = _check_matrix(matrix)
    labels = _check_labels(labels, _check_classes(matrix.shape[0]))
    return _move_by_matrix(key, labels, matrix, exact)


def _shift_some(
    key: PRNGKeyArray,
    labels: ArrayLike,
    rate: float,
    shifts: tuple[int, int],
    num_classes: int,
    exact: bool,
) -> NoisyLabels:
    """Adds a shift drawn from `range(*shifts)`, modulo C, to a share `rate` of the labels."""
    check_range("rate", rate, at_least=0.0, at_most=1.0)
    labels = _check_labels(labels, num_classes)
    # Counted here, not in float32.
    amount = round(float(rate) * labels.shape[0]) if exact else rate
    return _shift_some_jit(key, labels, amount, shifts, num_classes, exact)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _shift_some_jit(key, labels, amount, shifts, num_classes, exact):
    choice_key, shift_key = jax.random.split(key)
    n = labels.shape[0]
    if exact:
        chosen = jax.random.permutation(choice_key, n) < amount
    else:
        chosen = jax.random.uniform(choice_key, (n,)) < amount
    low, high = shifts
    shift = jax.random.randint(shift_key, labels.shape, low, high, labels.dtype)
    return _realised(labels, jnp.where(chosen, (labels + shift) % num_classes, labels), num_classes)


@functools.partial(jax.jit, static_argnums=(5, 6))
def _instance_dependent_jit(key, features, labels, normal, amount, num_classes, exact):
    flip_key, choice_key, projection_key, class_key = jax.random.split(key, 4)
    n = labels.shape[0]
    if exact:
        chosen = jax.random.permutation(choice_key, n) < amount
    else:
        rate, spread = normal
        ends = (0.0 - rate) / spread, (1.0 - rate) / spread
        flip_rate = rate + spread * jax.random.truncated_normal(flip_key, *ends, (n,))
        chosen = jax.random.uniform(choice_key, (n,)) < flip_rate
    scores = _project(projection_key, features, labels, num_classes)
    classes = jnp.arange(num_classes, dtype=labels.dtype)
    others = jnp.where(labels[:, None] == classes[None, :], -jnp.inf, scores)
    wrong = jax.random.categorical(class_key, others).astype(labels.dtype)
    return _realised(labels, jnp.where(chosen, wrong, labels), num_classes)


def _project(
    key: PRNGKeyArray, features: Float[Array, "n features"], labels: Integer[Array, "n"], num_classes: int
) -> Float[Array, "n classes"]:
    """x @ W[y] per example, one class after the other: W gathered by label would be `[n, D, C]`."""

    def of_class(scores, class_and_key):
        label, class_key = class_and_key
        projection = jax.random.normal(class_key, (features.shape[1], num_classes), features.dtype)
        return jnp.where((labels == label)[:, None], features @ projection, scores), None

    classes = jnp.arange(num_classes, dtype=labels.dtype)
    scores = jnp.zeros((features.shape[0], num_classes), features.dtype)
    return jax.lax.scan(of_class, scores, (classes, jax.random.split(key, num_classes)))[0]


@functools.partial(jax.jit, static_argnums=3)
def _move_by_matrix(key, labels, matrix, exact):
    n = labels.shape[0]
    if exact:
        # In a random order within its class, example r of m takes the label with a share that covers
        # (r + 1/2) / m.
        order = jnp.lexsort((jax.random.permutation(key, n), labels))
        size = jnp.zeros(matrix.shape[0], jnp.int32).at[labels].add(1)
        start = jnp.cumsum(size) - size
        rank = jnp.zeros(n, jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32) - start[labels[order]])
        quantile = (rank.astype(matrix.dtype) + 0.5) / size[labels].astype(matrix.dtype)
    else:
        quantile = jax.random.uniform(key, (n,), matrix.dtype)
    cumulative = jnp.cumsum(matrix, axis=1)
    # Rounding must not leave a gap below 1, which would fall to a class beyond the last one.
    cumulative = (cumulative / cumulative[:, -1:])[labels]
    noisy = jnp.sum(quantile[:, None] >= cumulative, axis=1, dtype=labels.dtype)
    return _realised(labels, noisy, matrix.shape[0])


def _check_classes(num_classes: int) -> int:
    check_range("num_classes", num_classes, at_least=2)
    # An array that stands for a number has no hash, which a static argument needs.
    return operator.index(num_classes)


def _check_labels(labels: ArrayLike, num_classes: int) -> Integer[Array, "n"]:
    if not isinstance(labels, jax.core.Tracer):
        # As they came: a 64-bit label may become a valid one when it is cut to 32 bits.
        labels = np.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be integer class indices, got {labels.dtype} of shape {labels.shape}")
    if labels.ndim != 1:
        raise ValueError(f"expected labels of shape [n], got {labels.shape}")
    if labels.size == 0:
        raise ValueError("expected at least one label, got none")
    if isinstance(labels, np.ndarray):
        outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if outside.size:
            first = outside[0]
            raise ValueError(f"labels must be in [0, {num_classes}), got {labels[first]} at index {first}")
    # Narrow integers would overflow in (label + shift).
    return at_least_32_bits(jnp.asarray(labels))


def _check_class_map(class_map: Sequence[int] | NDArray[np.integer]) -> NDArray[np.integer]:
    to = np.asarray(class_map)
    if not np.issubdtype(to.dtype, np.integer):
        raise TypeError(f"class_map must be integer class indices, got {to.dtype} of shape {to.shape}")
    if to.ndim != 1 or len(to) < 2:
        raise ValueError(f"expected class_map of shape [C] with C >= 2, got {to.shape}")
    outside = np.flatnonzero((to < 0) | (to >= len(to)))
    if outside.size:
        first = outside[0]
        raise ValueError(f"class_map must be in [0, {len(to)}), got {to[first]} at index {first}")
    return to


def _check_features(features: ArrayLike, n: int) -> Float[Array, "n features"]:
    given = jnp.asarray(features)
    if not jnp.issubdtype(given.dtype, jnp.floating):
        raise TypeError(
            f"features must be floating, got {given.dtype} of shape {given.shape}; scale bytes to [0, 1]"
        )
    if given.ndim < 2 or given.shape[0] != n or given.size == 0:
        raise ValueError(f"expected features of shape [{n}, ...], as many as labels, got {given.shape}")
    if not isinstance(given, jax.core.Tracer) and not jnp.all(jnp.isfinite(given)):
        raise ValueError("features must be finite")
    return at_least_32_bits(given.reshape(n, -1))


def _check_matrix(matrix: ArrayLike) -> Float[Array, "classes classes"]:
    given = jnp.asarray(matrix, dtype=float)
    if given.ndim != 2 or given.shape[0] != given.shape[1] or given.shape[0] < 2:
        raise ValueError(f"expected a transition matrix of shape [C, C] with C >= 2, got {given.shape}")
    if not isinstance(given, jax.core.Tracer):
        rows = np.asarray(given)
        if not (np.all(rows >= 0) and np.allclose(rows.sum(axis=1), 1.0, atol=1e-5)):
            worst = int(np.argmax(np.abs(np.where(rows < 0, np.inf, rows).sum(axis=1) - 1)))
            raise ValueError(
                f"each row of matrix must be non-negative and sum to 1, got row {worst}: {rows[worst]}"
            )
    return given
