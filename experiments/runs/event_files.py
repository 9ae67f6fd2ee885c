"""Event files for TensorBoard: what metrics.jsonl has, in a folder for each seed."""

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.runs import long_table, run_folder
from experiments.terminal import UserError
from experiments.training import devices


def check(asked: bool) -> None:
    """Raises UserError if event files are asked for and cannot be written."""
    if asked and importlib.util.find_spec("tensorboardX") is None:
        raise UserError("--tensorboard needs the package tensorboardX: pip install tensorboardX")


@contextlib.contextmanager
def opened(
    asked: bool, run_dir: Path, seeds: Sequence[int], history: list[dict[str, Any]]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Within the `with`, a function that adds the metrics of an epoch, if event files are asked for.

    The files are made anew with the epochs of `history`, so that none is in them twice.
    """
    if not asked or not devices.is_main_process():
        yield lambda measured: None
        return
    # Here, since nothing else needs it. The writer of its own that has a thread would hide a full disk.
    from tensorboardX.event_file_writer import EventsWriter

    folder = run_dir / "tensorboard"
    with contextlib.ExitStack() as stack:
        with run_folder.writing(folder):
            shutil.rmtree(folder, ignore_errors=True)
            writers = []
            for seed in seeds:
                (folder / f"seed-{seed}").mkdir(parents=True)
                writers.append(EventsWriter(str(folder / f"seed-{seed}" / "events")))
                stack.callback(_close, folder, writers[-1])

        def add(measured):
            with run_folder.writing(folder):
                named = dict(long_table.by_seed(measured, len(seeds)))
                for i, writer in enumerate(writers):
                    writer.write_event(_event(measured["epoch"], {name: x[i] for name, x in named.items()}))
                    writer.flush()

        for measured in history:
            add(measured)
        yield add


def _close(folder: Path, writer: Any) -> None:
    with run_folder.writing(folder):
        writer.close()


def _event(epoch: int, scalars: dict[str, float]) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
    return Event(step=epoch, wall_time=time.time(), summary=Summary(value=values))
