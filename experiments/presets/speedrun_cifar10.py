"""CIFAR-10 in seconds on a GPU, as the public speed-run records train it; no paper."""

from experiments.commands.flags import Train
from experiments.config import Augmentation, Data, Experiment, Model, Optimization
from experiments.presets.preset import Preset

# Share of the steps in which the learning rate rises.
RISING_SHARE = 0.23

PRESETS = [
    Preset(
        name="speedrun-cifar10",
        paper="none; the public speed-run records, which reach 94 % in ten epochs",
        source=(
            "github.com/KellerJordan/cifar10-airbench (airbench94) and github.com/tysam-code/hlb-CIFAR10: "
            "what both have in common, with our own code and data order"
        ),
        differs=(
            "cross-entropy without label smoothing; biases have the learning rate of the other weights; "
            "flips are drawn anew each epoch (airbench94 alternates them); no averaging of weights; "
            "predictions are the mean over an image and its mirror image (airbench94: over translations "
            "too); pictures are padded with black (airbench94: mirrored)."
        ),
        expected="94 (their mark)",
        headline="the last epoch, the mean of many runs",
        train=Train(
            method="cross_entropy",
            experiment=Experiment(
                data=Data("cifar10", scaling="standardize"),
                model=Model("speedrun", precision="bfloat16"),
                augmentation=Augmentation(("crop", "flip"), crop_padding=2, evaluate_flipped=True),
                optimization=Optimization(
                    epochs=10,
                    batch_size=1024,
                    learning_rate=1.5,
                    learning_rate_schedule="triangle",
                    warmup_epochs=2,
                    momentum=0.85,
                    nesterov=True,
                    weight_decay=1.33e-3,
                    gradient_norm_clip=None,
                ),
            ),
        ),
    )
]
