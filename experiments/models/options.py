"""Which network to train."""

import dataclasses
from typing import Literal

from experiments.terminal import UserError, check_range


@dataclasses.dataclass(frozen=True)
class Model:
    """The network."""

    model: Literal[
        "mlp", "cnn", "cnn8", "resnet18", "resnet34", "resnet50", "wideresnet40_2", "wideresnet28_10",
        "speedrun"
    ] = "mlp"  # fmt: skip
    """`mlp`: two hidden layers. The others want images [N, H, W, C]. `cnn`: two 3x3 convolutions and a hidden
    layer; `cnn8`: the 8 layers of papers on robust losses; `resnet...` and `wideresnet...` (depth,
    widening): as for CIFAR, a 3x3 convolution first; `speedrun`: whitening and six 3x3 convolutions, which
    learn CIFAR-10 in seconds on a GPU."""
    width: int = 256
    """Units in a hidden layer of `mlp` and `cnn`. Channels are 1/8 and 1/4 of it in `cnn`; 1/4, 1 and 1
    times it in `speedrun`."""
    norm: Literal["default", "none", "batch", "group"] = "default"
    """Normalisation of convolutions and hidden layers (in `cnn`, convolutions); by default batch, but none
    in `mlp` and `cnn`."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Convolutions and hidden layers have it; parameters, norms and logits are float32."""


def check(model: Model) -> None:
    """Raises UserError for values that no single flag's type can rule out."""
    check_range("--width", model.width, 8)
    if model.width != Model.width and model.model not in ("mlp", "cnn", "speedrun"):
        raise UserError(f"--width has no effect with --model {model.model}; it is for mlp, cnn and speedrun")


def norm_of(model: Model) -> Literal["none", "batch", "group"]:
    """The normalisation that is meant."""
    if model.norm != "default":
        return model.norm
    return "none" if model.model in ("mlp", "cnn") else "batch"
