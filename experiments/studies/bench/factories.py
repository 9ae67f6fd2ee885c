"""What it costs to build each loss and transformation, in a fresh process."""

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import optax

import noisy_optax as nox
from noisy_optax import losses, sharpness


def factories() -> dict[str, Callable[[], Any]]:
    """One call of every factory that the library has."""
    rate = optax.cosine_decay_schedule(0.1, 100)
    gce = functools.partial(losses.generalized_cross_entropy, q=0.7)
    return {
        "ogc_loss": lambda: nox.ogc.ogc_loss(gce, learning_rate=rate),
        "clip_by_probability": lambda: nox.ogc.clip_by_probability(learning_rate=rate),
        "clip_by_gradient_norm": lambda: nox.ogc.clip_by_gradient_norm(bound=1.1),
        "dal": lambda: losses.dal(100, 100),
        "scheduled": lambda: nox.scheduled(losses.focal, gamma=optax.linear_schedule(0.0, 2.0, 10)),
        "clip_slope": lambda: losses.clip_slope(gce, tau=2.0),
        "of_probability": lambda: losses.of_probability(lambda p: 1 - p),
        "weighted_sum": lambda: losses.weighted_sum((losses.cross_entropy, 1.0), (losses.unhinged, 0.5)),
        "logit_bias": lambda: losses.logit_bias(1000),
        "with_logit_bias": lambda: losses.with_logit_bias(losses.mean_absolute_error, 0.5),
        "early_learning_regularization": lambda: nox.memory.early_learning_regularization(50_000, 10),
        "recommended": lambda: nox.recommended(50_000, 10),
        "saner": lambda: nox.saner(0.1, nox.schedules.saner_scale(steps_per_epoch=10)),
        "sam": sharpness.sam,
        "asam": sharpness.asam,
        "friendly_sam": sharpness.friendly_sam,
        "vasso": sharpness.vasso,
        "gsam": sharpness.gsam,
        "m_sharpness": lambda: sharpness.m_sharpness(sharpness.sam()),
        "training_step": lambda: nox.training_step(lambda w, x: x @ w, losses.cross_entropy, optax.sgd(rate)),
    }


def build_all() -> dict[str, float]:
    """Milliseconds of each; raises RuntimeError if one of them wakes a device."""
    milliseconds = {}
    for name, build in factories().items():
        began = time.perf_counter()
        build()
        milliseconds[name] = round(1e3 * (time.perf_counter() - began), 2)
        # No public way to ask.
        if jax._src.xla_bridge.backends_are_initialized():
            raise RuntimeError(f"{name} initialises a backend")
    return milliseconds


if __name__ == "__main__":
    print(json.dumps(build_all()))
