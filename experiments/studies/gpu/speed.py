"""Images per second of ResNet-18 in training, ours and a plain PyTorch loop's, and the memory of both."""

import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.config import Augmentation, Experiment, Model, Optimization
from experiments.models.layers import Style
from experiments.models.network import Network, as_functions
from experiments.models.resnet import ResNet, basic_block
from experiments.studies.bench import timing
from experiments.studies.gpu.pictures import CLASSES, SIZE
from experiments.studies.whole_runs.whole_run import needed_bytes
from experiments.training import epoch_loops, setup, training_data

# What is compared: without a second gradient, with the refits of OGC, with a second gradient.
METHODS = ("cross_entropy", "ogc", "cross_entropy+saner")


class Size(NamedTuple):
    """How much is trained; the default is the real thing.

    Attributes:
      toy: a residual network of few channels in place of ResNet-18.
      blocks: how often ours and PyTorch's are timed in turn.
    """

    examples: int = 12_800
    batch_size: int = 128
    toy: bool = False
    blocks: int = 5


class Epoch(NamedTuple):
    """An epoch to call, and the memory that it needs; the next call goes on from where this one ended."""

    train: Callable[[], Any]
    bytes: int | None


def our_epoch(method: str, precision: Any, size: Size) -> Epoch:
    """An epoch as `train` runs it, compiled."""
    experiment = Experiment(
        model=Model(model="resnet18", precision=precision),
        augmentation=Augmentation(augment=("crop", "flip")),
        optimization=Optimization(batch_size=size.batch_size),
    )
    images, given = _examples(size)
    parts = setup.assemble(method, experiment, images.shape[1:], CLASSES, len(images))
    if size.toy:
        parts = parts._replace(network=_toy_network(precision))
    keys = training_data.seed_keys(experiment)
    state = setup.initial_state(parts, keys)
    arguments = (
        training_data.measure_inputs(images, scaling="standardize"),
        jnp.asarray(images),
        jnp.asarray(given[None]),
        keys["order"],
        keys["augment"],
    )
    if jax.default_backend() == "cpu":
        run_epoch, needed = epoch_loops.compile_loops(parts, experiment)[0], None
        run_epoch(state, *arguments)
        state = setup.initial_state(parts, keys)
    else:
        run_epoch = (
            epoch_loops.compile_epoch_loop(parts, size.batch_size, 1).lower(state, *arguments).compile()
        )
        needed = needed_bytes(run_epoch)

    def epoch():
        nonlocal state
        state, batches = run_epoch(state, *arguments)
        return batches

    return Epoch(epoch, needed)


def measure(method: str, precision: Any, ours: Epoch, size: Size) -> dict[str, Any]:
    """An epoch of ours, and its time over PyTorch's where that is installed."""
    found: dict[str, Any] = {
        "method": method,
        "precision": precision,
        "examples": size.examples,
        "batch_size": size.batch_size,
        "network": "a toy" if size.toy else "ResNet-18",
        "bytes": [ours.bytes, None],
    }
    if importlib.util.find_spec("torch") is None:
        milliseconds = [timing.median_milliseconds(ours.train, blocks=size.blocks, calls=1), None]
        return {**found, "milliseconds": milliseconds, "images_per_second": _rates(milliseconds, size)}
    from experiments.studies.gpu import plain_pytorch

    images, given = _examples(size)
    theirs = plain_pytorch.training_epoch(
        images, given, CLASSES, size.batch_size, bfloat16=precision == "bfloat16"
    )
    for epoch in (ours.train, theirs):
        timing.first_call(epoch)
    timed = timing.in_turn(ours.train, theirs, blocks=size.blocks, calls=1, interleaved=True)
    return {
        **found,
        **timed,
        "bytes": [ours.bytes, plain_pytorch.peak_bytes()],
        "images_per_second": _rates(timed["milliseconds"], size),
    }


def _rates(milliseconds: list[float | None], size: Size) -> list[int | None]:
    return [None if ms is None else round(size.examples / ms * 1e3) for ms in milliseconds]


def _examples(size: Size) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size.examples, SIZE, SIZE, 3), np.uint8)
    return images, rng.integers(0, CLASSES, size.examples).astype(np.int32)


def _toy_network(precision: Any) -> Network:
    style = Style("batch", jnp.dtype(precision))
    return as_functions(
        lambda rngs: ResNet((1, 1, 1, 1), basic_block, 3, CLASSES, style, channels=8, rngs=rngs),
        convolutional=True,
    )
