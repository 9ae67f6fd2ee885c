"""Twenty steps in float64 on a mesh, in the tests' own process or as one of two: `python parallel.py ...`."""

import os
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from experiments.config import Data, Experiment, Model, Optimization, Placement
from experiments.models.network import Network
from experiments.terminal import Progress
from experiments.training import devices, epoch_loops, loop, setup, training_data
from tests import split_memory

STEPS, BATCH_SIZE, WIDTH, CLASSES = 20, 16, 12, 3
EXPERIMENT = Experiment(optimization=Optimization(batch_size=BATCH_SIZE))
METHOD = "ogc:queue_size=64,update_every=2,epsilon=5+saner"


def network():
    """Float64 from end to end, with statistics of the batch: each step needs numbers of every device."""

    def init(key):
        first, second = jax.random.split(key)
        hidden = jax.random.normal(first, (16, WIDTH), jnp.float64) / 4
        head = jax.random.normal(second, (WIDTH, CLASSES), jnp.float64) / 3
        return {"hidden": hidden, "head": head}, {"mean": jnp.zeros(WIDTH, jnp.float64)}

    def apply(params, statistics, images, *, train):
        x = images.reshape(len(images), -1).astype(jnp.float64) @ params["hidden"]
        mean, deviation = jnp.mean(x, axis=0), jnp.std(x, axis=0)
        x = jnp.tanh((x - jax.lax.broadcast(mean, x.shape[:1])) / jax.lax.broadcast(deviation, x.shape[:1]))
        return x @ params["head"], {"mean": 0.9 * statistics["mean"] + 0.1 * mean}

    return Network(init, apply, convolutional=False)


def twenty_steps(mesh, compile_epoch=epoch_loops.compile_epoch_loop):
    """The state after them, of OGC with SANER, and their losses."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(STEPS * BATCH_SIZE, 4, 4, 1)).astype(np.float32)
    given = np.argmax(images[:, 0, :CLASSES, 0] + 0.5 * rng.normal(size=(len(images), CLASSES)), axis=1)
    parts = setup.assemble(METHOD, EXPERIMENT, (4, 4, 1), CLASSES, len(images))
    parts = parts._replace(network=network(), mesh=mesh)
    inputs = training_data.measure_inputs(images, scaling="none")
    state = setup.initial_state(parts, training_data.seed_keys(EXPERIMENT))
    keys, *arrays = devices.everywhere(
        mesh, (training_data.seed_keys(EXPERIMENT)["order"], inputs, images, given[None].astype(np.int32))
    )
    state, batches = compile_epoch(parts, BATCH_SIZE, EXPERIMENT.seeds)(state, *arrays, keys)
    return jax.tree.map(np.asarray, (state, batches))


def main(coordinator, process_id, npz, folder):
    """One of two processes: twenty steps, those with a memory, a short run, and that resumed after damage."""
    placement = Placement(devices=2, coordinator=coordinator, processes=2, process_id=int(process_id))
    devices.connect(placement)
    with jax.enable_x64(True):
        found = twenty_steps(devices.mesh(placement, BATCH_SIZE))
    (Path(folder) / f"{process_id}.pickle").write_bytes(pickle.dumps(jax.tree.leaves(found)))
    memory = split_memory.twenty_steps(devices.mesh(placement, split_memory.BATCH_SIZE))
    (Path(folder) / f"memory-{process_id}.pickle").write_bytes(pickle.dumps(memory))
    asked = Experiment(
        data=Data(dataset=f"npz:{npz}"),
        model=Model(width=16),
        optimization=Optimization(epochs=2, batch_size=8),
        checkpoint_every=1,
    )
    run_dir, quiet = Path(folder) / "run", Progress(Console(quiet=True))
    loop.train("cross_entropy", asked, run_dir, quiet, placement)
    devices.wait_for_all_processes("finished")
    if devices.is_main_process():
        # As if the run had been interrupted while it wrote its last checkpoint.
        (run_dir / "summary.json").unlink()
        for file in (run_dir / "checkpoints" / "2").rglob("*"):
            if file.is_file():
                file.write_bytes(b"")
    devices.wait_for_all_processes("damaged")
    loop.train("cross_entropy", asked, run_dir, quiet, placement)


if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    main(*sys.argv[1:])
