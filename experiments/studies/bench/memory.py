"""What per-example state of 50,000 examples adds to a training step: a memory, or what an audit records."""

from typing import Any

from experiments.studies.bench import timing
from experiments.studies.bench.timed_step import BATCH_SIZE, Training

EXAMPLES, STEPS = 50_000, 10
# The digits' network, and the small CNN.
NETWORKS = {"mlp": (8, 8, 1), "cnn": (16, 16, 3)}
TARGETS = {"ELR": 1.05, "recommended": 1.05, "recorded": 1.02}


def measure(blocks: int) -> dict[str, Any]:
    """Training steps over cross-entropy's, donated, with the targets beside."""
    ratios = {}
    for network, shape in NETWORKS.items():

        def training(method, audited=None, network=network, shape=shape):
            return Training(method, network=network, shape=shape, examples=EXAMPLES, audited=audited)

        plain = training("cross_entropy")
        steps = {
            "ELR": training("elr"),
            "recommended": training("recommended"),
            "recorded": training("cross_entropy", EXAMPLES),
        }
        ratios[network] = {
            name: {
                "target": TARGETS[name],
                **timing.in_turn(step, plain, blocks=blocks, calls=STEPS, interleaved=True),
            }
            for name, step in steps.items()
        }
    return {
        "what": f"training step over cross-entropy's, batch {BATCH_SIZE}, {EXAMPLES} examples of 10 classes, "
        "state donated; recorded: cross-entropy with what nox.audit records",
        "step_over_cross_entropy": ratios,
    }
