"""Whole commands: how long the comparison takes, and what a run that was killed ends with."""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.runs import saved_model
from experiments.studies.bench import startup

EPOCHS, KILLED_AFTER = 30, 10


def measure(blocks: int) -> dict[str, Any]:
    """Each in processes of its own."""
    return {"compare": compare(), "killed_and_resumed": killed_and_resumed()}


def compare() -> dict[str, Any]:
    """Seconds of the default comparison, with nothing compiled before and again."""
    flags = ["--noise", "symmetric", "--noise-rate", "0.4", "--seeds", "3"]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        environment = startup.environment(JAX_COMPILATION_CACHE_DIR=str(Path(folder) / "compiled"))
        for run in ("first", "again"):
            command = [sys.executable, "-m", "experiments", "compare", *flags, "--run-dir", f"{folder}/{run}"]
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            seconds.append(round(time.perf_counter() - began, 1))
    return {
        "what": f"seconds of `compare {' '.join(flags)}`: its ten methods, 100 epochs, digits",
        "nothing_compiled": seconds[0],
        "compiled_before": seconds[1],
    }


def killed_and_resumed() -> dict[str, Any]:
    """Whether a run of `train` that SIGKILL ended goes on to the parameters of one that nobody disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        whole, killed, compiled = (Path(folder) / name for name in ("whole", "killed", "compiled"))
        startup.start_training(whole, compiled, EPOCHS).wait()
        process = startup.start_training(killed, compiled, EPOCHS)
        startup.wait_for_epochs(process, killed, KILLED_AFTER)
        process.send_signal(signal.SIGKILL)
        ended = process.wait()
        startup.start_training(killed, compiled, EPOCHS).wait()
        expected, found = (jax.tree.leaves(saved_model.restore(run).state) for run in (whole, killed))
    return {
        "what": f"`train` of {EPOCHS} epochs, killed after {KILLED_AFTER}, against one that was not",
        "exit_code_of_the_killed": ended,
        "arrays": len(expected),
        "arrays_that_differ": sum(not np.array_equal(a, b) for a, b in zip(expected, found, strict=True)),
    }
