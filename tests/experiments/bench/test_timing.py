import time

import numpy as np

from experiments.bench import timing


def test_ratio_of_two_known_durations():
    calls = []

    def sleeper(name, seconds):
        def call():
            calls.append(name)
            time.sleep(seconds)

        return call

    for interleaved, order in ((False, "aabbbbaa"), (True, "ababbaba")):
        calls.clear()
        found = timing.in_turn(
            sleeper("a", 0.03), sleeper("b", 0.01), blocks=2, calls=2, interleaved=interleaved
        )
        assert "".join(calls) == order
        assert 1.5 < found["ratio"] < 3.5
        assert found["quartiles"][0] <= found["ratio"] <= found["quartiles"][1]
        np.testing.assert_array_less([25, 8], found["milliseconds"])
