"""A run read from its folder: which of its models is shipped, and what that says."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments.config import Data, Experiment, Model, Optimization, Placement
from experiments.runs import run_folder, saved_model
from experiments.training import setup
from experiments.training.checkpoints import Checkpoints
from experiments.training.steps import prepare


@pytest.fixture(scope="module")
def selecting(tiny_npz):
    return Experiment(
        data=Data(dataset=f"npz:{tiny_npz}", validation_fraction=0.2),
        model=Model(width=8, norm="batch"),
        optimization=Optimization(epochs=3, batch_size=8),
        select="validation",
        seeds=2,
    )


@pytest.mark.parametrize("select", ["validation", "last"])
def test_the_selected_model_is_shipped_with_its_statistics(tmp_path, tiny_arrays, selecting, quiet, select):
    asked = dataclasses.replace(selecting, select=select)
    made = setup.set_up("cross_entropy", asked, Placement(), quiet, None)
    run = setup.start(made)
    # The last epoch left other parameters and statistics than the selected one.
    last = jax.tree.map(lambda x: x + 0.25, (run.state.params, run.state.statistics))
    run = run._replace(state=run.state._replace(params=last[0], statistics=last[1]))
    run_folder.claim(tmp_path, made.record)
    saved = Checkpoints(tmp_path / "checkpoints")
    saved.save(3, run)
    saved.close()
    found = saved_model.restore(tmp_path)
    shipped = run.state if select == "last" else run.selected
    for name in ("params", "statistics"):
        pairs = zip(*(jax.tree.leaves(getattr(x, name)) for x in (found, shipped)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)
    assert (found.selected, found.epoch) == (select == "validation", 3)

    images = tiny_arrays["test_images"][:5]
    probabilities = saved_model.probabilities(found, images)
    second = jax.tree.map(lambda x: x[1], (shipped.params, shipped.statistics))
    logits, _ = made.parts.network.apply(*second, prepare(made.inputs, images), train=False)
    np.testing.assert_allclose(probabilities[1], jax.nn.softmax(logits), rtol=1e-4, atol=1e-6)
