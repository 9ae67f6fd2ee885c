"""Checkpoints of a run, by orbax: written whole or not at all, and never trusted blindly."""

import contextlib
import hashlib
import logging
import os
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.terminal import UserError, one_line
from experiments.training import devices


class Checkpoints:
    """The newest two checkpoints in a folder, by epoch.

    Writing is synchronous: when `save` returns, the checkpoint is complete under its final name.
    """

    def __init__(self, folder: Path, *, read_only: bool = False):
        # What goes wrong is raised as well, and said in one line.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=2,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            read_only=read_only,
            create=not read_only,
        )
        check_folder(folder)
        self._folder = folder
        self._manager = ocp.CheckpointManager(folder.resolve(), options=options)

    def save(self, epoch: int, tree: Any) -> None:
        """Writes `tree` as the state after `epoch` epochs."""
        try:
            with late_callbacks_dropped():
                self._manager.save(
                    epoch,
                    args=ocp.args.StandardSave(tree),
                    custom_metadata={"checksum": checksum(tree)},
                    force=True,
                )
        except (OSError, ValueError) as error:
            # A full disk is a ValueError of the storage library's, which numbers the system's error.
            found = re.search(r"os_error_code\W+(\d+)", str(error))
            if isinstance(error, ValueError) and not found:
                raise
            if devices.is_main_process():
                for unfinished in self._folder.glob("*.orbax-checkpoint-tmp"):
                    shutil.rmtree(unfinished, ignore_errors=True)
            reason = os.strerror(int(found[1])) if found else one_line(error)
            raise UserError(
                f"{self._folder}: checkpoint of epoch {epoch} cannot be written ({reason}); make room, and "
                f"the same command goes on from the last one"
            ) from error

    def restore(self, abstract: Any) -> tuple[int, Any] | None:
        """Epoch and tree of the newest readable checkpoint; `abstract` tells its shapes and types.

        A damaged checkpoint is skipped with a warning and stays where it is; None if there is none at all.
        """
        epochs = sorted(self._manager.all_steps(), reverse=True)
        for epoch in epochs:
            try:
                return epoch, self._restore(epoch, abstract)
            except Exception as error:  # what orbax raises depends on which file is damaged
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                warnings.warn(
                    f"{self._folder / str(epoch)}: damaged checkpoint skipped, and kept ({reason[:200]})",
                    stacklevel=2,
                )
        if epochs:
            raise UserError(
                f"{self._folder}: no checkpoint can be read; bring back a copy of one, or train anew in "
                f"another --run-dir (nothing was deleted)"
            )
        return None

    def _restore(self, epoch: int, abstract: Any) -> Any:
        # orbax takes the first folder that it is asked for as the pattern of all others.
        if not (self._folder / str(epoch) / "default").is_dir():
            raise ValueError("it has no folder `default`")
        with late_callbacks_dropped():
            tree = self._manager.restore(epoch, args=ocp.args.StandardRestore(abstract))
        saved = (self._manager.metadata(epoch).custom_metadata or {}).get("checksum")
        # Checkpoints of earlier versions have none. The format itself has none of the arrays' content.
        if saved is not None and saved != checksum(tree):
            raise ValueError("its arrays are not those that were saved")
        return tree

    def set_aside_after(self, epoch: int) -> list[Path]:
        """Renames checkpoints newer than `epoch`, which could not be restored; their place is needed.

        Returns their new paths.
        """
        newer_ones = [saved for saved in self._manager.all_steps() if saved > epoch]
        devices.wait_for_all_processes("looked at checkpoints")
        kept = []
        for newer in newer_ones if devices.is_main_process() else ():
            aside = self._folder.parent / "damaged-checkpoints"
            aside.mkdir(exist_ok=True)
            kept.append((self._folder / str(newer)).rename(aside / f"{newer}-{time.time_ns()}"))
        devices.wait_for_all_processes("set checkpoints aside")
        self._manager.reload()
        return kept

    def close(self) -> None:
        """Waits for orbax's own bookkeeping."""
        self._manager.close()


@contextlib.contextmanager
def late_callbacks_dropped() -> Iterator[None]:
    """Drops what the storage library's threads complain of after a failure within the `with`.

    The first failure ends its event loop, and each file that is still being written then finds it closed.
    """
    before = sys.unraisablehook

    def hook(unraisable):
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            before(unraisable)

    sys.unraisablehook = hook
    yield
    # Not after a failure: its callbacks are still to come.
    sys.unraisablehook = before


def check_folder(folder: Path) -> None:
    """Raises UserError where the storage library would write elsewhere, or could not write."""
    path = str(folder.resolve())
    wrong = (
        "a backslash"
        if "\\" in path
        else "a byte that is not UTF-8"
        if re.search(r"[\ud800-\udfff]", path)
        else None
    )
    if wrong:
        raise UserError(
            f"{folder}: there is {wrong} in the path, which checkpoints cannot be written to; choose another "
            f"--run-dir"
        )


def checksum(tree: Any) -> str:
    """A short hash of the arrays' content, in the types that JAX restores them in."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)).tobytes())
    return digest.hexdigest()[:16]


def abstract(tree: Any, sharding: jax.sharding.Sharding | None = None) -> Any:
    """Shapes and types of `tree`'s arrays, and how to place them: by default on one device."""
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)
