"""A training so small that its steps can be followed by hand."""

import jax
import jax.numpy as jnp
import optax

from experiments import methods
from experiments.models.network import Network
from experiments.training.steps import StepParts
from noisy_optax import losses
from noisy_optax.robust_loss import as_robust_loss

FEATURES, CLASSES = 4, 3


def apply(params, statistics, images, *, train):
    """Logits around the mean of the batch, or around the running mean if not in training."""
    z = images.reshape(len(images), -1) @ params["w"]
    mean = z.mean(axis=0)
    centre = mean if train else statistics["mean"]
    return z - centre[None], {"mean": (statistics["mean"] + mean) / 2 if train else statistics["mean"]}


def init(key):
    return {"w": jax.random.normal(key, (FEATURES, CLASSES))}, {"mean": jnp.zeros(CLASSES)}


def parts(loss=losses.cross_entropy, sharpness=None, learning_rate=0.5, **changes):
    """What a step is made of."""
    method = methods.Method(as_robust_loss(loss), sharpness=sharpness)
    return StepParts(Network(init, apply, convolutional=False), method, optax.sgd(learning_rate), **changes)
