"""Checkpoints: the newest that can be read is the one that a run goes on from."""

import numpy as np

from experiments.training.checkpoints import Checkpoints, abstract


def test_the_newest_of_two_is_restored_and_those_after_it_can_be_set_aside(tmp_path):
    saved = Checkpoints(tmp_path / "checkpoints")
    for epoch in (2, 4, 10):
        saved.save(epoch, {"a": np.full(3, epoch)})
    shape = abstract({"a": np.zeros(3, int)})
    epoch, tree = saved.restore(shape)
    assert (epoch, tree["a"].tolist()) == (10, [10, 10, 10])
    saved.set_aside_after(4)
    epoch, tree = saved.restore(shape)
    assert (epoch, tree["a"].tolist()) == (4, [4, 4, 4])
    saved.close()
