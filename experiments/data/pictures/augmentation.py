"""Random changes of training images: pure functions of a key and a batch, in raw pixels.

Padding is 0 before any normalisation, which is black; bytes stay bytes.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Num, PRNGKeyArray

from experiments.terminal import UserError, check_range

Images = Num[Array, "batch height width channels"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of training images, new ones each epoch."""

    augment: tuple[Literal["crop", "flip", "rotate"], ...] = ()
    """In the order given: `crop` pads with black and cuts out the old size; `flip` mirrors left and right
    half of the time; `rotate` turns about the centre, with black corners."""
    crop_padding: int = 4
    """Pixels of padding on each side."""
    rotation_degrees: float = 15.0
    """Largest angle, either way."""
    evaluate_flipped: bool = False
    """Predict with the mean logits of each image and its mirror image."""


def check(augmentation: Augmentation) -> None:
    """Raises UserError for values that no single flag's type can rule out."""
    check_range("--crop-padding", augmentation.crop_padding, 1)
    check_range("--rotation-degrees", augmentation.rotation_degrees, 0, 180, exclude=(0,))
    if len(set(augmentation.augment)) < len(augmentation.augment):
        raise UserError(
            f"--augment takes each change once, got {' '.join(augmentation.augment)}; leave out the second"
        )


def build(
    config: Augmentation, input_shape: tuple[int, ...]
) -> Callable[[PRNGKeyArray, Images], Images] | None:
    """The changes that the configuration names, one after the other; None if there are none."""
    if not config.augment:
        return None
    if len(input_shape) != 3:
        raise UserError(f"--augment needs images [N, H, W, C], got [N, {input_shape[0]}]; leave it out")
    changes = {
        "crop": lambda key, images: random_crop(key, images, config.crop_padding),
        "flip": random_flip,
        "rotate": lambda key, images: random_rotation(key, images, config.rotation_degrees),
    }

    def augment(key, images):
        for i, name in enumerate(config.augment):
            images = changes[name](jax.random.fold_in(key, i), images)
        return images

    return augment


def random_crop(key: PRNGKeyArray, images: Images, padding: int) -> Images:
    """Each image padded with `padding` black pixels on all sides, and a window of its old size."""
    batch, height, width, channels = images.shape
    around = (padding, padding)
    padded = jnp.pad(images, ((0, 0), around, around, (0, 0)))
    corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

    # The fastest of four ways to write this: gathers and one-hot matrix products take longer.
    def window(image, corner):
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

    return jax.vmap(window)(padded, corners)


def random_flip(key: PRNGKeyArray, images: Images) -> Images:
    """Each image mirrored left to right, or not."""
    mirrored = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def random_rotation(key: PRNGKeyArray, images: Images, degrees: float) -> Images:
    """Each image turned by an angle of up to `degrees` either way."""
    limit = math.radians(degrees)
    return rotate(images, jax.random.uniform(key, (len(images),), minval=-limit, maxval=limit))


def rotate(images: Images, radians: Float[Array, "batch"]) -> Images:
    """Each image turned counter-clockwise about its centre, interpolated linearly, black where it was not."""
    _, height, width, _ = images.shape
    y, x = (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 for size in (height, width))

    def turn(image, angle):
        # Where each new pixel was before; the y axis points down.
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        was_y = cos * y[:, None] + sin * x[None, :] + (height - 1) / 2
        was_x = cos * x[None, :] - sin * y[:, None] + (width - 1) / 2
        interpolate = functools.partial(
            map_coordinates, coordinates=(was_y, was_x), order=1, mode="constant", cval=0.0
        )
        return jax.vmap(interpolate, in_axes=-1, out_axes=-1)(image.astype(jnp.float32))

    turned = jax.vmap(turn)(images, radians)
    return (
        jnp.round(turned).astype(images.dtype) if images.dtype == jnp.uint8 else turned.astype(images.dtype)
    )
