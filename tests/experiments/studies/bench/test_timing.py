from types import SimpleNamespace

import numpy as np
import pytest

from experiments.studies.bench import timing


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when a timed function moves it: what is timed here is exact."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def taking(clock, *seconds, name="", calls=None):
    """A function whose calls take these times in turn, the last of them again and again."""
    waiting = list(seconds)

    def call():
        if calls is not None:
            calls.append(name)
        clock.now += waiting.pop(0) if len(waiting) > 1 else waiting[0]

    return call


@pytest.mark.parametrize(("interleaved", "order"), [(False, "aabbbbaaaabb"), (True, "ababbabaabab")])
def test_ratio_of_two_known_durations(clock, interleaved, order):
    calls = []
    # Two calls a block: 0.03 + 0.05, then 0.06 + 0.06, then 0.10 + 0.10 seconds.
    first = taking(clock, 0.03, 0.05, 0.06, 0.06, 0.10, name="a", calls=calls)
    second = taking(clock, 0.02, name="b", calls=calls)
    found = timing.in_turn(first, second, blocks=3, calls=2, interleaved=interleaved)
    assert "".join(calls) == order
    assert found["ratio"] == 3
    np.testing.assert_allclose(found["quartiles"], [2.5, 4])
    np.testing.assert_allclose(found["milliseconds"], [60, 20])


def test_the_first_call_is_kept_apart(clock):
    function = taking(clock, 7.0, 0.01, 0.03, 0.05, 0.05, 0.02)
    assert timing.first_call(function) == 7
    assert (
        timing.median_milliseconds(taking(clock, 7.0, 0.01, 0.03, 0.05, 0.05, 0.02), blocks=3, calls=2) == 20
    )
