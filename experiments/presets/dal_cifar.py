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
from experiments.presets.published_labels import PublishedLabels

# The checksums of the labels in the published files, which we had for CIFAR-10.
_PUBLISHED = {
    ("symmetric", 0.2): "c14db86d96d51865661b982eddde3d2532146ad2eafde7b48e29362ad6936d12",
    ("symmetric", 0.4): "44fc754cb3bf025cf27f46ddbfe190613ec39f69c3f3894d84d38874a9d83adc",
    ("symmetric", 0.6): "e39f75421827d65feb85d66176a744318a2c52106c778485f6197d501f26ca74",
    ("symmetric", 0.8): "3955bc3c4fd7ac75009e3c78a9e9ecaef5d71e7b1cbfb43f96ef0042aec5ff41",
    ("asymmetric", 0.2): "90a1786523a2a72b1aac8d26efd0ad1414de497b0431876b275ae9dc1b6373d0",
    ("asymmetric", 0.4): "6cc2e748a292660554d5016187f1a9701e0ec540538ae34dd991ec710c04e1c5",
    ("instance", 0.2): "23a76bbdfcf18d77040643f070dc6aa6d5ac7b0780711e86d209dad6ae5e2288",
    ("instance", 0.4): "6e39fe7e6e5557d56423932011c0e6d48ea0796428c184303f09469db6203e5a",
}


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
            "without `--labels-file FILE` the noise is drawn anew (published: label files; in those of "
            "CIFAR-10, that share of the labels is drawn from all classes, the right one included, so that "
            "17.7, 36.2, 54.0 and 72.0 % are wrong under symmetric noise); initial weights of convolutions "
            "(published: PyTorch's defaults); "
            "CIFAR-10's pixels are divided by the training set's standard deviation (published: 0.2023, "
            "0.1994, 0.2010); an epoch's last, smaller batch is dropped."
        ),
        headline="cifar.py writes that of every epoch; it does not say which is reported",
        labels=published_labels(dataset, noise, rate),
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


def published_labels(dataset: str, noise: Noise, rate: float) -> PublishedLabels | None:
    """The label file that the authors trained on; we did not have those of CIFAR-100."""
    if dataset != "cifar10":
        return None
    return PublishedLabels(f"label/{noise}/cifar10_{round(100 * rate)}.npy", _PUBLISHED[noise, rate])


# CIFAR-100 has asymmetric label files too, but not what maps its classes.
PRESETS = [
    *(preset("cifar10", "sym", "symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    *(preset("cifar10", "asym", "asymmetric", rate) for rate in (0.2, 0.4)),
    *(preset("cifar10", "inst", "instance", rate) for rate in (0.2, 0.4)),
    *(preset("cifar100", "sym", "symmetric", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    *(preset("cifar100", "inst", "instance", rate) for rate in (0.2, 0.4)),
]
