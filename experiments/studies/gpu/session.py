"""A session of so many minutes: jobs in the order of their value, each begun only if it can be finished."""

import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from experiments.runs import run_folder
from experiments.studies.gpu import results
from experiments.terminal import UserError, one_line

# A job is begun if this many times what it is expected to take is left.
MARGIN = 1.15
# What is kept of the minutes for writing the page and for leaving.
RESERVE_SECONDS = 3.0
OUT_OF_TIME = 75


class Job(NamedTuple):
    """Something to measure.

    Attributes:
      name: what the results call it; what they hold already is not measured again.
      expected: seconds it will take, from what has been measured so far; 0 if that is not known.
      run: measures, and returns the result without its name.
    """

    name: str
    expected: Callable[[], float]
    run: Callable[[], dict[str, Any]]


class Session:
    """The clock, the log and the results folder of a call of the script; its minutes count from `started`."""

    def __init__(
        self,
        minutes: float,
        folder: Path,
        say: Callable[[str], None],
        *,
        started: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._clock, self._started = clock, clock() if started is None else started
        self._seconds = 60 * minutes
        self._say = say
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.results = results.read(folder)
        self.failed = 0
        self._provenance = run_folder.provenance()

    def left(self) -> float:
        """Seconds until the session has to end."""
        return self._seconds - RESERVE_SECONDS - (self._clock() - self._started)

    def say(self, text: str) -> None:
        """One line, with the seconds since the start."""
        self._say(f"{self._clock() - self._started:6.1f} s  {text}")

    def has(self, name: str) -> bool:
        """Whether the results hold a job."""
        return any(result["name"] == name for result in self.results)

    def carry_out(self, job: Job) -> None:
        """Measures a job and writes its result at once, unless it is there or would take too long."""
        if self.has(job.name):
            self.say(f"{job.name}: already measured")
            return
        expected = MARGIN * job.expected()
        if self.left() <= expected:
            self.say(
                f"{job.name}: left out, would take {expected:.0f} s, {max(self.left(), 0):.0f} s are left"
            )
            return
        self.say(f"{job.name}: begins")
        started = self._clock()
        try:
            measured = job.run()
        except TimeoutError as late:
            self.say(f"{job.name}: left out, {late}")
            return
        # One job that fails, for example because the memory is full, must not take the others' minutes too.
        except Exception as error:
            self.failed += 1
            warnings.warn(f"{job.name} failed: {one_line(error)[:500]}", stacklevel=2)
            return
        result = {"name": job.name, **measured, "provenance": self._provenance}
        results.add(self.folder, result)
        self.results.append(result)
        self.say(f"{job.name}: measured in {self._clock() - started:.1f} s")

    def end_at_the_latest(self) -> None:
        """Ends the process when the minutes are over, in the middle of a job that took too long."""

        def end():
            self.say("the minutes are over; what was being measured is lost, the same command goes on")
            leave(OUT_OF_TIME)

        watchdog = threading.Timer(self.left() + RESERVE_SECONDS, end)
        watchdog.daemon = True
        watchdog.start()


def leave(code: int) -> None:
    """Ends the process at once: programs that are still being compiled in threads cannot be called off."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def check_minutes(minutes: float) -> None:
    """Raises UserError for a time that is over before it begins."""
    if not 60 * minutes > RESERVE_SECONDS:
        raise UserError(f"--minutes must be more than {RESERVE_SECONDS / 60:g}, got {minutes:g}")
