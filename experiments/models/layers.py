"""What the networks are made of.

Parameters and norms are float32 whatever the precision: what is computed in bfloat16 are convolutions, hidden
layers and what passes between layers.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Initializer = Callable[..., Array]

# Uniform in +-1/sqrt(fan_in), for biases too: PyTorch's default, so that runs can be compared with the
# papers' code.
default_init = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Style(NamedTuple):
    """What all layers of a network have in common.

    Attributes:
      norm: `none`, `batch` or `group`.
      dtype: what convolutions and hidden layers are computed in.
    """

    norm: str = "batch"
    dtype: Any = jnp.float32


def linear(
    inputs: int,
    outputs: int,
    *,
    dtype: Any = jnp.float32,
    kernel_init: Initializer = default_init,
    rngs: nnx.Rngs,
) -> nnx.Linear:
    """A dense layer; in float32, as logits should be, unless told otherwise."""
    bias_init = _bias_init(inputs)
    return nnx.Linear(inputs, outputs, dtype=dtype, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)


def conv(
    inputs: int,
    outputs: int,
    *,
    size: int = 3,
    stride: int = 1,
    bias: bool = True,
    dtype: Any = jnp.float32,
    kernel_init: Initializer = default_init,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution padded alike on both sides.

    With a stride, "SAME" would pad an even image on one side only and look at other pixels than the papers.
    """
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=stride,
        padding=size // 2,
        use_bias=bias,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=_bias_init(size * size * inputs),
        rngs=rngs,
    )


def _bias_init(fan_in: int) -> Initializer:
    limit = 1 / math.sqrt(fan_in)

    def init(key, shape, dtype, **_):
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def norm(kind: str, features: int, *, rngs: nnx.Rngs) -> Callable[[Array], Array]:
    """Normalisation of `features` channels, to be called by `normalize`."""
    if kind == "batch":
        # PyTorch's defaults: there momentum is the share of the new batch, 0.1.
        return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)
    if kind == "group":
        # About eight channels a group, and a number of groups that divides them.
        return nnx.GroupNorm(features, num_groups=math.gcd(features, max(1, features // 8)), rngs=rngs)
    return _identity


def _identity(x: Array) -> Array:
    return x


def normalize(norm: Callable[[Array], Array], x: Array) -> Array:
    """Applies a norm in float32: means of many bfloat16 numbers would be off, and BatchNorm keeps them."""
    return norm(x.astype(jnp.float32)).astype(x.dtype)


def global_average(x: Float[Array, "batch height width channels"]) -> Float[Array, "batch channels"]:
    """The mean over all pixels, in float32."""
    return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


def max_pool(
    x: Float[Array, "batch height width channels"], *, keep_rest: bool = True
) -> Float[Array, "batch half_height half_width channels"]:
    """2x2 max-pooling; an odd last row or column makes windows of its own, or is dropped.

    By reshaping: the gradient of `nnx.max_pool` takes half of a small network's training step on a CPU.
    """
    batch, height, width, channels = x.shape
    if keep_rest:
        padding = (0, 0), (0, height % 2), (0, width % 2), (0, 0)
        x = jnp.pad(x, padding, constant_values=-jnp.inf)
    else:
        x = x[:, : height // 2 * 2, : width // 2 * 2]
    windows = x.reshape(batch, x.shape[1] // 2, 2, x.shape[2] // 2, 2, channels)
    return windows.max(axis=(2, 4))
