"""Checkpoints between the steps of an epoch, for data that take hours to read once."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from experiments.terminal import UserError
from experiments.training.checkpoints import Checkpoints, abstract


class Done(NamedTuple):
    """What the first steps of an epoch leave behind; of full length, for a checkpoint of fixed shape."""

    losses: Float[np.ndarray, "1 steps"]
    predictions: Int[np.ndarray, "1 steps batch"]


def nothing_done(steps_per_epoch: int, batch_size: int) -> Done:
    """An epoch before its first step."""
    shape = (1, steps_per_epoch, batch_size)
    return Done(np.zeros(shape[:2], np.float32), np.zeros(shape, np.int32))


class WithinEpochs:
    """Checkpoints between the steps of an epoch, numbered by the steps since the run began."""

    def __init__(self, run_dir: Path, every: int, steps_per_epoch: int, batch_size: int):
        self._folder = run_dir / "checkpoints-within-epochs"
        self._checkpoints = Checkpoints(self._folder)
        self._every, self._steps_per_epoch = every, steps_per_epoch
        self._first, self._done = 0, nothing_done(steps_per_epoch, batch_size)

    def restore(
        self, epoch: int, run: Any, sharding: jax.sharding.Sharding | None = None
    ) -> tuple[int, int, Any]:
        """Epochs, further steps and the run at the newest checkpoint here, unless `epoch` is further on."""
        try:
            found = self._checkpoints.restore(abstract((run, self._done), sharding))
        except UserError:
            # All are damaged, as warnings have said; what is lost is less than an epoch.
            found = None
        if found is not None and found[0] > epoch * self._steps_per_epoch:
            (epoch, self._first), (run, self._done) = divmod(found[0], self._steps_per_epoch), found[1]
        self._checkpoints.set_aside_after(epoch * self._steps_per_epoch + self._first)
        return epoch, self._first, run

    def arguments(self, epoch: int, run: Any) -> dict[str, Any]:
        """For `run_epoch`: where to begin, the first time, and what to do after each step."""

        def keep(step, state, done):
            number = epoch * self._steps_per_epoch + step
            if number % self._every == 0:
                self._checkpoints.save(number, (run._replace(state=state), done()))

        first, self._first = self._first, 0
        return {"first": first, "done": self._done, "keep": keep}

    def remove(self) -> None:
        """For when the run is finished."""
        self._checkpoints.close()
        shutil.rmtree(self._folder)
