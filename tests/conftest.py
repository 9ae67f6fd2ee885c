"""What every test runs under: eight CPU devices, no silent promotion, the same hypothesis examples."""

import os
import time
from pathlib import Path

from tests import compiling, shapes

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# What scikit-learn imports warns where it cannot count the cores, as on a machine without `lscpu`.
os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

# Many tests compile the same programs, in processes of their own too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# Most of the time goes into compiling: a third of that into LLVM's optimizations, half of the rest into XLA's
# newer way to write fused loops. JAX_DISABLE_MOST_OPTIMIZATIONS=0 compiles all as for users; the contract of
# the losses does so anyway.
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1" and compiling.HAS_OLDER_FUSIONS:
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import hypothesis
import jax
import jaxtyping
import pytest

# Before the first import of the library.
jaxtyping.install_import_hook("noisy_optax", f"{shapes.__name__}.{shapes.check.__name__}")

hypothesis.settings.register_profile("tests", max_examples=25, deadline=None, derandomize=True)
# For `make fuzz`: other examples in each of its rounds.
hypothesis.settings.register_profile("fuzz", max_examples=50, deadline=None)
hypothesis.settings.load_profile("tests")


def pytest_runtest_setup(item):
    """`make fuzz` ends at a time and not with a test."""
    if time.time() > float(os.environ.get("FUZZ_UNTIL", "inf")):
        pytest.skip("time is over")


@pytest.fixture(autouse=True)
def _nothing_is_promoted():
    """For the tests only: examples in docstrings run as they do for their readers."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def x64():
    """Float64 for one test."""
    with jax.enable_x64(True):
        yield
