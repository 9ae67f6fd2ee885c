"""On which devices a run happens: one, or several with each batch split over them, on one host or more."""

import dataclasses
import re
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from experiments.data.dataset import Stream
from experiments.terminal import UserError

BATCH_AXIS = "batch"
FigureFormat = Literal["png", "pdf", "svg"]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where and how long a run happens and how it is drawn; its result changes by rounding at most."""

    devices: int = 1
    """Devices of this host to split each batch over; may change when a run resumes."""
    coordinator: str | None = None
    """For several hosts, which all start the same command and share the run folder: HOST:PORT of the first,
    or `auto` if JAX can find out (Slurm, Open MPI, Kubernetes, Cloud TPU)."""
    processes: int | None = None
    """How many processes the run has; with --coordinator HOST:PORT."""
    process_id: int | None = None
    """Which of them this is, from 0; with --coordinator HOST:PORT."""
    figure_format: FigureFormat = "png"
    """The format of the pictures in the run folder."""
    tensorboard: bool = False
    """Also write the metrics as event files for TensorBoard, in the run folder."""
    stop_after: float | None = None
    """Minutes after which to end with a checkpoint at the end of an epoch; the exit code is then 75, and the
    same command goes on."""


def connect(placement: Placement) -> None:
    """Joins the other processes of a run on several hosts, before anything asks for devices."""
    if placement.coordinator is None:
        return
    try:
        if placement.coordinator == "auto":
            jax.distributed.initialize()
        else:
            jax.distributed.initialize(placement.coordinator, placement.processes, placement.process_id)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--coordinator {placement.coordinator}: cannot connect ({' '.join(str(error).split())})"
        ) from error


def is_main_process() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return jax.process_index() == 0


def wait_for_all_processes(what: str) -> None:
    """Returns when every process of the run has come to this point, which `what` names."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def mesh(placement: Placement, batch_size: int) -> Mesh | None:
    """The devices that a batch is split over, as a mesh of one axis; None for a single device."""
    local = jax.local_device_count()
    if not 1 <= placement.devices <= local:
        raise UserError(
            f"--devices must be from 1 to {local}, the {jax.default_backend()} devices of this host, got "
            f"{placement.devices}"
        )
    total = placement.devices * jax.process_count()
    if total == 1:
        return None
    if batch_size % total:
        raise UserError(
            f"--batch-size must be a multiple of {total}, the number of devices, got {batch_size}"
        )
    per_process = [
        [device for device in jax.devices() if device.process_index == process][: placement.devices]
        for process in range(jax.process_count())
    ]
    return Mesh(np.array(per_process).ravel(), (BATCH_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh | None) -> NamedSharding | None:
    """The sharding of what every device has whole; None, whatever JAX would do, on a single device."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def images_everywhere(mesh: Mesh | None, images: Any) -> Any:
    """Images on the device, or whole on every device of the mesh; a stream of them stays on the disk."""
    return images if isinstance(images, Stream) else everywhere(mesh, images)


def everywhere(mesh: Mesh | None, tree: Any) -> Any:
    """The arrays of `tree` on the device, or whole on every device of the mesh; every process has them."""
    if mesh is None:
        return jax.device_put(tree)
    sharding = NamedSharding(mesh, PartitionSpec())

    def put(x):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        # Devices of other processes can't be given an array, but told what they would find in it.
        host = np.asarray(x)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, tree)


def split_batch(mesh: Mesh | None, tree: Any) -> Any:
    """Within jit: the arrays of `tree`, whose first axis is a batch, split over the mesh."""
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec(BATCH_AXIS)))


def check(placement: Placement) -> None:
    """Raises UserError for flags that do not belong together."""
    coordinator, processes, process_id = placement.coordinator, placement.processes, placement.process_id
    if coordinator in (None, "auto"):
        if processes is not None or process_id is not None:
            raise UserError("--processes and --process-id need --coordinator HOST:PORT")
    elif not re.fullmatch(r".+:\d+", coordinator):
        raise UserError(f"--coordinator must be `auto` or HOST:PORT, PORT a number, got {coordinator}")
    elif processes is None or process_id is None:
        raise UserError(f"--coordinator {coordinator} needs --processes and --process-id")
    elif processes < 1:
        raise UserError(f"--processes must be at least 1, got {processes}")
    elif not 0 <= process_id < processes:
        raise UserError(f"--process-id must be in [0, {processes}), got {process_id}")
    if placement.stop_after is not None:
        if coordinator is not None:
            raise UserError("--stop-after works with a single process only; its hosts' clocks would disagree")
        if not placement.stop_after >= 0:
            raise UserError(f"--stop-after must be at least 0 minutes, got {placement.stop_after:g}")
