"""What may be run: compiled programs that only this user could write, and files that the user has named.

A run folder from somebody else may name a file of Python code as its method, which `predict` would import.
"""

import grp
import hashlib
import os
import pwd
import stat
import warnings
from pathlib import Path

from experiments import method_names
from experiments.data import cache
from experiments.terminal import UserError


def make_private(folder: Path) -> str | None:
    """Makes a folder that only this user can write to, if there is none; else whether it is one.

    Returns why others may have put something into it, None if they cannot have.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if state.st_uid != os.geteuid():
        return "it belongs to another user"
    if state.st_mode & stat.S_IWOTH or (state.st_mode & stat.S_IWGRP and not _is_own_group(state.st_gid)):
        return "other users can write to it"
    return None


def _is_own_group(number: int) -> bool:
    """Whether a group is the one that many systems make for each user, who is alone in it."""
    try:
        group, user = grp.getgrgid(number), pwd.getpwuid(os.geteuid())
    # Containers run as users who have no names.
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def may_hold_programs(folder: Path) -> bool:
    """Whether compiled programs may be read from a folder; if not, a warning says why.

    A compiled program is code: whoever can write it decides what this process does.
    """
    try:
        reason = make_private(folder)
    except OSError as error:
        reason = f"it cannot be used: {error.strerror}"
    if reason:
        warnings.warn(
            f"{folder}: compiled programs are not kept there, since {reason}; give it to yourself alone with "
            f"chmod 700, or name another folder with the variable JAX_COMPILATION_CACHE_DIR",
            stacklevel=2,
        )
    return reason is None


def remember_own_code(method: str) -> None:
    """Notes which files of code the user has named in a method, by their content."""
    # A file that is not there is said by who imports it.
    for path in filter(Path.is_file, method_names.own_files(method)):
        folder = _noted()
        try:
            if make_private(folder) is None:
                (folder / _fingerprint(path)).touch()
        # It only means that it cannot be read later.
        except OSError as error:
            warnings.warn(f"{folder}: cannot be written ({error.strerror})", stacklevel=2)


def check_own_code(run_dir: Path, method: str) -> None:
    """Raises UserError if a run needs a file of code that the user has never named on this machine."""
    for path in method_names.own_files(method):
        if not path.is_file():
            raise UserError(f"{run_dir}: its method is in {path}, which is not there; bring it back")
        folder = _noted()
        if not (folder / _fingerprint(path)).exists() or make_private(folder) is not None:
            raise UserError(
                f"{run_dir}: its method is code in {path}, which has not been trained with on this machine "
                f"and is not run; read it, and if you trust it, train with it once with --method {path}:NAME"
            )


def _noted() -> Path:
    return cache.folder() / "own_code"


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
