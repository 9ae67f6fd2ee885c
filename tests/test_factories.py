"""Whatever is built wakes no device: a process may join others afterwards."""

import subprocess
import sys

import noisy_optax
from experiments.studies.bench.factories import factories

PROGRAM = """
import socket, jax
from experiments.studies.bench.factories import build_all

build_all()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = "127.0.0.1:%d" % free.getsockname()[1]
jax.distributed.initialize(address, 1, 0)
assert jax.process_count() == 1
jax.distributed.shutdown()
print("joined")
"""


def test_everything_can_be_built_before_jax_distributed_initialize():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "joined", done.stderr


def test_no_factory_is_forgotten():
    # What returns a loss with a state or a transformation, by its annotation.
    kinds = ("RobustLoss", "GradientTransformationExtraArgs", "SharpnessAware", "TrainingStep", "Recommended")
    modules = (noisy_optax, noisy_optax.losses, noisy_optax.ogc, noisy_optax.memory, noisy_optax.sharpness)
    found = {
        name
        for module in modules
        for name in module.__all__
        if getattr(getattr(module, name), "__annotations__", {}).get("return") is not None
        and getattr(getattr(module, name).__annotations__["return"], "__name__", "") in kinds
    }
    # The remaining ones are parts of others, or a lift that does nothing.
    assert found - factories().keys() == {"sharpness_aware", "stateless"}
