"""Active negative loss from cross-entropy (ANL-CE) on CIFAR-10."""

from experiments.commands.flags import Train
from experiments.config import (
    Augmentation,
    Data,
    Experiment,
    Model,
    Noise,
    Optimization,
)
from experiments.presets.preset import Preset

PAPER = (
    "Ye, Li, Dai, Liu, Sun, Tong: Active Negative Loss Functions for Learning with Noisy Labels, NeurIPS 2023"
)


def preset(short: str, noise: Noise, rate: float) -> Preset:
    """The setting for one kind and rate of noise."""
    return Preset(
        name=f"anl-cifar10-{short}{rate}",
        paper=PAPER,
        source=(
            "github.com/Virusdoll/Active-Negative-Loss: config/cifar10_anl_ce.json, loss.py, trainer.py, "
            "dataset.py, models/toymodel.py; its README.md trains with symmetric noise at 0.8, the other "
            "rates are ours"
        ),
        differs="an epoch's last, smaller batch is dropped; the logged loss leaves out the L1 term.",
        headline="main.py prints that of every epoch; it does not say which is reported",
        train=Train(
            method="nce_nnce:alpha=5.0,beta=5.0,min_probability=1e-7",
            experiment=Experiment(
                data=Data("cifar10", noise=noise, noise_rate=rate, scaling="standardize"),
                model=Model("cnn8"),
                augmentation=Augmentation(("crop", "flip"), crop_padding=4),
                optimization=Optimization(
                    epochs=120,
                    batch_size=128,
                    learning_rate=0.01,
                    learning_rate_schedule="cosine",
                    momentum=0.9,
                    weight_decay=0.0,
                    l1_decay=5e-5,
                    gradient_norm_clip=5.0,
                ),
            ),
        ),
    )


PRESETS = [
    *(preset("sym", "symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    preset("asym", "asymmetric", 0.4),
]
