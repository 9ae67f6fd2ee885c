"""Partially Huberised losses with ResNet-50 on CIFAR-10."""

from experiments.config import Augmentation, Data, Experiment, Model, Optimization, Train, hyperparameters
from experiments.presets.preset import Preset

PAPER = (
    "Menon, Rawat, Reddi, Kumar: Can gradient clipping mitigate label noise?, ICLR 2020, in the "
    "reproduction of the ML Reproducibility Challenge 2020"
)
DIFFERS = (
    "exactly the given share of labels is changed (published: each with that probability); initial weights "
    "of the first convolution (published: PyTorch's defaults); an epoch's last, smaller batch is dropped."
)


def preset(short: str, method: str, own: dict[str, float], rate: float, accuracy: str) -> Preset:
    """The setting for one loss and rate of symmetric noise."""
    return Preset(
        name=f"{short}-cifar10-{f'sym{rate}' if rate else 'clean'}",
        paper=PAPER,
        source=(
            "github.com/dmizr/phuber: README.md (table CIFAR-10 with ResNet-50), "
            "conf/hparams/cifar10_resnet50.yaml, phuber/dataset.py, phuber/transform.py, phuber/network.py"
        ),
        differs=DIFFERS,
        expected=f"{accuracy} %",
        train=Train(
            method=method,
            experiment=Experiment(
                data=Data(
                    "cifar10",
                    noise="symmetric" if rate else "none",
                    noise_rate=rate or None,
                    standardize=True,
                ),
                model=Model("resnet50"),
                augmentation=Augmentation(("crop", "flip"), crop_padding=4),
                optimization=Optimization(
                    epochs=400,
                    batch_size=64,
                    learning_rate=0.1,
                    learning_rate_schedule="step",
                    learning_rate_steps=(160, 300, 360),
                    learning_rate_factor=0.1,
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
CE = {0.0: "94.8 ± 0.0", 0.2: "92.8 ± 0.2", 0.4: "87.8 ± 0.2", 0.6: "73.2 ± 0.2"}
GCE = {0.0: "95.4 ± 0.1", 0.2: "92.2 ± 0.2", 0.4: "81.5 ± 0.2", 0.6: "54.3 ± 0.5"}
PRESETS = [
    *(preset("phuber", "phuber_cross_entropy", {"tau": 2.0}, *found) for found in CE.items()),
    *(
        preset("phuber-gce", "phuber_generalized_cross_entropy", {"q": 0.7, "tau": 10.0}, *found)
        for found in GCE.items()
    ),
]
