"""The claim that the README opens with, measured anew: minutes, by name (`make slow`)."""

import json

import pytest

from experiments.__main__ import main

pytestmark = pytest.mark.slow
METHODS = ["cross_entropy", "generalized_cross_entropy", "phuber_cross_entropy"]


def accuracies(run_dir, *noise):
    command = ["compare", *noise, "--methods", *METHODS, "--seeds", "5", "--run-dir", str(run_dir)]
    assert main(command) == 0
    methods = json.loads((run_dir / "summary.json").read_text())["methods"]
    return {name: 100 * methods[name]["last_10_mean"]["mean"] for name in METHODS}


def test_robust_losses_win_under_noise_and_cost_little_without(tmp_path):
    noisy = accuracies(tmp_path / "noisy", "--noise", "symmetric", "--noise-rate", "0.4")
    baseline = noisy.pop("cross_entropy")
    best = max(noisy, key=noisy.get)
    assert noisy[best] > baseline + 10
    clean = accuracies(tmp_path / "clean", "--noise", "none")
    assert clean[best] > clean["cross_entropy"] - 1.5
