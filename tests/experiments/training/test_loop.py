"""The loop over epochs: what each epoch draws, and in which order a run's files are written."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments.config import Data, Experiment, Model, Optimization
from experiments.training import checkpoints, epoch_loops, loop


def drawn_by(purpose_keys, epoch, monkeypatch):
    """The keys of order and augmentation that an epoch is run with."""
    monkeypatch.setattr(epoch_loops, "compile_loops", lambda *_: (lambda *arguments: arguments[-2:], None))
    split = SimpleNamespace(train_images=np.zeros((2, 1)), train_given=np.zeros((2, 2), int))
    setup = SimpleNamespace(
        parts=SimpleNamespace(mesh=None), split=split, experiment=None, inputs=None, keys=purpose_keys
    )
    train_epoch, _ = loop.epoch_runner(setup, None)
    return np.stack([jax.random.key_data(key) for key in train_epoch(epoch, SimpleNamespace(state=None))])


def test_each_epoch_seed_and_purpose_has_a_key_of_its_own(monkeypatch):
    keys = {
        name: jax.random.split(jax.random.key(i), 2) for i, name in enumerate(("noise", "order", "augment"))
    }
    found = [drawn_by(keys, epoch, monkeypatch) for epoch in (0, 1, 7)]
    assert len(np.unique(np.concatenate(found).reshape(12, -1), axis=0)) == 12
    # A resumed run draws what it would have drawn.
    np.testing.assert_array_equal(drawn_by(keys, 7, monkeypatch), found[2])


def test_an_epoch_is_in_the_metrics_before_it_is_in_a_checkpoint(tmp_path, tiny_npz, quiet, monkeypatch):
    """So that a kill between the two loses no line."""
    asked = Experiment(
        data=Data(dataset=f"npz:{tiny_npz}"),
        model=Model(width=8),
        optimization=Optimization(epochs=2, batch_size=20),
        checkpoint_every=1,
    )
    written = []

    def note(self, epoch, tree):
        written.append((epoch, len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())))

    monkeypatch.setattr(checkpoints.Checkpoints, "save", note)
    monkeypatch.setattr(loop, "plot", lambda *_: None)
    loop.train("cross_entropy", asked, tmp_path / "run", quiet)
    assert written == [(1, 1), (2, 2)]


@pytest.mark.parametrize(("last", "diverged"), [([0.1, 0.2], []), ([0.1, np.nan], [5])])
def test_seeds_that_diverged_are_those_whose_last_loss_is_no_number(last, diverged):
    setup = SimpleNamespace(experiment=Experiment(seeds=2, first_seed=4))
    history = [{"train_loss": [np.inf, 1.0]}, {"train_loss": last}]
    assert loop.diverged_seeds(setup, history) == diverged
