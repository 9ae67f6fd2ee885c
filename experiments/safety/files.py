"""Files that may come from somebody else: what is opened, what is followed, what is written over."""

import os
import stat
from pathlib import Path
from typing import IO, Any

from experiments.terminal import UserError


def regular(path: Path) -> Path:
    """The path itself; raises UserError for a pipe, a device or a socket.

    To open one could wait without an end, or give bytes without an end.
    """
    try:
        mode = path.stat().st_mode
    # Whoever opens it says why that is not possible.
    except (OSError, ValueError):
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path}: is a {_kind(mode)}; expected a regular file")
    return path


def check_is_plain(folder: Path) -> None:
    """Raises UserError if there is anything but files and folders in a folder.

    A run folder may come from somebody else, and a link in it could lead what is read or written elsewhere.
    The folder itself may be reached by a link.
    """
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(where, name)
            try:
                mode = path.lstat().st_mode
            # Another process has just removed it.
            except FileNotFoundError:
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise UserError(
                    f"{path}: is a {_kind(mode)}; expected only files and folders in a run folder; replace "
                    f"it by a copy, or remove it"
                )


def make_anew(path: Path) -> None:
    """Makes an empty file; what was there is removed, and a link is not followed."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))


def open_to_append(path: Path) -> IO[Any]:
    """A text file to read and to append to, made if it is not there; OSError for a link."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666), "a+")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")
