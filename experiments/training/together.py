"""Several processes of one run end together: an error of one is said by all, within seconds."""

import contextlib
import os
import platform
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.safety import interrupts
from experiments.terminal import UserError, one_line

# How often each process looks whether another has failed, and how long the first one waits for the others.
SECONDS, HEARD = 0.2, 3.0


@contextlib.contextmanager
def ending_together(run_dir: Path) -> Iterator[None]:
    """Within the `with`, an error of one process ends all of them with exit code 2.

    JAX has no public way to tell other processes of an error: they would wait for the one that has failed, in
    the next step, until a time-out of minutes. So it writes a file beside the run folder, which the hosts
    share, and a thread of each process looks for it. On a network disk that may take as long as that disk
    takes to show a new file.
    """
    if jax.process_count() == 1:
        yield
        return
    # The number is that of this start: a file that a kill left behind means nothing to the next one.
    number = int(multihost_utils.broadcast_one_to_all(np.int32(time.time_ns() % 2**31)))
    path, done = run_dir.parent / f".{run_dir.name}-{number}.failed", threading.Event()
    watch = threading.Thread(target=_leave_if_told, args=(path, done), daemon=True)
    watch.start()
    try:
        yield
    except Exception as error:
        done.set()
        watch.join()
        # An error that only follows from another's, as of a connection that is closed, is not said.
        if not path.exists():
            _tell(path, error)
        _say_and_leave(path)
    finally:
        done.set()


def _leave_if_told(path: Path, done: threading.Event) -> None:
    while not done.wait(SECONDS):
        if path.exists():
            _say_and_leave(path)


def _tell(path: Path, error: Exception) -> None:
    """Writes what failed for all to say, unless another has been first."""
    if not isinstance(error, UserError | OSError):
        traceback.print_exc()
    said = f"process {jax.process_index()} of {jax.process_count()}, on {platform.node()}: {one_line(error)}"
    own = path.with_name(f"{path.name}.{jax.process_index()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(said, encoding="utf-8", errors="replace")
        # Whole at once, and only if there is none.
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
        own.unlink()
    except OSError:
        # Nothing can be written there: the others are ended by JAX, after its time-out.
        print(f"error: {said}", file=sys.stderr, flush=True)
        interrupts.leave(2)


def _say_and_leave(path: Path) -> None:
    """Says what the first that failed has written, and ends this process."""
    print(f"error: {path.read_text(encoding='utf-8')}", file=sys.stderr, flush=True)
    if jax.process_index() == 0:
        # Last of all: JAX aborts those that lose the first process.
        time.sleep(HEARD)
        path.unlink(missing_ok=True)
    # At the usual end, JAX would wait for all other processes.
    interrupts.leave(2)
