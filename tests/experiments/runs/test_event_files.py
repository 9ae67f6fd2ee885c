import errno
import importlib.util
import json
import os
import struct

import numpy as np
import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from experiments.__main__ import main
from experiments.runs import long_table, run_folder
from experiments.terminal import Stopped, UserError
from experiments.training import loop
from experiments.training.devices import Placement
from tests.experiments.training.test_train import experiment

ASKED = Placement(tensorboard=True)


def events(folder):
    """What the only file has; a record is its length, a checksum of that, its bytes and theirs."""
    (file,) = folder.iterdir()
    content, found = file.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(Event.FromString(content[12 : 12 + length]))
        content = content[16 + length :]
    assert found[0].file_version == "brain.Event:2"
    return [
        (event.step, {value.tag: value.simple_value for value in event.summary.value}) for event in found[1:]
    ]


def test_event_files_have_every_epoch_once_also_after_resuming(tmp_path, tiny_npz, quiet):
    asked, run_dir = experiment(tiny_npz, seeds=2, first_seed=3), tmp_path / "run"
    with pytest.raises(Stopped):
        loop.train("cross_entropy", asked, run_dir, quiet, Placement(tensorboard=True, stop_after=0))
    assert [epoch for epoch, _ in events(run_dir / "tensorboard" / "seed-3")] == [1]
    # As if it had been killed after the metrics of an epoch and before its checkpoint.
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 2, "train_loss": [0.0, 0.0]}) + "\n")
    loop.train("cross_entropy", asked, run_dir, quiet, ASKED)
    history = run_folder.read_metrics(run_dir, 4)
    assert {path.name for path in (run_dir / "tensorboard").iterdir()} == {"seed-3", "seed-4"}
    for i, seed in enumerate((3, 4)):
        found = events(run_dir / "tensorboard" / f"seed-{seed}")
        assert [epoch for epoch, _ in found] == [1, 2, 3, 4]
        for measured, (_, scalars) in zip(history, found, strict=True):
            expected = {name: values[i] for name, values in long_table.by_seed(measured, 2)}
            assert scalars.keys() == expected.keys() > {"test_accuracy", "test_recall_2"}
            np.testing.assert_allclose(list(scalars.values()), list(expected.values()), rtol=1e-6)


def test_compare_writes_them_for_each_method(tmp_path, tiny_npz):
    flags = ["--epochs", "1", "--batch-size", "8", "--width", "16", "--seeds", "1", "--tensorboard"]
    methods = ["--methods", "cross_entropy", "dal", "--run-dir", str(tmp_path / "run")]
    assert main(["compare", "--dataset", f"npz:{tiny_npz}", *flags, *methods]) == 0
    for method in ("cross_entropy", "dal"):
        ((epoch, _),) = events(tmp_path / "run" / method / "tensorboard" / "seed-0")
        assert epoch == 1


def test_without_the_package_nothing_is_begun(tmp_path, tiny_npz, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    flags = ["--dataset", f"npz:{tiny_npz}", "--run-dir", str(tmp_path / "run"), "--tensorboard"]
    for command in ("train", "compare"):
        assert main([command, *flags]) == 2
        assert capsys.readouterr().err == (
            "error: --tensorboard needs the package tensorboardX: pip install tensorboardX\n"
        )
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_one_line(tmp_path, tiny_npz, quiet, monkeypatch):
    flush, calls = EventsWriter.flush, []

    def no_room(writer):
        calls.append(writer)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return flush(writer)

    monkeypatch.setattr(EventsWriter, "flush", no_room)
    with pytest.raises(UserError, match=r"tensorboard: cannot be written \(No space left"):
        loop.train("cross_entropy", experiment(tiny_npz), tmp_path / "run", quiet, ASKED)
