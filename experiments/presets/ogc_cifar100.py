"""Optimized gradient clipping of cross-entropy on CIFAR-100."""

from experiments.config import (
    Augmentation,
    Data,
    Experiment,
    Model,
    Noise,
    Optimization,
    Train,
    hyperparameters,
)
from experiments.presets.ogc_cifar10 import DIFFERS, PAPER
from experiments.presets.preset import Preset


def preset(short: str, noise: Noise, rate: float) -> Preset:
    """The setting for one kind and rate of noise."""
    return Preset(
        name=f"ogc-cifar100-{short}{rate}",
        paper=PAPER,
        source=(
            "github.com/Virusdoll/OGC: script/cifar100/ogc_ce.sh (which has symmetric noise at 0.5; the "
            "other presets change its noise_type and noise_rate), trainer.py, datasets/cifar100.py "
            "(asymmetric noise: to the next of five class numbers in a row)"
        ),
        differs=DIFFERS,
        train=Train(
            method="ogc",
            experiment=Experiment(
                data=Data("cifar100", noise=noise, noise_rate=rate, standardize=True),
                model=Model("resnet34"),
                augmentation=Augmentation(("crop", "flip", "rotate"), crop_padding=4, rotation_degrees=15),
                optimization=Optimization(
                    epochs=150,
                    batch_size=128,
                    learning_rate=0.1,
                    learning_rate_schedule="step",
                    learning_rate_steps=(50, 100),
                    learning_rate_factor=0.1,
                    momentum=0.9,
                    weight_decay=5e-4,
                    gradient_norm_clip=5.0,
                ),
                hyperparameters=hyperparameters(
                    ogc={"epsilon": 20.0, "update_every": 32, "queue_size": 4096, "mode": "published"}
                ),
            ),
        ),
    )


PRESETS = [
    *(preset("sym", "symmetric", rate) for rate in (0.2, 0.5, 0.8)),
    preset("asym", "next_of_five", 0.4),
]
