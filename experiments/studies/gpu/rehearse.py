"""Rehearses the GPU script on a CPU, end to end: digits as pictures, toy networks, killed and begun again."""

import argparse
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from experiments.data import digits
from experiments.studies.gpu import page, pictures, results
from experiments.studies.gpu.session import OUT_OF_TIME
from experiments.terminal import UserError
from noisy_optax import noise

SIDE, TRAIN_SHEETS, TEST_SHEETS = 8, 4, 1
TOY = ("--toy", "--epochs", "1", "--width", "16", "--batch-size", "64", "--precision", "float32")
# Killed when so many results are there, in the middle of the next.
KILLED_AFTER = 5
# Too short for all, and enough for all, on two cores.
SHORT_MINUTES, MINUTES = 0.4, 5.0


def write_digits(folder: Path) -> None:
    """Digits in the form of CIFAR-10's sheets, with label sets of the same names and drawn noise."""
    folder.mkdir(parents=True, exist_ok=True)
    found = digits.load()
    train_images, test_images = np.asarray(found.train_images), np.asarray(found.test_images)
    count, tested = TRAIN_SHEETS * SIDE**2, TEST_SHEETS * SIDE**2
    pictures.write_sheets(folder, "train", pictures.to_pictures(train_images[:count]), SIDE)
    pictures.write_sheets(folder, "test", pictures.to_pictures(test_images[:tested]), SIDE)
    clean = found.train_labels[:count]

    def corrupted(seed, rate):
        return np.asarray(noise.symmetric(jax.random.key(seed), clean, rate, num_classes=10).labels, np.uint8)

    np.savez(
        folder / "labels.npz",
        clean=clean.astype(np.uint8),
        cifar10n_worst=corrupted(0, 0.4),
        test=np.asarray(found.test_labels, np.uint8)[:tested],
    )


def rehearse(folder: Path) -> None:
    """Kills the script, begins it again with too little time, then with enough, then with nothing to do.

    Raises UserError for what went wrong.
    """
    shutil.rmtree(folder, ignore_errors=True)
    data, found = folder / "data", folder / "results"
    write_digits(data)
    command = [
        sys.executable, "-m", "experiments.studies.gpu", "--data", str(data), "--results", str(found), *TOY
    ]  # fmt: skip
    with subprocess.Popen([*command, "--minutes", str(MINUTES)]) as process:
        while process.poll() is None and len(_names(found)) < KILLED_AFTER:
            time.sleep(0.2)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    stages = [_names(found)]
    if len(stages[0]) < KILLED_AFTER:
        raise UserError(f"the script ended by itself after {len(stages[0])} results, see above")
    for minutes, why in (
        (SHORT_MINUTES, f"killed with {len(stages[0])} results; again, with too little time"),
        (MINUTES, "again, with enough time"),
        (MINUTES, "again, when there is nothing left to do"),
    ):
        print(f"--- {why}", flush=True)
        _check_ends_in_time(command, minutes, may_be_cut_short=minutes == SHORT_MINUTES)
        stages.append(_names(found))
    _check_nothing_lost_or_measured_twice(stages)
    print(f"--- {len(stages[-1])} results; {found / page.FILE}:\n\n{(found / page.FILE).read_text()}")


def _check_nothing_lost_or_measured_twice(stages: list[list[str]]) -> None:
    twice = [name for name, count in Counter(stages[-1]).items() if count > 1]
    if twice:
        raise UserError(f"measured twice: {', '.join(twice)}")
    for before, after in itertools.pairwise(stages):
        if after[: len(before)] != before:
            raise UserError(f"results were lost: {before} became {after}")
    if stages[-1] != stages[-2]:
        raise UserError(f"something was left to do: {stages[-1][len(stages[-2]) :]}")


def _names(folder: Path) -> list[str]:
    path = folder / results.FILE
    if not path.exists():
        return []
    # While the script writes, the last line may be a part of one.
    return [
        json.loads(line)["name"] for line in path.read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]


def _check_ends_in_time(command: list[str], minutes: float, *, may_be_cut_short: bool) -> None:
    started = time.monotonic()
    code = subprocess.run([*command, "--minutes", str(minutes)], check=False).returncode
    seconds = time.monotonic() - started
    expected = (0, OUT_OF_TIME) if may_be_cut_short else (0,)
    if code not in expected or seconds > 60 * minutes + 5:
        raise UserError(
            f"expected an exit code of {expected} within {minutes} minutes, got {code} after {seconds:.0f} s"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/rehearsal"), help="made anew")
    try:
        rehearse(parser.parse_args().folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
