"""A network that learns CIFAR-10 in seconds on a GPU: what the public speed-run records have in common.

Facts of the records (hlb-CIFAR10, airbench94): a first convolution of 2x2 whose frozen filters whiten the
patches of the training pictures; three groups of two 3x3 convolutions with max-pooling after the first; batch
statistics without a scale; an identity as the first filters of each convolution; logits scaled by 1/9.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from numpy.typing import NDArray

from experiments.models.layers import Style, conv, default_init, max_pool, norm, normalize

PATCH = 2
# Added to the variances before they are scaled to 1: noise in directions without variance stays small.
WHITENING_EPSILON = 5e-4
HEAD_SCALE = 1 / 9
# The smallest pictures that three times max-pooling leaves a pixel of.
MIN_PIXELS = 16


class Frozen(nnx.Variable):
    """A number that no gradient changes."""


class Whitening(nnx.Module):
    """A 2x2 convolution without padding, its filters frozen and its bias trained.

    The filters are the principal directions of the training pictures' patches, each scaled to a variance of 1
    and taken with both signs; `fit_whitening` computes them. Until then they are random.
    """

    def __init__(self, channels: int, style: Style, *, rngs: nnx.Rngs):
        filters = 2 * PATCH * PATCH * channels
        shape = (PATCH, PATCH, channels, filters)
        self.kernel = Frozen(default_init(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(filters, jnp.float32))
        self.dtype = style.dtype

    def __call__(self, x: Float[Array, "batch height width channels"]) -> Array:
        """The filters' answers, one pixel less in height and width."""
        kernel, bias = self.kernel[...].astype(self.dtype), self.bias[...].astype(self.dtype)
        layout = ("NHWC", "HWIO", "NHWC")
        answers = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)
        return answers + jax.lax.broadcast(bias, answers.shape[:-1])


def identity_first(key: Array, shape: tuple[int, ...], dtype: Any, **_: Any) -> Array:
    """A 3x3 kernel whose filter i hands channel i on, as far as there are channels; the others are random."""
    height, width, inputs, outputs = shape
    handed_on = min(inputs, outputs)
    identity = jnp.zeros((height, width, inputs, handed_on), dtype)
    identity = identity.at[height // 2, width // 2, jnp.arange(handed_on), jnp.arange(handed_on)].set(1)
    return default_init(key, shape, dtype).at[..., :handed_on].set(identity)


class ConvolutionGroup(nnx.Module):
    """A convolution, max-pooling, a norm and GELU; then a convolution with norm and GELU, added to that."""

    def __init__(self, inputs: int, outputs: int, style: Style, *, rngs: nnx.Rngs):
        self.convolutions = nnx.List(
            [
                conv(before, outputs, bias=False, dtype=style.dtype, kernel_init=identity_first, rngs=rngs)
                for before in (inputs, outputs)
            ]
        )
        self.norms = nnx.List([_norm(outputs, style, rngs=rngs) for _ in range(2)])

    def __call__(self, x: Float[Array, "batch height width channels"]) -> Array:
        """Half the height and width."""
        pooled = max_pool(self.convolutions[0](x), keep_rest=False)
        x = jax.nn.gelu(normalize(self.norms[0], pooled))
        return x + jax.nn.gelu(normalize(self.norms[1], self.convolutions[1](x)))


def _norm(features: int, style: Style, *, rngs: nnx.Rngs) -> Callable[[Array], Array]:
    if style.norm == "batch":
        # With so few steps the running statistics must follow faster than usual.
        return nnx.BatchNorm(features, momentum=0.6, epsilon=1e-5, use_scale=False, rngs=rngs)
    return norm(style.norm, features, rngs=rngs)


class SpeedrunNetwork(nnx.Module):
    """Whitening, three groups of `width / 4`, `width` and `width` channels, the largest of each, the head."""

    def __init__(self, input_channels: int, num_classes: int, width: int, style: Style, *, rngs: nnx.Rngs):
        self.dtype = style.dtype
        self.whitening = Whitening(input_channels, style, rngs=rngs)
        groups, before = [], 2 * PATCH * PATCH * input_channels
        for outputs in (max(8, width // 4), width, width):
            groups.append(ConvolutionGroup(before, outputs, style, rngs=rngs))
            before = outputs
        self.groups = nnx.List(groups)
        self.head = nnx.Linear(before, num_classes, use_bias=False, kernel_init=default_init, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = jax.nn.gelu(self.whitening(images.astype(self.dtype)))
        for group in self.groups:
            x = group(x)
        return HEAD_SCALE * self.head(jnp.max(x, axis=(1, 2)).astype(jnp.float32))


def whitening_filters(images: Float[NDArray, "n height width channels"]) -> Float[NDArray, "..."]:
    """The kernel `[2, 2, channels, filters]` that whitens the images' patches, in float32."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (PATCH, PATCH), axis=(1, 2))
    # [n, height, width, channels, 2, 2] to one row for each patch, in the order of a kernel's axes.
    patches = np.moveaxis(windows, 3, -1).reshape(-1, PATCH * PATCH * images.shape[-1]).astype(np.float64)
    covariance = patches.T @ patches / len(patches)
    variances, directions = np.linalg.eigh(covariance)
    filters = directions / np.sqrt(variances + WHITENING_EPSILON)
    both_signs = np.concatenate([filters, -filters], axis=1).astype(np.float32)
    return both_signs.reshape(PATCH, PATCH, images.shape[-1], -1)


def fit_whitening(statistics: nnx.State, images: Float[NDArray, "n height width channels"]) -> nnx.State:
    """The statistics of a `SpeedrunNetwork`, a leading axis of seeds allowed, with filters for `images`."""
    filters = whitening_filters(images)
    # A copy of the tree, so that the caller's keeps its filters.
    fitted = jax.tree.map(lambda x: x, statistics)
    kernel = fitted["whitening"]["kernel"]
    fitted["whitening"]["kernel"] = kernel.replace(jnp.broadcast_to(filters, kernel.shape))
    return fitted
