"""Regression on corrupted targets: the threshold on gradient norms against fixed ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray
from rich import box
from rich.table import Table
from sklearn.datasets import load_diabetes

import noisy_optax as nox
from experiments.runs import run_folder
from experiments.training import metrics

EPOCHS, BATCH_SIZE, LEARNING_RATE, WIDTH = 200, 32, 0.01, 64
TRAIN_SIZE, QUEUE_SIZE, UPDATE_EVERY = 342, 128, 4
RATES = (0.0, 0.1, 0.3)
# Wrong targets are this many times as spread out as right ones.
WRONG_SPREAD = 10.0
BOUNDS = (1.1, 1.2, 1.5, 2.0)
FIXED_NORMS = (0.1, 0.3, 1.0, 3.0, 10.0)
# The space that the mixture is fitted in was chosen on seeds 0 to 9.
SEEDS = range(10, 30)


class Examples(NamedTuple):
    """One split of the data; all is standardised by the training part's clean mean and deviation."""

    x: Float[Array, "train features"]
    given: Float[Array, "train"]
    test_x: Float[Array, "test features"]
    test_y: Float[Array, "test"]


def measure() -> dict[str, Any]:
    """Root mean squared error on clean test targets, of every method at every rate."""
    errors = {
        str(rate): {name: metrics.spread(_over_seeds(method, rate)) for name, method in methods().items()}
        for rate in RATES
    }
    return {
        "what": f"scikit-learn's diabetes data, a share of the training targets replaced by draws "
        f"{WRONG_SPREAD:g} times as spread out; root mean squared error on clean test targets in standard "
        f"deviations, last of {EPOCHS} epochs",
        "seeds": list(SEEDS),
        "errors": errors,
        "provenance": run_folder.provenance(),
    }


def table(measured: dict[str, Any]) -> Table:
    """The errors for the terminal."""
    errors = measured["errors"]
    seeds = len(measured["seeds"])
    printed = Table(
        title=f"error on clean test targets, wrong among the training targets, {seeds} seeds", box=box.SIMPLE
    )
    printed.add_column("method", no_wrap=True)
    for rate in errors:
        printed.add_column(f"{float(rate):.0%}", justify="right", no_wrap=True)
    for name in next(iter(errors.values())):
        spreads = [of_rate[name] for of_rate in errors.values()]
        printed.add_row(name, *(f"{spread['mean']:.3f} ± {spread['sd']:.3f}" for spread in spreads))
    return printed


def methods() -> dict[str, optax.GradientTransformation]:
    """What makes one gradient of the per-example ones, by name."""

    def over_batch(transformation):
        return optax.chain(optax.stateless(lambda g, _: jax.tree.map(lambda x: x.mean(0), g)), transformation)

    def ogc(bound):
        return nox.ogc.clip_by_gradient_norm(bound, update_every=UPDATE_EVERY, queue_size=QUEUE_SIZE)

    rate = learning_rate_schedule()

    def per_example(norm):
        def clip(gradients, _):
            total, _ = optax.per_example_global_norm_clip(jax.tree.leaves(gradients), norm)
            mean = [leaf / BATCH_SIZE for leaf in total]
            return jax.tree.unflatten(jax.tree.structure(gradients), mean)

        return optax.stateless(clip)

    return {
        "plain": over_batch(optax.identity()),
        **{f"batch norm {norm:g}": over_batch(optax.clip_by_global_norm(norm)) for norm in FIXED_NORMS},
        **{f"example norm {norm:g}": per_example(norm) for norm in FIXED_NORMS},
        "ogc": ogc(lambda step: 1.0 + 20.0 * rate(step)),
        **{f"ogc bound {bound:g}": ogc(bound) for bound in BOUNDS},
    }


def _over_seeds(method: optax.GradientTransformation, rate: float) -> np.ndarray:
    splits = [split(seed, rate) for seed in SEEDS]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *splits)
    keys = jax.vmap(jax.random.key)(jnp.asarray(SEEDS))
    # One after the other: side by side, the refit would run in every step.
    return np.asarray(jax.jit(lambda args: jax.lax.map(lambda a: train(method, *a), args))((stacked, keys)))


def split(seed: int, rate: float) -> Examples:
    """A random split with `rate` of the training targets replaced."""
    x, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    training, test = order[:TRAIN_SIZE], order[TRAIN_SIZE:]
    x = (x - x[training].mean(0)) / x[training].std(0)
    y = (y - y[training].mean()) / y[training].std()
    given = y[training].copy()
    wrong = rng.permutation(TRAIN_SIZE)[: round(rate * TRAIN_SIZE)]
    given[wrong] = rng.normal(scale=WRONG_SPREAD, size=len(wrong))
    return Examples(*(jnp.asarray(part, jnp.float32) for part in (x[training], given, x[test], y[test])))


def train(method: optax.GradientTransformation, data: Examples, key: PRNGKeyArray) -> Float[Array, ""]:
    """Trains a small network on squared error; returns its root mean squared error on the test part."""
    steps_per_epoch = TRAIN_SIZE // BATCH_SIZE
    optimizer = optax.chain(method, optax.sgd(learning_rate_schedule(), momentum=0.9))
    gradients = nox.per_example_gradients(lambda params, x, y: jnp.square(network(params, x) - y))
    init_key, order_key = jax.random.split(key)
    params = initial(init_key, data.x.shape[1])

    def step(carry, batch):
        params, state = carry
        updates, state = optimizer.update(gradients(params, data.x[batch], data.given[batch]), state, params)
        return (optax.apply_updates(params, updates), state), None

    def epoch(carry, key):
        order = jax.random.permutation(key, TRAIN_SIZE)[: steps_per_epoch * BATCH_SIZE]
        return jax.lax.scan(step, carry, order.reshape(steps_per_epoch, BATCH_SIZE))

    carry = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(epoch, carry, jax.random.split(order_key, EPOCHS))
    return jnp.sqrt(jnp.mean(jnp.square(network(params, data.test_x) - data.test_y)))


def learning_rate_schedule() -> optax.Schedule:
    """Cosine to 0."""
    return optax.cosine_decay_schedule(LEARNING_RATE, EPOCHS * (TRAIN_SIZE // BATCH_SIZE))


def initial(key: PRNGKeyArray, features: int) -> dict[str, Array]:
    """A network with one hidden layer."""
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (features, WIDTH)) / np.sqrt(features),
        "bias": jnp.zeros(WIDTH),
        "head": jax.random.normal(second, (WIDTH,)) / np.sqrt(WIDTH),
        "offset": jnp.zeros([]),
    }


def network(params: dict[str, Array], x: Float[Array, "n features"]) -> Float[Array, "n"]:
    """Its outputs."""
    return jnp.tanh(x @ params["hidden"] + params["bias"]) @ params["head"] + params["offset"]
