"""What optimized gradient clipping costs: in a training step, in a refit, in memory."""

import functools
import multiprocessing
import os
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import noisy_optax as nox
from experiments import config
from experiments.models.build import build
from experiments.studies.bench import timing
from experiments.studies.bench.timed_step import BATCH_SIZE, CLASSES, IMAGE_SHAPE, Training
from noisy_optax import losses
from noisy_optax.ogc import _loss, _threshold

QUEUE_SIZE, UPDATE_EVERY = 4096, 32
BOUND = 3.0


def measure(blocks: int) -> dict[str, Any]:
    """All of it, with the targets beside."""
    return {
        "step": {"target": 1.03, **step(blocks)},
        "refit": {"target": 0.05, **on_one_thread(blocks)},
        "memory": memory(),
    }


def step(blocks: int) -> dict[str, Any]:
    """A training step of the small CNN with OGC over one with cross-entropy; a block holds one refit."""
    ours, baseline = Training("ogc"), Training("cross_entropy")
    # From then on the queue is full, and every block of as many steps has one refit.
    for _ in range(UPDATE_EVERY):
        ours()
        baseline()
    result = timing.in_turn(ours, baseline, blocks=blocks, calls=UPDATE_EVERY, interleaved=True)
    if not ours.state.loss.mixture.means[1] > 0:
        raise RuntimeError("the threshold was never fitted: the benchmark would leave refits out")
    return {
        **result,
        "what": f"training step of the CNN on {IMAGE_SHAPE} images, batch {BATCH_SIZE}, a refit every "
        f"{UPDATE_EVERY} steps: OGC / cross-entropy",
        "first_call_seconds": [ours.first_call_seconds, baseline.first_call_seconds],
    }


def on_one_thread(blocks: int) -> dict[str, Any]:
    """`refit` in a process of its own that has one core, and one thread on either side."""
    spawn = multiprocessing.get_context("spawn")
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        with spawn.Pool(1, initializer=_pin) as pool:
            return pool.apply(refit, (blocks,))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
}


def _pin() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def refit(blocks: int) -> dict[str, Any]:
    """Mixture and threshold from a full queue, ours over scikit-learn's and SciPy's."""
    queue = example_queue()
    slopes = jax.jit(lambda: _threshold.tabulate(losses.cross_entropy, "default"))()
    state = _loss.initial_state(QUEUE_SIZE, lambda _: jnp.asarray(BOUND), slopes)
    state = state._replace(queue=jnp.asarray(queue), valid=jnp.ones(QUEUE_SIZE, bool))
    ours = jax.jit(lambda state: _loss.refit(state, slopes, "default"))
    first = timing.first_call(lambda: ours(state))
    found, expected = float(ours(state).probability_threshold), reference_refit(queue)
    # Twenty calls each at a time: alternating single calls would measure cold caches.
    result = timing.in_turn(lambda: ours(state), lambda: reference_refit(queue), blocks=blocks, calls=20)
    return {
        **result,
        "what": f"mixture and threshold from a queue of {QUEUE_SIZE} / scikit-learn and SciPy, one thread",
        "first_call_seconds": round(first, 2),
        "thresholds": [round(found, 4), round(expected, 4)],
    }


def example_queue() -> np.ndarray:
    """Losses of a model that has begun to learn, 40 % of them of wrong labels."""
    rng = np.random.default_rng(0)
    wrong = rng.random(QUEUE_SIZE) < 0.4
    right, other = rng.exponential(0.3, QUEUE_SIZE), rng.normal(4, 1.5, QUEUE_SIZE)
    return np.clip(np.where(wrong, other, right), 1e-7, 16).astype(np.float32)


def reference_refit(queue: np.ndarray) -> float:
    """The published stages: a mixture of two normals, truncated, and ten halvings of the threshold."""
    from scipy.integrate import trapezoid
    from scipy.stats import truncnorm
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = GaussianMixture(2, max_iter=10, tol=1e-3, reg_covar=1e-3, random_state=0).fit(queue[:, None])
    means, sds = fitted.means_[:, 0], np.sqrt(fitted.covariances_[:, 0, 0])
    grid = _threshold.GRID
    clean, noisy = (
        truncnorm.pdf(grid, (grid[0] - means[i]) / sds[i], (grid[-1] - means[i]) / sds[i], means[i], sds[i])
        for i in np.argsort(means)
    )
    slopes = np.exp(grid)

    def ratio(p):
        clipped = np.minimum(slopes, 1 / p)
        return trapezoid(noisy * clipped, grid) / trapezoid(clean * clipped, grid)

    low, high = 1e-7, 1 - 1e-7
    for _ in range(10):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(middle) > BOUND else (low, middle)
    return high


def memory() -> dict[str, Any]:
    """Temporary memory of a compiled step over per-example gradients, by chunk size."""
    network = build(config.Model(model="cnn", norm="group"), IMAGE_SHAPE, CLASSES)
    params, statistics = jax.eval_shape(network.init, jax.random.key(0))
    transformation = nox.ogc.clip_by_gradient_norm(bound=1.5)
    state = jax.eval_shape(transformation.init, params)

    def example_losses(params, images, labels):
        logits, _ = network.apply(params, jax.tree.map(jnp.zeros_like, statistics), images, train=True)
        return losses.cross_entropy(logits, labels)

    def whole(params, state, images, labels):
        gradients = nox.per_example_gradients(example_losses)(params, images, labels)
        return transformation.update(gradients, state, params)

    def bounded(chunk_size, params, state, images, labels):
        norms = nox.per_example_gradients(example_losses, chunk_size=chunk_size, keep=optax.tree.norm)
        weighted = nox.weighted_gradient(example_losses, chunk_size=chunk_size)
        return transformation.update(
            None,
            state,
            params,
            gradient_norms=norms(params, images, labels),
            weighted_gradient=lambda weights: weighted(params, weights, images, labels),
        )

    def megabytes(step, batch_size=BATCH_SIZE):
        images = jax.ShapeDtypeStruct((batch_size, *IMAGE_SHAPE), jnp.float32)
        labels = jax.ShapeDtypeStruct((batch_size,), jnp.int32)
        compiled = jax.jit(step).lower(params, state, images, labels).compile()
        analysis = compiled.memory_analysis()
        return None if analysis is None else round(analysis.temp_size_in_bytes / 1e6, 1)

    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {
        "what": f"temporary memory in MB of OGC by gradient norms, batch {BATCH_SIZE}",
        "chunk_8": megabytes(functools.partial(bounded, 8)),
        "chunk_32": megabytes(functools.partial(bounded, 32)),
        "chunk_128": megabytes(functools.partial(bounded, 128)),
        f"chunk_8_batch_{4 * BATCH_SIZE}": megabytes(functools.partial(bounded, 8), 4 * BATCH_SIZE),
        "all_gradients_at_once": megabytes(whole),
        "batch_times_parameters": round(4e-6 * BATCH_SIZE * count, 1),
    }
