import json

import numpy as np
import pytest

from experiments import config
from experiments.__main__ import main
from experiments.commands import compare

NOISES = ["none", "symmetric-0.4"]
SMALL = ["--seeds", "2", "--epochs", "1", "--methods", "cross_entropy", "recommended", "--noises", *NOISES]


def test_every_method_in_every_cell(tmp_path, capsys):
    run_dir = tmp_path / "matrix"
    assert main(["compare", *SMALL, "--run-dir", str(run_dir)]) == 0
    measured = json.loads((run_dir / "matrix.json").read_text())
    assert list(measured["cells"]) == NOISES
    noisy = measured["cells"]["symmetric-0.4"]
    assert list(noisy["methods"]) == ["cross_entropy", "recommended"]
    np.testing.assert_allclose(noisy["realised_noise"]["rate"], 0.4, atol=1e-3)
    assert noisy["config"]["data"]["noise_rate"] == 0.4
    assert measured["provenance"]["machine"]
    assert (run_dir / "matrix.png").stat().st_size > 10_000
    shown = compare.accuracies(measured)["none"]["recommended"]
    assert np.mean(shown) == pytest.approx(
        100 * measured["cells"]["none"]["methods"]["recommended"]["last_10_mean"]["mean"]
    )
    assert "symmetric" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--noises", "symmetric"], "--noises has symmetric; expected none or KIND-RATE"),
        (["--noises", "salt-0.4"], "--noises has salt-0.4; the kinds are symmetric, "),
        (["--noises", "pair-1.4"], "--noise-rate must be in [0, 1], got 1.4"),
        (
            ["--noises", "none", "--noise", "pair", "--noise-rate", "0.2"],
            "leave out --noise and --noise-rate",
        ),
        (["--noises", "labels-file"], "--labels-file FILE and `labels-file` in --noises belong together"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(flags, message, tmp_path, capsys):
    assert main(["compare", *flags, "--run-dir", str(tmp_path / "matrix")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "matrix").exists()


def test_labels_of_a_file_are_a_column_of_their_own():
    experiment = config.Experiment(data=config.Data(labels_file="labels.npz"))
    assert compare.under_noise(experiment, "labels-file") == experiment
    assert compare.under_noise(experiment, "none").data == config.Data()
    assert compare.under_noise(experiment, "pair-0.2").data == config.Data(noise="pair", noise_rate=0.2)
