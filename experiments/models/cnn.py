"""Convolutional networks without shortcuts: a small one, and the eight layers of the robust-loss papers."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from experiments.models.layers import Style, conv, linear, max_pool, norm, normalize


class SmallCNN(nnx.Module):
    """Two 3x3 convolutions, each followed by 2x2 max-pooling, and a hidden layer of `width` units."""

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        width: int,
        style: Style,
        *,
        rngs: nnx.Rngs,
    ):
        height, width_in, channels = input_shape
        first, second = max(8, width // 8), max(8, width // 4)
        self.dtype = style.dtype
        self.convolutions = nnx.List(
            [conv(*sizes, dtype=style.dtype, rngs=rngs) for sizes in ((channels, first), (first, second))]
        )
        self.norms = nnx.List([norm(style.norm, features, rngs=rngs) for features in (first, second)])
        pixels = -(-height // 4) * -(-width_in // 4)
        self.hidden = linear(pixels * second, width, dtype=style.dtype, rngs=rngs)
        self.head = linear(width, num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = images.astype(self.dtype)
        for layer, norm_of_layer in zip(self.convolutions, self.norms, strict=True):
            x = jax.nn.relu(normalize(norm_of_layer, layer(x)))
            x = max_pool(x)
        x = jax.nn.relu(self.hidden(x.reshape(x.shape[0], -1)))
        return self.head(x.astype(jnp.float32))


_he_uniform = jax.nn.initializers.variance_scaling(2, "fan_in", "uniform")
_xavier_uniform = jax.nn.initializers.variance_scaling(1, "fan_avg", "uniform")


class CNN8(nnx.Module):
    """The 8-layer CNN that the papers on robust losses train on CIFAR-10.

    Three blocks of two 3x3 convolutions with `channels`, each convolution followed by a norm and a ReLU,
    each block by 2x2 max-pooling; a dense layer of `hidden` units, again with norm and ReLU; the head.
    Convolutions and dense layers have biases, in spite of the norms. Convolutions start He-uniform, dense
    layers Xavier-uniform. The numbers are those of the code published with Zhou et al. (asymmetric losses,
    ICML 2021) and Ye et al. (active negative losses, NeurIPS 2023), who trace it to Ma et al. (ICML 2020).
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        style: Style,
        *,
        channels: tuple[int, int, int] = (64, 128, 196),
        hidden: int = 256,
        rngs: nnx.Rngs,
    ):
        height, width, before = input_shape
        self.dtype = style.dtype
        convolutions, norms = [], []
        for features in channels:
            for inputs in (before, features):
                convolutions.append(
                    conv(inputs, features, dtype=style.dtype, kernel_init=_he_uniform, rngs=rngs)
                )
                norms.append(norm(style.norm, features, rngs=rngs))
            before = features
        self.convolutions, self.norms = nnx.List(convolutions), nnx.List(norms)
        pixels = (height // 8) * (width // 8)
        self.hidden = linear(
            pixels * before, hidden, dtype=style.dtype, kernel_init=_xavier_uniform, rngs=rngs
        )
        self.hidden_norm = norm(style.norm, hidden, rngs=rngs)
        self.head = linear(hidden, num_classes, kernel_init=_xavier_uniform, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = images.astype(self.dtype)
        for i, (layer, norm_of_layer) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = jax.nn.relu(normalize(norm_of_layer, layer(x)))
            if i % 2:
                x = max_pool(x, keep_rest=False)
        x = jax.nn.relu(normalize(self.hidden_norm, self.hidden(x.reshape(x.shape[0], -1))))
        return self.head(x.astype(jnp.float32))
