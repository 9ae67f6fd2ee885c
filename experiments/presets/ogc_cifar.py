"""Optimized gradient clipping of cross-entropy on CIFAR-10 and CIFAR-100."""

from typing import Literal

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

Network = Literal["resnet18", "resnet34"]
Setting = tuple[str, Network, str]
PAPER = (
    "Ye, Wu, Zhang, Li, Chen, Jin: Optimized Gradient Clipping for Noisy Label Learning, AAAI 2025, arXiv "
    "2412.08941"
)
DIFFERS = (
    "rotation interpolates linearly (published: the nearest pixel); an epoch's last, smaller batch is "
    "dropped; the loss's value is continuous at the threshold (same gradient). The published network file "
    "was not at hand: ResNets with the stem for small images are assumed."
)


def preset(dataset: str, model: Network, read: str, short: str, noise: Noise, rate: float) -> Preset:
    """The setting for one data set and one kind and rate of noise; `read` is where its data were read."""
    return Preset(
        name=f"ogc-{dataset}-{short}{rate}",
        paper=PAPER,
        source=(
            f"github.com/Virusdoll/OGC: script/{dataset}/ogc_ce.sh (which has symmetric noise at 0.5; the "
            f"other presets change its noise_type and noise_rate), trainer.py, {read}"
        ),
        differs=DIFFERS,
        headline="the mean of the last ten epochs on the test data, which main.py prints",
        train=Train(
            method="ogc:epsilon=20.0,update_every=32,queue_size=4096,mode=published",
            experiment=Experiment(
                data=Data(dataset, noise=noise, noise_rate=rate, scaling="standardize"),
                model=Model(model),
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
            ),
        ),
    )


CIFAR10: Setting = ("cifar10", "resnet18", "datasets/cifar10.py")
CIFAR100: Setting = (
    "cifar100",
    "resnet34",
    "datasets/cifar100.py (asymmetric noise: to the next of five class numbers in a row)",
)
PRESETS = [
    *(preset(*CIFAR10, "sym", "symmetric", rate) for rate in (0.2, 0.5, 0.8)),
    preset(*CIFAR10, "asym", "asymmetric", 0.4),
    *(preset(*CIFAR100, "sym", "symmetric", rate) for rate in (0.2, 0.5, 0.8)),
    preset(*CIFAR100, "asym", "next_of_five", 0.4),
]
