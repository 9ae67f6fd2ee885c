import inspect
import re

import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from experiments.methods import LOSSES
from experiments.pages import loss_page, plots
from noisy_optax import losses

# What is the library's own, or everybody's.
WITHOUT_PAPER = {"cross_entropy", "relative_generalized_cross_entropy"}


@pytest.fixture(scope="module")
def entries():
    return {entry.name: entry for entry in loss_page.entries()}


def test_every_loss_is_there_with_everything_known_of_it(entries):
    public = {name for name in losses.__all__ if inspect.isfunction(getattr(losses, name))}
    not_losses = {"label_log_odds", "label_log_probability", "logit_bias", "max_logit_norm", "of_probability"}
    elsewhere = {"ogc_loss", "early_learning_regularization"}
    assert public - not_losses - {"properties", "weighted_sum"} | elsewhere == set(entries)
    for entry in entries.values():
        assert entry.what.endswith(".")
        assert all(parameter.meaning for parameter in entry.parameters)
        assert entry.values
        assert bool(entry.paper) == (entry.name not in WITHOUT_PAPER), entry.name


def test_table_for_the_documentation():
    rows = {row.split("`")[1]: row for row in loss_page.table().splitlines()[2:]}
    assert set(rows) == set(LOSSES)
    assert all(len(re.findall(r" \| ", row)) == 3 for row in rows.values())
    assert "[noisy_optax.losses.focal]" in rows["focal"]
    assert "<br>Zhang, Sabuncu" in rows["generalized_cross_entropy"]
    assert (
        "| $\\frac{1 - p^q}{q}$ | q = 0.7: in (0, 1]; 0.7 in the paper. | bounded |"
        in rows["generalized_cross_entropy"]
    )
    assert "| $1 - p$ |  | bounded, symmetric |" in rows["unhinged"]


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
