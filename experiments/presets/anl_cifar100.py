"""Active negative loss from cross-entropy (ANL-CE) on CIFAR-100."""

from experiments.commands.flags import Train
from experiments.config import (
    Augmentation,
    Data,
    Experiment,
    Model,
    Noise,
    Optimization,
)
from experiments.presets.anl_cifar10 import PAPER
from experiments.presets.preset import Preset


def preset(short: str, noise: Noise, rate: float) -> Preset:
    """The setting for one kind and rate of noise."""
    return Preset(
        name=f"anl-cifar100-{short}{rate}",
        paper=PAPER,
        source=(
            "github.com/Virusdoll/Active-Negative-Loss: config/cifar100_anl_ce.json, loss.py, trainer.py, "
            "dataset.py (asymmetric noise: to the next of five class numbers in a row), models/resnet.py; "
            "the noise rates are ours"
        ),
        differs=(
            "rotation interpolates linearly (published: the nearest pixel); initial weights (published: "
            "He-uniform by inputs in convolutions, Xavier-uniform in the head); an epoch's last, smaller "
            "batch is dropped; the logged loss leaves out the L1 term."
        ),
        headline="main.py prints that of every epoch; it does not say which is reported",
        train=Train(
            method="nce_nnce:alpha=10.0,beta=1.0,min_probability=1e-7",
            experiment=Experiment(
                data=Data("cifar100", noise=noise, noise_rate=rate, scaling="standardize"),
                model=Model("resnet34"),
                augmentation=Augmentation(("crop", "flip", "rotate"), crop_padding=4, rotation_degrees=20),
                optimization=Optimization(
                    epochs=200,
                    batch_size=128,
                    learning_rate=0.1,
                    learning_rate_schedule="cosine",
                    momentum=0.9,
                    weight_decay=0.0,
                    l1_decay=5e-7,
                    gradient_norm_clip=5.0,
                ),
            ),
        ),
    )


PRESETS = [
    *(preset("sym", "symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    preset("asym", "next_of_five", 0.4),
]
