"""Mean absolute error fails to learn many classes; with a logit bias for their number, it learns them.

The bias is added to the logit of the given label in training. It depends on the number of classes alone. With
fewer than seven classes it is 0.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from experiments.studies.claims import figures
from experiments.studies.claims.check import Check
from experiments.training import metrics
from experiments.training.metrics import percent
from noisy_optax import losses, noise
from noisy_optax.robust_loss import Loss

PAPER = (
    "Staats, Thamm, Rosenow, Enhancing Noise-Robust Losses for Large-Scale Noisy Data Learning, "
    "arXiv 2306.05497"
)

# Written down after the measurement. To fail is to have less than half of cross-entropy's accuracy, with the
# most classes; to learn them is to have at least cross-entropy's, whatever their number; a few points more or
# less than without the bias are noise where almost no bias is needed.
FAILS, AS_GOOD = 0.5, 3.0
FEW = (3, 10)

BASELINE, WITHOUT_BIAS = "cross-entropy", "mean absolute error"
WITH_BIAS = "mean absolute error, logit bias"
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
    }


def compared(num_classes: int) -> dict[str, Loss]:
    """The losses for that many classes."""
    epsilon = max(losses.logit_bias(num_classes), 0.0)
    return {
        BASELINE: losses.cross_entropy,
        WITHOUT_BIAS: losses.mean_absolute_error,
        WITH_BIAS: losses.with_logit_bias(losses.mean_absolute_error, epsilon),
    }


def checks(measured: dict[str, Any]) -> list[Check]:
    """Where each loss fails and learns."""
    accuracies = {
        int(n): {name: 100 * own["mean"] for name, own in of_count.items()}
        for n, of_count in measured["accuracies"].items()
    }
    most = max(accuracies)
    without, baseline = (accuracies[most][name] for name in (WITHOUT_BIAS, BASELINE))
    least = min(own[WITH_BIAS] - own[BASELINE] for own in accuracies.values())
    lost = max(accuracies[n][WITHOUT_BIAS] - accuracies[n][WITH_BIAS] for n in FEW)
    return [
        Check(
            f"with {most} classes mean absolute error has less than {FAILS:.0%} of cross-entropy's accuracy",
            f"{without:.2f} to {baseline:.2f}",
            without < FAILS * baseline,
        ),
        Check(
            "with the bias it has at least cross-entropy's for every number of classes",
            f"{least:+.2f} points at the least",
            least >= 0,
        ),
        Check(
            f"with few classes the bias costs at most {AS_GOOD:g} points",
            f"{lost:.2f} points",
            lost <= AS_GOOD,
        ),
    ]


def rows(measured: dict[str, Any]) -> list[list[str]]:
    """Accuracies in percent by number of classes, and the bias."""
    accuracies, biases = measured["accuracies"], measured["logit_bias"]
    found = [["loss", *(f"{n} classes" for n in accuracies)]]
    for name in next(iter(accuracies.values())):
        found.append([name, *(percent(own[name]) for own in accuracies.values())])
    return [*found, ["logit bias", *(f"{max(biases[n], 0.0):.3f}" for n in accuracies)]]


def picture(measured: dict[str, Any], path: Path) -> None:
    """Accuracy against the number of classes."""
    figures.many_classes(measured["accuracies"], path)


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


def train(loss: Loss, num_classes: int, key: PRNGKeyArray) -> Float[Array, ""]:
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
