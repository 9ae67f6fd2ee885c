"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016)."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from experiments.models.layers import Style, global_average, linear, norm, normalize
from experiments.models.resnet import plain_conv


class PreActivationBlock(nnx.Module):
    """Norm, ReLU, 3x3 convolution, twice; the first convolution has the stride.

    Where the shape changes, the shortcut is a 1x1 convolution of the first ReLU's output, without a norm;
    where it does not, the untouched input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, style: Style, *, rngs: nnx.Rngs):
        changes = stride != 1 or inputs != outputs
        self.norms = nnx.List([norm(style.norm, features, rngs=rngs) for features in (inputs, outputs)])
        self.first = plain_conv(inputs, outputs, style, stride=stride, rngs=rngs)
        self.second = plain_conv(outputs, outputs, style, rngs=rngs)
        self.shortcut = nnx.data(
            plain_conv(inputs, outputs, style, size=1, stride=stride, rngs=rngs) if changes else None
        )

    def __call__(self, x: Array) -> Array:
        """The block's output."""
        activated = jax.nn.relu(normalize(self.norms[0], x))
        y = self.second(jax.nn.relu(normalize(self.norms[1], self.first(activated))))
        return y + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(nnx.Module):
    """WRN-depth-widening: three stages of `(depth - 4) / 6` blocks, 16, 32 and 64 times `widening` wide."""

    def __init__(
        self,
        depth: int,
        widening: int,
        input_channels: int,
        num_classes: int,
        style: Style,
        *,
        rngs: nnx.Rngs,
    ):
        self.dtype = style.dtype
        self.stem = plain_conv(input_channels, 16, style, rngs=rngs)
        stages, before = [], 16
        for i in range(3):
            features = 2**i * 16 * widening
            blocks = [
                PreActivationBlock(
                    before if j == 0 else features, features, 2 if i > 0 and j == 0 else 1, style, rngs=rngs
                )
                for j in range((depth - 4) // 6)
            ]
            stages.append(nnx.Sequential(*blocks))
            before = features
        self.stages = nnx.List(stages)
        self.norm = norm(style.norm, before, rngs=rngs)
        self.head = linear(before, num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width channels"]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = self.stem(images.astype(self.dtype))
        for stage in self.stages:
            x = stage(x)
        return self.head(global_average(jax.nn.relu(normalize(self.norm, x))))
