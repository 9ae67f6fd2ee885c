"""What a user waits for before anything has been trained: imports, factories, the first epoch of `train`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies.bench import timing
from experiments.terminal import UserError

FIRST_EPOCHS = 3


def measure(blocks: int) -> dict[str, Any]:
    """All in processes of their own."""
    return {"import": imports(blocks), "factories": factories(), "first_epoch": first_epochs()}


def factories() -> dict[str, Any]:
    """Milliseconds to build each loss and transformation, the median of three processes."""
    command = [sys.executable, "-m", "experiments.studies.bench.factories"]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, env=environment()).stdout)
        for _ in range(3)
    ]
    return {
        "what": "milliseconds to build it after the import, no backend initialised",
        "milliseconds": {name: float(np.median([run[name] for run in runs])) for name in runs[0]},
    }


def imports(blocks: int) -> dict[str, Any]:
    """Importing `noisy_optax` over importing `optax`, in turn."""
    pair = "noisy_optax", "optax"
    # The first ones write bytecode and fill the cache of the file system.
    for name in pair:
        _import_seconds(name)
    times = np.zeros((blocks, 2))
    for block in range(blocks):
        for which in (0, 1) if block % 2 == 0 else (1, 0):
            times[block, which] = _import_seconds(pair[which])
    return {"what": "import noisy_optax / import optax, a process each", **timing.ratio(times)}


def _import_seconds(name: str) -> float:
    code = f"import time; began = time.perf_counter(); import {name}; print(time.perf_counter() - began)"
    command = [sys.executable, "-c", code]
    return float(subprocess.run(command, check=True, capture_output=True, env=environment()).stdout)


def environment(**more: str) -> dict[str, str]:
    """As it is for a user, whose second start finds the bytecode of the first."""
    return {**os.environ, **more} | {"PYTHONDONTWRITEBYTECODE": ""}


def first_epochs() -> dict[str, Any]:
    """Seconds from the start of `train` on digits until its first epoch is written down.

    The time of a start with nothing compiled before, and the median of starts that find its programs.
    """
    with tempfile.TemporaryDirectory() as folder:
        seconds = [
            first_epoch(Path(folder) / str(run), Path(folder) / "compiled") for run in range(1 + FIRST_EPOCHS)
        ]
    return {
        "what": "seconds from the start of `train` on digits until its first epoch is in metrics.jsonl",
        "nothing_compiled": round(seconds[0], 2),
        "compiled_before": round(float(np.median(seconds[1:])), 2),
        "each": [round(number, 2) for number in seconds],
    }


def first_epoch(run_dir: Path, compiled: Path) -> float:
    """Seconds of one start of `train`, whose compiled programs are kept in a folder."""
    began = time.perf_counter()
    process = start_training(run_dir, compiled, epochs=1)
    wait_for_epochs(process, run_dir, 1)
    seconds = time.perf_counter() - began
    process.wait()
    return seconds


def start_training(run_dir: Path, compiled: Path, epochs: int) -> subprocess.Popen:
    """`train` on digits in a process of its own."""
    flags = ["--epochs", str(epochs), "--checkpoint-every", "1", "--run-dir", str(run_dir)]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", "train", *flags],
        stdout=subprocess.DEVNULL,
        env=environment(JAX_COMPILATION_CACHE_DIR=str(compiled)),
    )


def wait_for_epochs(process: subprocess.Popen, run_dir: Path, epochs: int) -> None:
    """Until so many are written down; UserError if the process ends before."""
    written = run_dir / "metrics.jsonl"

    def done() -> bool:
        return written.exists() and written.read_text().count("\n") >= epochs

    while not done():
        # It may have written the last one and ended since.
        if process.poll() is not None and not done():
            raise UserError(f"`train` ended with exit code {process.returncode}; see what it printed above")
        time.sleep(0.005)
