"""What a network says of images when it is not being trained."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from experiments.data import stream
from experiments.training import devices
from experiments.training.steps import StepParts, over_seeds, prepare

CHUNK = 1000


def compile_evaluation(parts: StepParts, num_seeds: int) -> Callable:
    """`run_evaluation(params, statistics, inputs, images) -> logits`, of images in memory or a `Stream`.

    The images are evaluated in chunks that fit into memory; the function is compiled on first use.
    """

    def of_one_seed(params, statistics, inputs, images):
        return predicted_logits(
            parts, params, statistics, prepare(inputs, devices.split_batch(parts.mesh, images))
        )

    of_chunk = jax.jit(
        over_seeds(of_one_seed, num_seeds, (0, 0, None, None)), out_shardings=devices.replicated(parts.mesh)
    )

    # A loop of Python's: within a compiled one XLA is slow at convolutions on a CPU.
    def run_evaluation(params, statistics, inputs, images):
        chunks = stream.chunks(images, CHUNK)
        return np.concatenate([of_chunk(params, statistics, inputs, chunk) for chunk in chunks], axis=1)

    return run_evaluation


def predicted_logits(
    parts: StepParts, params: Any, statistics: Any, images: Float[Array, "n ..."]
) -> Float[Array, "n classes"]:
    """The logits of prepared images, averaged with those of their mirror images if `parts` asks for it."""
    of_images, _ = parts.network.apply(params, statistics, images, train=False)
    if not parts.evaluate_flipped:
        return of_images
    of_mirrored, _ = parts.network.apply(params, statistics, images[:, :, ::-1], train=False)
    return (of_images + of_mirrored) / 2
