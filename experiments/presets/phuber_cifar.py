"""Partially Huberised losses with ResNet-50 on CIFAR-10 and CIFAR-100."""

from typing import NamedTuple

from experiments.commands.flags import Train
from experiments.config import Augmentation, Data, Experiment, Model, Optimization
from experiments.presets.preset import Preset

PAPER = (
    "Menon, Rawat, Reddi, Kumar: Can gradient clipping mitigate label noise?, ICLR 2020, in the "
    "reproduction of the ML Reproducibility Challenge 2020"
)
DIFFERS = (
    "exactly the given share of labels is changed (published: each with that probability); initial weights "
    "of the first convolution (published: PyTorch's defaults); an epoch's last, smaller batch is dropped."
)


class Setting(NamedTuple):
    """What differs between the data sets; `table` is what the source's tables call this one."""

    dataset: str
    table: str
    epochs: int
    batch_size: int
    learning_rate_steps: tuple[int, ...]
    learning_rate_factor: float


def preset(setting: Setting, short: str, method: str, rate: float, accuracy: str) -> Preset:
    """The setting for one data set, loss and rate of symmetric noise."""
    dataset = setting.dataset
    return Preset(
        name=f"{short}-{dataset}-{f'sym{rate}' if rate else 'clean'}",
        paper=PAPER,
        source=(
            f"github.com/dmizr/phuber: README.md (table {setting.table} with ResNet-50), "
            f"conf/hparams/{dataset}_resnet50.yaml, phuber/dataset.py, phuber/transform.py, phuber/network.py"
        ),
        differs=DIFFERS,
        expected=f"{accuracy} %",
        headline=(
            "the last epoch, once on the test data, as phuber/runner.py does; mean and spread over runs"
        ),
        train=Train(
            method=method,
            experiment=Experiment(
                data=Data(
                    dataset,
                    noise="symmetric" if rate else "none",
                    noise_rate=rate or None,
                    scaling="standardize",
                ),
                model=Model("resnet50"),
                augmentation=Augmentation(("crop", "flip"), crop_padding=4),
                optimization=Optimization(
                    epochs=setting.epochs,
                    batch_size=setting.batch_size,
                    learning_rate=0.1,
                    learning_rate_schedule="step",
                    learning_rate_steps=setting.learning_rate_steps,
                    learning_rate_factor=setting.learning_rate_factor,
                    momentum=0.1,
                    nesterov=True,
                    weight_decay=5e-4,
                    gradient_norm_clip=None,
                ),
            ),
        ),
    )


CIFAR10 = Setting("cifar10", "CIFAR-10", 400, 64, (160, 300, 360), 0.1)
CIFAR100 = Setting("cifar100", "CIFAR-100", 200, 128, (60, 120, 160), 0.2)
CE, GCE = "phuber_cross_entropy", "phuber_generalized_cross_entropy:q=0.7,tau=10.0"
# With mean and spread of the accuracy by noise rate.
MEASURED: list[tuple[Setting, str, str, dict[float, str]]] = [
    (CIFAR10, "phuber", f"{CE}:tau=2.0",
     {0.0: "94.8 ± 0.0", 0.2: "92.8 ± 0.2", 0.4: "87.8 ± 0.2", 0.6: "73.2 ± 0.2"}),
    (CIFAR10, "phuber-gce", GCE,
     {0.0: "95.4 ± 0.1", 0.2: "92.2 ± 0.2", 0.4: "81.5 ± 0.2", 0.6: "54.3 ± 0.5"}),
    (CIFAR100, "phuber", f"{CE}:tau=10.0",
     {0.0: "60.6 ± 1.1", 0.2: "54.8 ± 1.2", 0.4: "43.1 ± 1.1", 0.6: "24.3 ± 0.8"}),
    (CIFAR100, "phuber-gce", GCE,
     {0.0: "72.7 ± 0.1", 0.2: "68.4 ± 0.1", 0.4: "60.2 ± 0.2", 0.6: "42.2 ± 0.4"}),
]  # fmt: skip
PRESETS = [
    preset(setting, short, method, rate, accuracy)
    for setting, short, method, accuracies in MEASURED
    for rate, accuracy in accuracies.items()
]
