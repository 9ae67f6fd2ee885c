"""The files of a run: config.json, metrics.jsonl, summary.json; and what code wrote them.

If a run has processes on several hosts, all of them read and the first one writes.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Callable, Hashable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import jax
import numpy as np

import noisy_optax
from experiments.runs import json_records
from experiments.safety import files
from experiments.terminal import UserError, one_line
from experiments.training import devices

# It is there while a process trains in the folder.
LOCK = ".lock"


@contextlib.contextmanager
def owned(run_dir: Path) -> Iterator[None]:
    """Within the `with`, no other process trains in this folder.

    The operating system gives the lock back when the process ends, however it ends. On a shared disk it holds
    between hosts as far as that disk knows locks. Of several processes of one run, the first one holds it.

    Raises UserError if another process has it.
    """
    if not devices.is_main_process():
        yield
        return
    existed = run_dir.is_dir()
    files.check_is_plain(run_dir)
    path = run_dir / LOCK
    file = _locked(path)
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield
    finally:
        # While it is held: whoever opened it before finds that it is gone.
        path.unlink(missing_ok=True)
        file.close()
        if not existed and run_dir.is_dir() and not any(run_dir.iterdir()):
            run_dir.rmdir()


def _locked(path: Path) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = files.open_to_append(path)
        except FileNotFoundError:
            # Another owner has just removed the folder, which it had made and left empty.
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "it has just begun"
            file.close()
            raise UserError(
                f"{path.parent}: another process trains in this folder ({owner}); wait for it, or choose "
                f"another --run-dir"
            ) from None
        except OSError:
            # Some disks know no locks; better an unguarded run than none.
            return file
        # The former owner may have removed the file between its opening and its locking.
        if _is(path, file):
            return file
        file.close()


def _is(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def claim(run_dir: Path, config: dict[str, Any]) -> None:
    """Makes `run_dir` the folder of a run with this `config`, or checks that it is already.

    The first process makes it; the others wait, and check that theirs is the same configuration.
    """
    if devices.is_main_process():
        _claim(run_dir, config)
    devices.wait_for_all_processes("claimed")
    if not devices.is_main_process():
        _check_same(run_dir, config)


def _claim(run_dir: Path, config: dict[str, Any]) -> None:
    files.check_is_plain(run_dir)
    path = run_dir / "config.json"
    if path.exists():
        _check_same(run_dir, config)
        return
    # A kill may have left a file that was being written.
    others = [entry for entry in run_dir.iterdir() if entry.name != LOCK] if run_dir.is_dir() else []
    if any(entry.suffix != ".unfinished" for entry in others):
        raise UserError(f"{run_dir} is not empty and has no config.json; choose another --run-dir")
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(path, {"config": config, "provenance": provenance()})


def _check_same(run_dir: Path, config: dict[str, Any]) -> None:
    old, new = read_config(run_dir), _plain(config)
    differing = list(_differing(old, new))
    if differing:
        if old.get("data") == new.get("data") and any("data_hash" in line for line in differing):
            dataset = new["data"]["dataset"]
            differing.insert(0, f"the data in {dataset} have changed since that run began")
        before = old.get("own_code")
        differing[:0] = [
            f"{name.rpartition(':')[0]} has changed since that run began"
            for name, own in new.get("own_code", {}).items()
            if isinstance(before, dict) and before.get(name, own) != own
        ]
        raise UserError(
            f"{run_dir} holds a run of another configuration ({'; '.join(differing)}); "
            f"choose another --run-dir"
        )


def _differing(old: Any, new: Any, name: str = "") -> Iterable[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differing(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        yield f"{name} is {old} there, {new} here"


def read_config(run_dir: Path) -> dict[str, Any]:
    """The configuration that `claim` saved."""
    files.check_is_plain(run_dir)
    path = run_dir / "config.json"
    if not path.exists():
        raise UserError(f"{run_dir} is not a run folder: config.json is missing")
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
        raise UserError(f"{path}: damaged: there is no configuration in it")
    return content["config"]


# The checkpoints beside damaged metrics are good.
_ANEW = "bring back a copy of the file, or train anew in another --run-dir (the model is kept, see `predict`)"


def read_metrics(run_dir: Path, epochs: int) -> list[dict[str, Any]]:
    """The metrics of the first `epochs` epochs; lines beyond them are dropped from the file."""
    path = run_dir / "metrics.jsonl"
    try:
        lines = path.read_text().splitlines()[:epochs] if path.exists() else []
        metrics = [_epoch(line) for line in lines]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}); {_ANEW}") from error
    if len(metrics) < epochs:
        raise UserError(f"{path}: has {len(metrics)} epochs, the checkpoint {epochs}; {_ANEW}")
    write_text(path, "".join(line + "\n" for line in lines))
    return metrics


def _epoch(line: str) -> dict[str, Any]:
    epoch = json.loads(line)
    if wrong := json_records.wrong_epoch(epoch):
        raise ValueError(wrong)
    return epoch


def append_metrics(run_dir: Path, metrics: dict[str, Any]) -> None:
    """Adds one epoch's metrics as a line of metrics.jsonl."""
    append_line(run_dir / "metrics.jsonl", metrics)


def append_line(path: Path, content: Any) -> None:
    """Adds a line of JSON to a file."""
    if devices.is_main_process():
        with writing(path), files.open_to_append(path) as file:
            file.write(json.dumps(_plain(content)) + "\n")


def read_lines(path: Path) -> list[Any]:
    """What `append_line` wrote, nothing if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add_missing(
    path: Path, jobs: Iterable[tuple[Hashable, Callable[[], Any]]], key_of: Callable[[Any], Hashable]
) -> None:
    """Does each job whose line the file does not have yet, and adds what it returns as a line.

    Args:
      path: of a file that `append_line` writes, or of none yet.
      jobs: a key for each job, and the job.
      key_of: `key_of(line)`, the key of the job that made a line.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    finished = set(map(key_of, read_lines(path)))
    for key, job in jobs:
        if key not in finished:
            append_line(path, job())
            finished.add(key)


def read_json(path: Path) -> Any:
    """The content of a JSON file that this module wrote."""
    try:
        return json.loads(files.regular(path).read_text())
    # The last one is of brackets without an end.
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({one_line(error)})") from error


def read_summary(path: Path) -> dict[str, Any]:
    """What a finished run says of its results."""
    again = "`train` writes the file anew once it is deleted"
    try:
        summary = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; {again}") from error
    if wrong := json_records.wrong_summary(summary):
        raise UserError(f"{path}: expected the results of a run ({wrong}); {again}")
    return summary


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all."""
    write_text(path, as_json(content) + "\n")


def as_read(content: Any) -> Any:
    """The content as it is read back from a JSON file: lists instead of arrays, None instead of NaN."""
    return _plain(content)


def as_json(content: Any) -> str:
    """JSON text; NaN becomes null, which JSON has."""
    return json.dumps(_plain(content), indent=1)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, whole or not at all; what Unicode does not have becomes a question mark."""
    if devices.is_main_process():
        with whole(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8", errors="replace")


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name under which to write what then becomes `path`, or is gone again if writing fails."""
    unfinished = path.with_name(path.name + ".unfinished")
    with writing(path):
        files.make_anew(unfinished)
        try:
            yield unfinished
            os.replace(unfinished, path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within the `with`, what the system says of a failure becomes one line that names the file."""
    # The system does not say which file it was that found no room.
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or one_line(error)})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def fingerprint(*arrays: np.ndarray | None) -> str:
    """A short hash of the arrays' content, shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        if array is not None:
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def provenance() -> dict[str, Any]:
    """Versions of the code and of what it runs on."""
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    device = jax.devices()[0]
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        # Not the installed one's: a checkout may be run as it is.
        "noisy-optax": noisy_optax.__version__,
        **{package: version(package) for package in packages},
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "device": f"{device.platform} {device.device_kind}",
    }


def _commit() -> str:
    # Where only the files of a checkout were brought, whoever brought them can say.
    if named := os.environ.get("NOISY_OPTAX_COMMIT"):
        return named
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
