"""How much memory there is, so that what would not fit is refused before it is read."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from experiments.terminal import UserError

# What is read is held a second time, at least, as the part that is trained on.
COPIES = 2


def check_fits(what: str, size: int, advice: str) -> None:
    """Raises UserError if `size` bytes and a copy of them are more than the memory that is available.

    A small file may say that it holds any number of bytes: zeros compress to a thousandth.

    Args:
      what: is read, for the message.
      size: in bytes.
      advice: what to do about it.
    """
    room = available()
    if COPIES * size > room:
        raise UserError(
            f"{what} holds {size / 2**30:,.1f} GiB, which need {COPIES * size / 2**30:,.1f} GiB of memory; "
            f"{room / 2**30:,.1f} GiB are available; {advice}"
        )


def available() -> int:
    """Bytes that can still be used on this machine, and no more than a container may use in all."""
    return min(_of_machine(), *_of_container())


def _of_machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    # Another system, which may only say how much there is in all.
    except (OSError, StopIteration, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_container() -> Iterator[int]:
    yield 2**63
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        # There is none, or it is called `max`.
        with contextlib.suppress(OSError, ValueError):
            yield int(Path("/sys/fs/cgroup", name).read_text())
