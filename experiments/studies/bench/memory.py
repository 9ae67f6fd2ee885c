"""What a memory of 50,000 examples and ten classes adds to a training step."""

from typing import Any

from experiments.studies.bench import timing
from experiments.studies.bench.timed_step import BATCH_SIZE, Training

EXAMPLES, STEPS = 50_000, 10
# The digits' network, and the small CNN.
NETWORKS = {"mlp": (8, 8, 1), "cnn": (16, 16, 3)}


def measure(blocks: int) -> dict[str, Any]:
    """The step of early-learning regularization over cross-entropy's, donated, with the target beside."""
    return {
        "what": f"training step, batch {BATCH_SIZE}, a memory of {EXAMPLES} x 10, state donated",
        "elr_over_cross_entropy": {
            network: {"target": 1.05, **_ratio(network, blocks)} for network in NETWORKS
        },
    }


def _ratio(network: Any, blocks: int) -> dict[str, Any]:
    elr, plain = (
        Training(method, network=network, shape=NETWORKS[network], examples=EXAMPLES)
        for method in ("elr", "cross_entropy")
    )
    return timing.in_turn(elr, plain, blocks=blocks, calls=STEPS, interleaved=True)
