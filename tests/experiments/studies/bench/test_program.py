import jax
import jax.numpy as jnp
import pytest

from experiments.studies.bench import program


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text()


def test_operations_are_counted_where_they_run():
    x = jnp.arange(4.0)
    plain = program.count_operations(compiled(lambda x: jnp.sort(jnp.sin(x)), x))
    assert plain["every_step"] >= 1
    assert plain["in_branches_and_loops"] == 0

    def branching(x):
        return jax.lax.cond(x[0] > 0, lambda x: jnp.sort(jnp.sin(x)), lambda x: x, x)

    assert program.count_operations(compiled(branching, x))["in_branches_and_loops"] >= 1
    looping = program.count_operations(
        compiled(lambda x: jax.lax.fori_loop(0, 9, lambda _, x: jnp.sort(x + x[::-1]), x), x)
    )
    assert looping["in_branches_and_loops"] >= 1


def test_names_and_fused_operations_do_not_count():
    text = """HloModule m

%fused (p: f32[4]) -> f32[4] {
  %p = f32[4] parameter(0)
  ROOT %s = f32[4] sine(%p)
}

%then (t: f32[4]) -> f32[4] {
  %t = f32[4] parameter(0)
  %a = f32[4] negate(%t)
  ROOT %b = f32[4] negate(%a)
}

%otherwise (t.1: f32[4]) -> f32[4] {
  ROOT %t.1 = f32[4] parameter(0)
}

ENTRY %main (x: f32[4], c: pred[]) -> f32[4] {
  %x = f32[4] parameter(0)
  %c = pred[] parameter(1)
  %f = f32[4] fusion(%x), kind=kLoop, calls=%fused
  ROOT %r = f32[4] conditional(%c, %f, %f), true_computation=%then, false_computation=%otherwise
}
"""
    assert program.count_operations(text) == {"every_step": 2, "in_branches_and_loops": 2}


@pytest.mark.parametrize("method", [pytest.param("dal+saner", marks=pytest.mark.slow), "ogc"])
def test_nothing_is_compiled_after_the_first_epoch(method):
    first, *later = program.compilations(method)
    assert first > 0
    assert not any(later)


def test_the_state_of_a_step_is_written_in_place():
    found = program.compiled_step("ogc")
    # Everything except a scalar, which XLA may copy.
    assert found["share_of_state_donated"] > 0.9999
    assert found["in_branches_and_loops"] > 0
