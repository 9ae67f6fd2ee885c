"""Images per second of ResNet-18, ours and those of a plain PyTorch loop on the same device."""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import config, steps, train
from experiments.bench import timing

CLASSES = 10
# On a CPU: enough to see that both sides run.
REHEARSAL, FULL = {"examples": 32, "batch_size": 8}, {"examples": 12_800, "batch_size": 128}


def measure(blocks: int) -> dict[str, Any]:
    """An epoch of ours, with cross-entropy and with OGC, over PyTorch's, in both precisions."""
    rehearsal = jax.default_backend() == "cpu"
    size = REHEARSAL if rehearsal else FULL
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (size["examples"], 32, 32, 3), np.uint8)
    given = rng.integers(0, CLASSES, size["examples"]).astype(np.int32)
    has_pytorch = importlib.util.find_spec("torch") is not None
    if not has_pytorch:
        warnings.warn("PyTorch is not installed: ours are measured alone", stacklevel=2)
    return {
        "what": f"an epoch of ResNet-18 on {size['examples']} images of 32x32, batch {size['batch_size']}, "
        "crops, flips and the norm clip included; ratio: our time / PyTorch's",
        "rehearsal": rehearsal,
        "precisions": {
            precision: {
                method: _measure(method, precision, images, given, size["batch_size"], blocks, has_pytorch)
                for method in ("cross_entropy", "ogc")
            }
            for precision in ("float32", "bfloat16")
        },
    }


def _measure(
    method: str,
    precision: Any,
    images: np.ndarray,
    given: np.ndarray,
    batch_size: int,
    blocks: int,
    has_pytorch: bool,
) -> dict[str, Any]:
    ours = our_epoch(method, precision, images, given, batch_size)
    compiling = round(timing.first_call(ours), 1)
    if not has_pytorch:
        milliseconds = [timing.median_milliseconds(ours, blocks=blocks, calls=1)]
        timed: dict[str, Any] = {"milliseconds": milliseconds}
    else:
        from experiments.bench import pytorch_resnet

        theirs = pytorch_resnet.training_epoch(
            images, given, CLASSES, batch_size, bfloat16=precision == "bfloat16"
        )
        theirs()
        timed = timing.in_turn(ours, theirs, blocks=blocks, calls=1, interleaved=True)
    return {
        **timed,
        "images_per_second": [round(len(images) / ms * 1e3) for ms in timed["milliseconds"]],
        "first_call_seconds": compiling,
    }


def our_epoch(
    method: str, precision: Any, images: np.ndarray, given: np.ndarray, batch_size: int
) -> Callable[[], Any]:
    """An epoch as `train` runs it; each call goes on from where the last one ended."""
    experiment = config.Experiment(
        model=config.Model(model="resnet18", precision=precision),
        augmentation=config.Augmentation(augment=("crop", "flip")),
        optimization=config.Optimization(batch_size=batch_size),
    )
    parts = train.assemble(method, experiment, images.shape[1:], CLASSES, len(images))
    inputs = train.measure_inputs(images, standardize=True)
    state = train.initial_state(parts, experiment)
    run_epoch, _ = steps.compile_loops(parts, experiment)
    keys = train.seed_keys(experiment)
    arrays = jnp.asarray(images), jnp.asarray(given[None])

    def epoch():
        nonlocal state
        state, batches = run_epoch(state, inputs, *arrays, keys["order"], keys["augment"])
        return batches

    return epoch
