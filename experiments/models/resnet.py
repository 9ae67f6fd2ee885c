"""Residual networks with the stem for small images: a 3x3 convolution, no stride, no pooling."""

from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import Array, Float

from experiments.models.layers import Style, conv, global_average, linear, norm, normalize

# He et al. (ICCV 2015), by the number of outputs: keeps the spread of gradients from layer to layer.
he_normal = jax.nn.initializers.variance_scaling(2, "fan_out", "normal")


def plain_conv(
    inputs: int, outputs: int, style: Style, *, size: int = 3, stride: int = 1, rngs: nnx.Rngs
) -> nnx.Conv:
    """A convolution of a residual network: without a bias, since a norm follows or a sum that has one."""
    return conv(
        inputs,
        outputs,
        size=size,
        stride=stride,
        bias=False,
        dtype=style.dtype,
        kernel_init=he_normal,
        rngs=rngs,
    )


class Shortcut(nnx.Module):
    """A strided 1x1 convolution and a norm, to bring a block's input to the shape of its output."""

    def __init__(self, inputs: int, outputs: int, stride: int, style: Style, *, rngs: nnx.Rngs):
        self.convolution = plain_conv(inputs, outputs, style, size=1, stride=stride, rngs=rngs)
        self.norm = norm(style.norm, outputs, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        """The input in the shape of the output."""
        return normalize(self.norm, self.convolution(x))


class Block(nnx.Module):
    """Convolutions with norms, ReLUs between them, and the input added before the last ReLU."""

    def __init__(
        self, convolutions: list[nnx.Conv], shortcut: Shortcut | None, style: Style, *, rngs: nnx.Rngs
    ):
        self.convolutions = nnx.List(convolutions)
        self.norms = nnx.List([norm(style.norm, layer.out_features, rngs=rngs) for layer in convolutions])
        self.shortcut = nnx.data(shortcut)

    def __call__(self, x: Array) -> Array:
        """The block's output."""
        y = x
        for i, (layer, norm_of_layer) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            y = normalize(norm_of_layer, layer(y if i == 0 else jax.nn.relu(y)))
        return jax.nn.relu(y + (x if self.shortcut is None else self.shortcut(x)))


def basic_block(inputs: int, channels: int, stride: int, style: Style, *, rngs: nnx.Rngs) -> Block:
    """Two 3x3 convolutions, the first with the stride."""
    convolutions = [
        plain_conv(inputs, channels, style, stride=stride, rngs=rngs),
        plain_conv(channels, channels, style, rngs=rngs),
    ]
    return Block(convolutions, _shortcut(inputs, channels, stride, style, rngs=rngs), style, rngs=rngs)


def bottleneck(inputs: int, channels: int, stride: int, style: Style, *, rngs: nnx.Rngs) -> Block:
    """1x1 down to `channels`, 3x3 with the stride, 1x1 up to four times as many."""
    convolutions = [
        plain_conv(inputs, channels, style, size=1, rngs=rngs),
        plain_conv(channels, channels, style, stride=stride, rngs=rngs),
        plain_conv(channels, 4 * channels, style, size=1, rngs=rngs),
    ]
    return Block(convolutions, _shortcut(inputs, 4 * channels, stride, style, rngs=rngs), style, rngs=rngs)


def _shortcut(inputs: int, outputs: int, stride: int, style: Style, *, rngs: nnx.Rngs) -> Shortcut | None:
    if stride == 1 and inputs == outputs:
        return None
    return Shortcut(inputs, outputs, stride, style, rngs=rngs)


class ResNet(nnx.Module):
    """A residual network (He et al., CVPR 2016) of four stages, each but the first with a stride of 2.

    Stage i has `depths[i]` blocks made by `block`, with `2^i * channels` channels inside. Depths 2, 2, 2, 2
    with basic blocks are ResNet-18; 3, 4, 6, 3 are ResNet-34 with basic blocks, ResNet-50 with bottlenecks.
    Scales of the norms start at 1, also at the end of a block.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        block: Callable[..., Block],
        input_channels: int,
        num_classes: int,
        style: Style,
        *,
        channels: int = 64,
        rngs: nnx.Rngs,
    ):
        self.dtype = style.dtype
        self.stem = plain_conv(input_channels, channels, style, rngs=rngs)
        self.stem_norm = norm(style.norm, channels, rngs=rngs)
        stages, features = [], channels
        for i, depth in enumerate(depths):
            blocks = []
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                blocks.append(block(features, 2**i * channels, stride, style, rngs=rngs))
                features = blocks[-1].convolutions[-1].out_features
            stages.append(nnx.Sequential(*blocks))
        self.stages = nnx.List(stages)
        self.head = linear(features, num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = jax.nn.relu(normalize(self.stem_norm, self.stem(images.astype(self.dtype))))
        for stage in self.stages:
            x = stage(x)
        return self.head(global_average(x))
