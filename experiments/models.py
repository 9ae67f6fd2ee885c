"""Networks in flax NNX, and their life as pure functions inside a compiled loop."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from experiments.config import Model
from experiments.errors import UserError

# Weights and biases uniform in +-1/sqrt(fan_in): PyTorch's default for linear layers, so that runs can be
# compared with the papers' code.
_kernel_init = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Network(NamedTuple):
    """A model as functions of its arrays.

    Attributes:
      init: `init(key) -> (params, statistics)`; statistics are BatchNorm's running means and variances.
      apply: `apply(params, statistics, images, train=...) -> (logits, statistics)`.
      convolutional: whether it has convolutions.
    """

    init: Callable[[PRNGKeyArray], tuple[Any, Any]]
    apply: Callable[..., tuple[Float[Array, "batch classes"], Any]]
    convolutional: bool


def build(config: Model, input_shape: tuple[int, ...], num_classes: int) -> Network:
    """The network that the configuration names, for examples of `input_shape`."""
    if config.model == "cnn":
        if len(input_shape) != 3:
            raise UserError(
                f"--model cnn needs images [N, H, W, C], got [N, {input_shape[0]}]; use --model mlp"
            )
        height, width, channels = input_shape
        return _as_functions(
            lambda rngs: SmallCNN(
                (height, width, channels), num_classes, config.width, config.norm, rngs=rngs
            ),
            convolutional=True,
        )
    return _as_functions(
        lambda rngs: MLP(math.prod(input_shape), num_classes, config.width, config.norm, rngs=rngs),
        convolutional=False,
    )


class MLP(nnx.Module):
    """Two hidden layers of `width` units."""

    def __init__(self, inputs: int, num_classes: int, width: int, norm: str, *, rngs: nnx.Rngs):
        self.hidden = nnx.List([_linear(inputs, width, rngs=rngs), _linear(width, width, rngs=rngs)])
        self.norms = nnx.List([_norm(norm, width, rngs=rngs) for _ in range(2)])
        self.head = _linear(width, num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "batch ..."]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = images.reshape(images.shape[0], -1)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = jax.nn.relu(norm(layer(x)))
        return self.head(x)


class SmallCNN(nnx.Module):
    """Two 3x3 convolutions, each followed by 2x2 max-pooling, and a hidden layer of `width` units."""

    def __init__(
        self, input_shape: tuple[int, int, int], num_classes: int, width: int, norm: str, *, rngs: nnx.Rngs
    ):
        height, width_in, channels = input_shape
        first, second = max(8, width // 8), max(8, width // 4)
        self.convolutions = nnx.List([_conv(channels, first, rngs=rngs), _conv(first, second, rngs=rngs)])
        self.norms = nnx.List([_norm(norm, features, rngs=rngs) for features in (first, second)])
        self.hidden = _linear(-(-height // 4) * -(-width_in // 4) * second, width, rngs=rngs)
        self.head = _linear(width, num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = images
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            x = nnx.max_pool(jax.nn.relu(norm(layer(x))), (2, 2), strides=(2, 2), padding="SAME")
        x = jax.nn.relu(self.hidden(x.reshape(x.shape[0], -1)))
        return self.head(x)


def _linear(inputs: int, outputs: int, *, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=_kernel_init, bias_init=_bias_init(inputs), rngs=rngs)


def _conv(inputs: int, outputs: int, *, rngs: nnx.Rngs) -> nnx.Conv:
    bias_init = _bias_init(9 * inputs)
    return nnx.Conv(inputs, outputs, (3, 3), kernel_init=_kernel_init, bias_init=bias_init, rngs=rngs)


def _bias_init(fan_in: int) -> Callable[..., Array]:
    limit = 1 / math.sqrt(fan_in)

    def init(key, shape, dtype, **_):
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def _norm(kind: str, features: int, *, rngs: nnx.Rngs) -> Callable[[Array], Array]:
    if kind == "batch":
        return nnx.BatchNorm(features, momentum=0.9, rngs=rngs)
    if kind == "group":
        # About eight channels a group, and a number of groups that divides them.
        return nnx.GroupNorm(features, num_groups=math.gcd(features, max(1, features // 8)), rngs=rngs)
    return _identity


def _identity(x: Array) -> Array:
    return x


def _as_functions(module: Callable[[nnx.Rngs], nnx.Module], *, convolutional: bool) -> Network:
    model = nnx.eval_shape(lambda: module(nnx.Rngs(0)))
    model.train()
    train_graph = nnx.graphdef(model)
    model.eval()
    eval_graph = nnx.graphdef(model)

    def init(key):
        model = module(nnx.Rngs(key))
        return nnx.state(model, nnx.Param), nnx.state(model, nnx.Not(nnx.Param))

    def apply(params, statistics, images, *, train):
        # A copy: merging in place would write traced statistics into the caller's variables.
        merged = nnx.merge(train_graph if train else eval_graph, params, statistics, copy=True)
        logits = merged(images)
        return logits, nnx.state(merged, nnx.Not(nnx.Param))

    return Network(init, apply, convolutional)
