"""A multi-layer perceptron."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from experiments.models.layers import Style, linear, norm, normalize


class MLP(nnx.Module):
    """Two hidden layers of `width` units."""

    def __init__(self, inputs: int, num_classes: int, width: int, style: Style, *, rngs: nnx.Rngs):
        self.dtype = style.dtype
        self.hidden = nnx.List(
            [linear(before, width, dtype=style.dtype, rngs=rngs) for before in (inputs, width)]
        )
        self.norms = nnx.List([norm(style.norm, width, rngs=rngs) for _ in range(2)])
        self.head = linear(width, num_classes, rngs=rngs)

    def __call__(self, images: Float[Array, "batch ..."]) -> Float[Array, "batch classes"]:
        """Logits."""
        x = images.reshape(images.shape[0], -1).astype(self.dtype)
        for layer, norm_of_layer in zip(self.hidden, self.norms, strict=True):
            x = jax.nn.relu(normalize(norm_of_layer, layer(x)))
        return self.head(x.astype(jnp.float32))
