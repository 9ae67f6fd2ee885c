"""What a second gradient costs, and what SANER adds to it."""

from typing import Any

from experiments.studies.bench import timing
from experiments.studies.bench.timed_step import BATCH_SIZE, IMAGE_SHAPE, Training

STEPS = 10


def measure(blocks: int) -> dict[str, Any]:
    """SANER's training step over SGD's and over SAM's, with the targets beside."""
    sgd, sam, saner = (Training(f"cross_entropy{name}") for name in ("", "+sam", "+saner"))
    return {
        "what": f"training step of the CNN on {IMAGE_SHAPE} images, batch {BATCH_SIZE}, cross-entropy",
        "saner_over_sgd": {
            "target": 2.05,
            **timing.in_turn(saner, sgd, blocks=blocks, calls=STEPS, interleaved=True),
        },
        "saner_over_sam": {
            "target": 1.02,
            **timing.in_turn(saner, sam, blocks=blocks, calls=STEPS, interleaved=True),
        },
        "first_call_seconds": [run.first_call_seconds for run in (sgd, sam, saner)],
    }
