"""Dynamics-aware loss on CIFAR-10 and CIFAR-100: the same setting for both."""

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


def preset(dataset: str, short: str, noise: Noise, rate: float) -> Preset:
    """The setting for one data set and one kind and rate of noise."""
    return Preset(
        name=f"dal-{dataset}-{short}{rate}",
        paper=(
            "Li, Xia, Zhu, Liu, Zhang, Liu: Dynamics-Aware Loss for Learning with Label Noise, arXiv "
            "2303.11562"
        ),
        source="github.com/XiuchuanLi/DAL: cifar.py, resnet.py, utils/losses.py, utils/noisy_loader.py",
        differs=(
            "the noise is drawn anew (published: label files; their class map, and whether a symmetric one "
            "may keep the label, were not checked; to train on one add `--noise none --noise-rate None "
            "--labels-file FILE`); initial weights of convolutions (published: PyTorch's defaults); "
            "CIFAR-10's pixels are divided by the training set's standard deviation (published: 0.2023, "
            "0.1994, 0.2010); an epoch's last, smaller batch is dropped."
        ),
        train=Train(
            method="dal:q_start=0.6,q_end=1.5,curve=linear",
            experiment=Experiment(
                data=Data(dataset, noise=noise, noise_rate=rate, scaling="standardize"),
                model=Model("resnet18"),
                augmentation=Augmentation(("crop", "flip"), crop_padding=4),
                optimization=Optimization(
                    epochs=150,
                    batch_size=128,
                    learning_rate=0.01,
                    learning_rate_schedule="cosine",
                    momentum=0.9,
                    weight_decay=1e-4,
                    gradient_norm_clip=None,
                ),
            ),
        ),
    )


# CIFAR-100 has asymmetric label files too, but not what maps its classes.
PRESETS = [
    *(preset("cifar10", "sym", "symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    *(preset("cifar10", "asym", "asymmetric", rate) for rate in (0.2, 0.4)),
    *(preset("cifar10", "inst", "instance", rate) for rate in (0.2, 0.4)),
    *(preset("cifar100", "sym", "symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    *(preset("cifar100", "inst", "instance", rate) for rate in (0.2, 0.4)),
]
