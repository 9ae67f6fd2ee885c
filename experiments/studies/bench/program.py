"""What XLA makes of training: operations of a step, what is written in place, what is compiled again."""

import contextlib
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments import config
from experiments.studies.bench.timed_step import BATCH_SIZE, IMAGE_SHAPE, Training
from experiments.terminal import Progress
from experiments.training import loop

# Enough for the queue of optimized gradient clipping to be full, and for a refit.
EPOCHS = 4
METHODS = "cross_entropy", "dal", "recommended", "ogc", "cross_entropy+sam", "cross_entropy+saner"


def measure(blocks: int) -> dict[str, Any]:
    """Counts; nothing is timed."""
    return {
        "what": f"compiled training step of the CNN on {IMAGE_SHAPE} images, batch {BATCH_SIZE}",
        "steps": {method: compiled_step(method) for method in METHODS},
        "compilations": {method: compilations(method) for method in METHODS},
    }


def compiled_step(method: str) -> dict[str, Any]:
    """Operations after XLA's optimization, by where they run, and the share of the state written in place.

    Operations within a fused kernel count as one; those of a branch, a refit say, run only where it is taken.
    """
    training = Training(method)
    compiled = training.step.lower(training.state, *training.batch, indices=training.indices).compile()
    memory = compiled.memory_analysis()
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(training.state))
    return {
        **count_operations(compiled.as_text() or ""),
        "share_of_state_donated": None if memory is None else round(memory.alias_size_in_bytes / size, 4),
    }


def count_operations(program: str) -> dict[str, int]:
    """Operations of an HLO program that every run carries out, and those of its branches and loops."""
    computations: dict[str, list[str]] = {}
    for line in program.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            name = line.removeprefix("ENTRY ").split()[0].lstrip("%")
            computations[name] = computations["entry"] = []
        elif " = " in line and not _FREE.search(line):
            computations[name].append(line)

    def branches_of(name, seen):
        for line in computations[name]:
            for names in _BRANCHES.findall(f"{line},"):
                for branch in re.findall(r"[\w.-]+", " ".join(names)):
                    if branch not in seen:
                        seen.add(branch)
                        branches_of(branch, seen)
        return seen

    branches = branches_of("entry", set())
    return {
        "every_step": len(computations["entry"]),
        "in_branches_and_loops": sum(len(computations[name]) for name in branches),
    }


# Names for values, which cost nothing.
_FREE = re.compile(r" (parameter|constant|get-tuple-element|tuple|bitcast)\(")
# What is fused, or applied by a reduction, is part of the operation that names it.
_BRANCHES = re.compile(
    r"(?:branch_computations=\{(.*?)\}|(?:true_computation|false_computation|body|condition)=(\S+?)[,)])"
)


def compilations(method: str) -> list[int]:
    """What XLA is asked to compile in each of the first epochs of `train`, whole epochs with all they do."""
    counts = [0]

    def count(event: str, duration_secs: float, **_: str | int) -> None:
        counts[-1] += event == "/jax/core/compile/backend_compile_duration"

    experiment = config.Experiment(
        optimization=config.Optimization(epochs=EPOCHS), model=config.Model(width=32), checkpoint_every=1
    )
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        with tempfile.TemporaryDirectory() as folder:
            loop.train(method, experiment, Path(folder) / "run", _Epochs(lambda: counts.append(0)))
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    # Behind the last epoch come the summary and the pictures.
    return counts[:EPOCHS]


class _Epochs(Progress):
    """Says nothing, and calls a function after each epoch."""

    def __init__(self, after_epoch: Callable[[], None]):
        super().__init__(Console(quiet=True))
        self._after_epoch = after_epoch

    @contextlib.contextmanager
    def epochs(self, name: str, done: int, total: int) -> Iterator[Callable[[int, str], None]]:
        yield lambda epoch, measured: self._after_epoch()
