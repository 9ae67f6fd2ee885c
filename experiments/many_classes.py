"""Mean absolute error fails to learn many classes; with a logit bias made for their number it learns them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from rich import box
from rich.table import Table

from experiments import metrics, run_folder
from experiments.compare import percent
from noisy_optax import losses, noise

CLASS_COUNTS = (3, 10, 30, 100, 300)
SEEDS = range(5)
FEATURES, SPREAD = 64, 1.5
TRAIN_PER_CLASS, TEST_PER_CLASS = 20, 10
NOISE_RATE = 0.2
WIDTH, STEPS, BATCH_SIZE, LEARNING_RATE = 128, 2000, 64, 0.1


class Examples(NamedTuple):
    """Training and test part of one drawing; `given` are the training labels, a share of them wrong."""

    x: Float[Array, "train features"]
    given: Int[Array, "train"]
    test_x: Float[Array, "test features"]
    test_labels: Int[Array, "test"]


def measure() -> dict[str, Any]:
    """Test accuracy of every loss for every number of classes."""
    accuracies = {}
    for num_classes in CLASS_COUNTS:
        over_seeds = jax.jit(
            lambda keys, n=num_classes: {
                name: jax.vmap(lambda key, loss=loss, n=n: train(loss, n, key))(keys)
                for name, loss in compared(n).items()
            }
        )
        keys = jax.vmap(jax.random.key)(jnp.asarray(SEEDS))
        accuracies[str(num_classes)] = {
            name: metrics.spread(np.asarray(own)) for name, own in over_seeds(keys).items()
        }
    return {
        "what": f"Gaussian classes in {FEATURES} dimensions, {TRAIN_PER_CLASS} training examples each, "
        f"{NOISE_RATE:.0%} of the labels wrong (symmetric); accuracy on clean test labels after {STEPS} "
        f"steps",
        "logit_bias": {str(n): losses.logit_bias(n) for n in CLASS_COUNTS},
        "seeds": list(SEEDS),
        "accuracies": accuracies,
        "provenance": run_folder.provenance(),
    }


def compared(num_classes: int) -> dict[str, losses.Loss]:
    """The losses for that many classes."""
    epsilon = max(losses.logit_bias(num_classes), 0.0)
    return {
        "cross-entropy": losses.cross_entropy,
        "mean absolute error": losses.mean_absolute_error,
        "mean absolute error, logit bias": losses.with_logit_bias(losses.mean_absolute_error, epsilon),
    }


def table(measured: dict[str, Any]) -> Table:
    """The accuracies for the terminal, in percent."""
    accuracies = measured["accuracies"]
    printed = Table(
        title=f"accuracy in % by number of classes, {len(measured['seeds'])} seeds", box=box.SIMPLE
    )
    printed.add_column("loss")
    for num_classes in accuracies:
        printed.add_column(num_classes, justify="right", no_wrap=True)
    for name in next(iter(accuracies.values())):
        printed.add_row(name, *(percent(own[name]) for own in accuracies.values()))
    return printed


def draw(num_classes: int, key: PRNGKeyArray) -> Examples:
    """Normal centres, and examples spread around them."""
    centre_key, train_key, test_key, noise_key = jax.random.split(key, 4)
    centres = jax.random.normal(centre_key, (num_classes, FEATURES))

    def examples(key, per_class):
        labels = jnp.tile(jnp.arange(num_classes, dtype=jnp.int32), per_class)
        return centres[labels] + SPREAD * jax.random.normal(key, (len(labels), FEATURES)), labels

    x, labels = examples(train_key, TRAIN_PER_CLASS)
    given = noise.symmetric(noise_key, labels, NOISE_RATE, num_classes=num_classes).labels
    return Examples(x, given, *examples(test_key, TEST_PER_CLASS))


def train(loss: losses.Loss, num_classes: int, key: PRNGKeyArray) -> Float[Array, ""]:
    """Trains a network with one hidden layer; returns its test accuracy."""
    data_key, init_key, order_key = jax.random.split(key, 3)
    data = draw(num_classes, data_key)
    optimizer = optax.sgd(optax.cosine_decay_schedule(LEARNING_RATE, STEPS), momentum=0.9)

    def objective(params, x, labels):
        return jnp.mean(loss(network(params, x), labels))

    def step(carry, key):
        params, state = carry
        batch = jax.random.choice(key, len(data.given), (BATCH_SIZE,))
        updates, state = optimizer.update(
            jax.grad(objective)(params, data.x[batch], data.given[batch]), state
        )
        return (optax.apply_updates(params, updates), state), None

    params = initial(init_key, num_classes)
    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(order_key, STEPS))
    return jnp.mean(jnp.argmax(network(params, data.test_x), axis=-1) == data.test_labels, dtype=jnp.float32)


def initial(key: PRNGKeyArray, num_classes: int) -> dict[str, Array]:
    """A network with one hidden layer."""
    first, second = jax.random.split(key)
    return {
        "hidden": jax.random.normal(first, (FEATURES, WIDTH)) / np.sqrt(FEATURES),
        "hidden_bias": jnp.zeros(WIDTH),
        "head": jax.random.normal(second, (WIDTH, num_classes)) / np.sqrt(WIDTH),
        "head_bias": jnp.zeros(num_classes),
    }


def network(params: dict[str, Array], x: Float[Array, "n features"]) -> Float[Array, "n classes"]:
    """Its logits."""
    return jax.nn.relu(x @ params["hidden"] + params["hidden_bias"]) @ params["head"] + params["head_bias"]
