"""SANER on CIFAR-10 and CIFAR-100: the same setting for both."""

from experiments.commands.flags import Train
from experiments.config import Augmentation, Data, Experiment, Model, Optimization
from experiments.presets.preset import Preset


def preset(dataset: str, rate: float) -> Preset:
    """The setting for one data set and rate of symmetric noise."""
    return Preset(
        name=f"saner-{dataset}-sym{rate}",
        paper=(
            "Luong, Nguyen, Tran, Tran: Understanding SAM's Robustness to Noisy Labels through Gradient "
            "Down-weighting, AISTATS 2026, arXiv 2411.17132"
        ),
        source=(
            "github.com/lhchau/saner: README.md (quick start), configs/sam.yaml, utils/experiment.py (steps "
            "at a half and three quarters), utils/loop_one_epoch.py, dataloader/cifar10.py, "
            "dataloader/cifar100.py"
        ),
        differs=(
            "pixels are divided by the training set's standard deviation (published: 0.2023, 0.1994, "
            "0.2010, and CIFAR-10's constants for CIFAR-100 too); BatchNorm's statistics follow the "
            "perturbed pass alone (published: also a pass after each update). The published network file "
            "was not at hand: the ResNet with the stem for small images is assumed."
        ),
        headline=(
            "utils/loop_one_epoch.py keeps the best epoch on the test data, an oracle, beside the last"
        ),
        train=Train(
            method="cross_entropy+saner:rho=0.1,group_b_scale=0.5,scale_epochs=50",
            experiment=Experiment(
                data=Data(dataset, noise="symmetric", noise_rate=rate, scaling="standardize"),
                model=Model("resnet18"),
                augmentation=Augmentation(("flip", "crop"), crop_padding=4),
                optimization=Optimization(
                    epochs=200,
                    batch_size=128,
                    learning_rate=0.1,
                    learning_rate_schedule="step",
                    learning_rate_steps=(100, 150),
                    learning_rate_factor=0.1,
                    momentum=0.9,
                    weight_decay=5e-4,
                    gradient_norm_clip=None,
                    perturbed_statistics=True,
                ),
            ),
        ),
    )


PRESETS = [preset(dataset, rate) for dataset in ("cifar10", "cifar100") for rate in (0.25, 0.5)]
