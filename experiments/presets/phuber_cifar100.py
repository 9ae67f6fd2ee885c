"""Partially Huberised losses with ResNet-50 on CIFAR-100."""

from experiments.config import Augmentation, Data, Experiment, Model, Optimization, Train, hyperparameters
from experiments.presets.phuber_cifar10 import DIFFERS, PAPER
from experiments.presets.preset import Preset


def preset(short: str, method: str, own: dict[str, float], rate: float, accuracy: str) -> Preset:
    """The setting for one loss and rate of symmetric noise."""
    return Preset(
        name=f"{short}-cifar100-{f'sym{rate}' if rate else 'clean'}",
        paper=PAPER,
        source=(
            "github.com/dmizr/phuber: README.md (table CIFAR-100 with ResNet-50), "
            "conf/hparams/cifar100_resnet50.yaml, phuber/dataset.py, phuber/transform.py, phuber/network.py"
        ),
        differs=DIFFERS,
        expected=f"{accuracy} %",
        train=Train(
            method=method,
            experiment=Experiment(
                data=Data(
                    "cifar100",
                    noise="symmetric" if rate else "none",
                    noise_rate=rate or None,
                    standardize=True,
                ),
                model=Model("resnet50"),
                augmentation=Augmentation(("crop", "flip"), crop_padding=4),
                optimization=Optimization(
                    epochs=200,
                    batch_size=128,
                    learning_rate=0.1,
                    learning_rate_schedule="step",
                    learning_rate_steps=(60, 120, 160),
                    learning_rate_factor=0.2,
                    momentum=0.1,
                    nesterov=True,
                    weight_decay=5e-4,
                    gradient_norm_clip=None,
                ),
                hyperparameters=hyperparameters(**{method: own}),
            ),
        ),
    )


# Mean and spread by noise rate, of one loss each.
CE = {0.0: "60.6 ± 1.1", 0.2: "54.8 ± 1.2", 0.4: "43.1 ± 1.1", 0.6: "24.3 ± 0.8"}
GCE = {0.0: "72.7 ± 0.1", 0.2: "68.4 ± 0.1", 0.4: "60.2 ± 0.2", 0.6: "42.2 ± 0.4"}
PRESETS = [
    *(preset("phuber", "phuber_cross_entropy", {"tau": 10.0}, *found) for found in CE.items()),
    *(
        preset("phuber-gce", "phuber_generalized_cross_entropy", {"q": 0.7, "tau": 10.0}, *found)
        for found in GCE.items()
    ),
]
