"""What Ctrl-C does, whatever the program is doing: one line, and exit code 130 within seconds.

Nothing here imports anything that takes time, since the imports of a command can be interrupted too.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from types import FrameType

CODE = 130
SAID = "interrupted; a training run resumes at its last checkpoint"
# What is cut off after so many is what a kill cuts off: a run survives it.
SECONDS = 3.0


def install() -> threading.Event:
    """Lets Ctrl-C end this process; the event is set from then on.

    Within the main thread it is a KeyboardInterrupt, as always. A library may be in a long call, or may drop
    or translate that; so a thread of its own ends the process if it is still there after some seconds. What
    libraries say while they are interrupted goes nowhere.
    """
    pressed, said = threading.Event(), threading.Event()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # The interpreter writes the number of each signal there at once, even within a long call.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_after_a_while, args=(reading, said), daemon=True).start()

    def raise_interrupt(_: int, frame: FrameType | None) -> None:
        pressed.set()
        said.wait(1)
        # A compiled module that is interrupted while it is imported crashes later; and imports write nothing.
        if is_importing(frame):
            leave(CODE)
        raise KeyboardInterrupt

    def end_if_pressed(*error: object) -> None:
        if pressed.is_set():
            leave(CODE)
        sys.__excepthook__(*error)  # type: ignore[arg-type]  # as it comes

    signal.signal(signal.SIGINT, raise_interrupt)
    sys.excepthook = end_if_pressed
    return pressed


def _end_after_a_while(reading: int, said: threading.Event) -> None:
    while os.read(reading, 1)[0] != signal.SIGINT:
        pass
    with contextlib.suppress(OSError):
        os.write(2, f"{SAID}\n".encode())
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    said.set()
    time.sleep(SECONDS)
    leave(CODE)


def is_importing(frame: FrameType | None) -> bool:
    """Whether an import is among what is being done."""
    while frame is not None:
        if "importlib._bootstrap" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def leave(code: int) -> None:
    """Ends this process now, without what libraries do at the end of one."""
    with contextlib.suppress(OSError):
        # A progress bar hides it.
        if os.isatty(1):
            os.write(1, b"\x1b[?25h")
    os._exit(code)


def say_unless_said() -> None:
    """Says the line where nobody has installed what says it."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN, None):
        print(SAID, file=sys.stderr)
