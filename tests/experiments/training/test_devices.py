import pickle
import re
import socket
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from experiments import config
from experiments.config import Placement
from experiments.runs import run_folder
from experiments.terminal import Stopped, UserError
from experiments.training import devices, epoch_loops, loop
from tests import split_memory
from tests.experiments.training import parallel
from tests.experiments.training.test_train import experiment, shipped

pytestmark = pytest.mark.devices


@pytest.fixture(scope="module")
def alone():
    with jax.enable_x64(True):
        return parallel.twenty_steps(None)


def assert_equal_to_rounding(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_the_twenty_steps_clip(alone):
    state, _ = alone
    assert state.loss.count == parallel.STEPS
    assert 0.01 < state.loss.probability_threshold < 0.95


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "compile_epoch",
    [
        epoch_loops.compile_epoch_loop,
        pytest.param(epoch_loops.compile_stepwise_epoch, marks=pytest.mark.slow),
    ],
)
def test_eight_devices_are_one_device(alone, compile_epoch):
    mesh = devices.mesh(Placement(devices=8), parallel.BATCH_SIZE)
    assert_equal_to_rounding(parallel.twenty_steps(mesh, compile_epoch), alone)


def test_batch_is_split_and_no_device_has_all_of_it():
    mesh = devices.mesh(Placement(devices=8), 16)
    split = jax.jit(lambda x: devices.split_batch(mesh, x))(np.zeros((16, 3), np.float32))
    assert {shard.data.shape for shard in split.addressable_shards} == {(2, 3)}


@pytest.mark.slow
def test_two_processes_are_one_device_and_write_one_run(alone, tmp_path, tiny_npz, quiet):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.experiments.training.parallel", coordinator]
    processes = [
        subprocess.Popen(
            [*command, str(i), tiny_npz, tmp_path],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    for i in range(2):
        assert_equal_to_rounding(pickle.loads((tmp_path / f"{i}.pickle").read_bytes()), alone)
        memory = pickle.loads((tmp_path / f"memory-{i}.pickle").read_bytes())
        chex.assert_trees_all_close(memory, split_memory.twenty_steps(None), rtol=1e-5, atol=1e-6)

    asked = experiment(tiny_npz, optimization=config.Optimization(epochs=2, batch_size=8))
    loop.train("cross_entropy", asked, tmp_path / "alone", quiet)
    lines = [run_folder.read_metrics(tmp_path / name, 2) for name in ("run", "alone")]
    assert [line["epoch"] for line in lines[0]] == [1, 2]
    np.testing.assert_allclose(*([line["train_loss"] for line in own] for own in lines), rtol=1e-5)
    # The first attempt's last checkpoint, which the second found damaged.
    assert [path.name[0] for path in (tmp_path / "run" / "damaged-checkpoints").iterdir()] == ["2"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        *(shipped(tmp_path / name, asked)[1].state.params for name in ("run", "alone")),
    )


@pytest.mark.slow
def test_stopped_and_resumed_on_another_number_of_devices(tmp_path, tiny_npz, quiet):
    asked = experiment(tiny_npz, model=config.Model(width=16, norm="batch"))
    with pytest.raises(Stopped, match="after epoch 1; the same command"):
        loop.train("cross_entropy", asked, tmp_path / "run", quiet, Placement(devices=4, stop_after=0))
    loop.train("cross_entropy", asked, tmp_path / "run", quiet, Placement(devices=2))
    loop.train("cross_entropy", asked, tmp_path / "alone", quiet)
    lines = [run_folder.read_metrics(tmp_path / name, 4) for name in ("run", "alone")]
    np.testing.assert_allclose(*([line["train_loss"] for line in own] for own in lines), rtol=1e-4)


@pytest.mark.parametrize(
    ("placement", "said"),
    [
        (Placement(devices=9), "--devices must be from 1 to 8, the cpu devices of this host, got 9"),
        (Placement(devices=3), "--batch-size must be a multiple of 3, the number of devices, got 16"),
        (Placement(processes=2), "--processes and --process-id need --coordinator HOST:PORT"),
        (Placement(coordinator="here:1"), "--coordinator here:1 needs --processes and --process-id"),
        (Placement(coordinator="here:1", processes=2, process_id=2), "--process-id must be in [0, 2), got 2"),
        (Placement(coordinator="here:1", processes=0, process_id=0), "--processes must be at least 1, got 0"),
        (
            Placement(coordinator="here", processes=1, process_id=0),
            "`auto` or HOST:PORT, PORT a number, got here",
        ),
        (Placement(coordinator="here:x", processes=1, process_id=0), "PORT a number, got here:x"),
        (Placement(stop_after=-1.0), "--stop-after must be at least 0 minutes, got -1"),
        (
            Placement(coordinator="auto", stop_after=1.0),
            "--stop-after works with a single process only",
        ),
    ],
)
def test_flags_that_do_not_fit(placement, said):
    def use():
        devices.check(placement)
        devices.mesh(placement, 16)

    with pytest.raises(UserError, match=re.escape(said)):
        use()
