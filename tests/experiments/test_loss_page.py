import inspect

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from experiments import loss_page, plots
from noisy_optax import losses

# Those whose values grow without limit, and those that sum to the same over all labels, as their docs say.
UNBOUNDED = {"cross_entropy", "eps_softmax_cross_entropy", "focal", "symmetric_cross_entropy"}
SYMMETRIC = {
    "mean_absolute_error",
    "nce_nnce",
    "nce_rce",
    "normalized_cross_entropy",
    "normalized_focal",
    "normalized_negative_cross_entropy",
    "normalized_negative_focal",
    "reverse_cross_entropy",
    "unhinged",
}


@pytest.fixture(scope="module")
def entries():
    return {entry.name: entry for entry in loss_page.entries()}


def test_every_loss_is_there_with_everything_known_of_it(entries):
    public = {name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))}
    not_losses = {"label_log_odds", "label_log_probability", "logit_bias", "of_probability", "scheduled"}
    assert public - not_losses - {"stateless", "weighted_sum"} | {"ogc_loss"} == set(entries)
    for entry in entries.values():
        assert entry.what.endswith(".")
        assert all(parameter.meaning for parameter in entry.parameters)
        assert entry.values
        assert bool(entry.paper) == (entry.name != "cross_entropy"), entry.name


def test_properties_are_those_that_the_docs_promise(entries):
    plain = [entry for entry in entries.values() if entry.bounded is not None]
    assert {entry.name for entry in plain if not entry.bounded} == UNBOUNDED
    assert {entry.name for entry in plain if entry.symmetric} == SYMMETRIC


def test_slope_is_the_derivative_in_p():
    p = np.array([0.01, 0.3, 0.9])
    value, slope = loss_page.value_and_slope(losses.cross_entropy, p)
    np.testing.assert_allclose(value, -np.log(p), rtol=1e-5)
    np.testing.assert_allclose(slope, 1 / p, rtol=1e-5)


def test_page_and_picture(entries, tmp_path, capsys):
    loss_page.show(list(entries.values()), Console(width=80))
    page = capsys.readouterr().out
    assert "generalized_cross_entropy  bounded, not symmetric" in page
    assert "q = 0.7: in (0, 1]; 0.7 in the paper." in page
    assert "Zhang, Sabuncu" in page
    few = {name: getattr(losses, name) for name in ("cross_entropy", "mean_absolute_error")}
    plots.losses(loss_page.curves(few), tmp_path / "losses.png")
    assert matplotlib.image.imread(tmp_path / "losses.png").shape[1] > 1500
