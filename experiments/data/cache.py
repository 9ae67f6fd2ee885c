"""Arrays that took long to make, kept in the user's cache folder under what they were made from."""

import contextlib
import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from experiments.terminal import UserError


def folder() -> Path:
    """`noisy_optax` in the user's cache folder, which XDG_CACHE_HOME may name.

    Raises UserError for a user without a home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "noisy_optax"
    except RuntimeError as error:
        raise UserError(
            "there is no home folder to keep a copy in; name a folder with the variable XDG_CACHE_HOME"
        ) from error


def free_space() -> int:
    """Bytes left on the disk of the folder, which may not be there yet."""
    there = next(path for path in (folder().absolute(), *folder().absolute().parents) if path.is_dir())
    return shutil.disk_usage(there).free


def fingerprint(*parts: object) -> str:
    """A hash of the parts' text."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def state_of(path: Path) -> tuple[int, ...]:
    """What the system says of a file and is no longer so once its content is another.

    The number and the time of change catch a file that was replaced or rewritten under its old size and date,
    which a program can set. What is still trusted: a disk that does not keep a time of change (FAT, some
    network disks), two changes within one tick of its clock, and what is done to a disk under the system.
    """
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def arrays(name: str, key: str, make: Callable[[], dict[str, NDArray]]) -> dict[str, NDArray]:
    """What `make` returns, from the file `name` if that was written under the same `key` and is whole.

    There is one file for a name: what has changed takes the place of what it was.
    """
    try:
        path = folder() / f"{name}.npz"
    except UserError:
        return make()
    found = _read(path, key)
    if found is None:
        found = make()
        _write(path, key, found)
    return found


def _read(path: Path, key: str) -> dict[str, NDArray] | None:
    try:
        # The archive's checksums are compared as the arrays are read.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if str(archive["key"]) != key:
                return None
            return {name: archive[name] for name in archive.files if name != "key"}
    # Damaged, of another program, not there: made anew, whatever it is.
    except Exception:
        return None


def mapped(name: str, key: str, source: IO[bytes], before_copying: Callable[[], None]) -> NDArray:
    """A memory map of the .npy file that `source` holds, copied to the folder `name` if it is not there.

    What the folder has under another key is removed. Raises UserError if the copy cannot be written, and
    what NumPy raises if `source` holds something else.
    """
    path = folder() / name / f"{key}.npy"
    # Damaged, of another program, not there: copied anew, whatever it is.
    with contextlib.suppress(Exception):
        return np.lib.format.open_memmap(path, mode="r")
    before_copying()
    try:
        with _replacing(path) as unfinished:
            with unfinished.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
            np.lib.format.open_memmap(unfinished, mode="r")
        for older in set(path.parent.glob("*.npy")) - {path}:
            older.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); make room, or name another folder with the "
            f"variable XDG_CACHE_HOME"
        ) from error
    return np.lib.format.open_memmap(path, mode="r")


def _write(path: Path, key: str, content: dict[str, NDArray]) -> None:
    try:
        with _replacing(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, key=np.array(key), **content)  # type: ignore[arg-type]
    except OSError as error:
        warnings.warn(
            f"{path}: cannot be written ({error.strerror}); the images are read anew next time", stacklevel=2
        )


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to within the `with`, after which it takes the place of `path` or is removed."""
    # Two runs may read the same folder at once.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.unfinished")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
