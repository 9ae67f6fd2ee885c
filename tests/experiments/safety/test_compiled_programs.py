"""A compiled program that was cut off is removed, and said in one line."""

import zlib

import jax
import pytest

from experiments.__main__ import guarded
from experiments.safety import compiled_programs


@pytest.fixture
def programs(tmp_path):
    """A folder of compiled programs, of which JAX has been told."""
    before = {
        name: jax.config.values[name]
        for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)
    jax.experimental.compilation_cache.compilation_cache.reset_cache()


def compile_one():
    def a_program(x):
        return 3 * x + 1

    jax.jit(a_program)(2.0).block_until_ready()


@pytest.mark.filterwarnings("always")
def test_a_program_that_was_cut_off_is_removed_and_written_anew(programs, capsys):
    compile_one()
    (path,) = programs.glob("jit_a_program-*-cache")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert guarded(lambda _: compile_one()) == 0
    said = capsys.readouterr().err
    assert said == f"warning: {programs}: a damaged compiled program was removed; it is compiled anew\n"
    zlib.decompress(path.read_bytes())
    assert guarded(lambda _: compile_one()) == 0
    assert capsys.readouterr().err == ""


def test_what_a_full_disk_cuts_off_is_removed_at_once(programs):
    (programs / "jit_f-1-cache").write_bytes(zlib.compress(b"whole"))
    (programs / "jit_f-2-cache").write_bytes(zlib.compress(b"cut off")[:5])
    (programs / "jit_fit-3-cache").write_bytes(b"of another")
    warning = (
        "Error writing persistent compilation cache entry for 'jit_f': OSError: [Errno 28] No space left"
    )
    assert "cannot be kept (No space left)" in compiled_programs.mended(warning)
    assert {path.name for path in programs.iterdir()} == {"jit_f-1-cache", "jit_fit-3-cache"}
    assert compiled_programs.mended("another warning") == "another warning"
