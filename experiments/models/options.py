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
    layer; `cnn8`: the 8 layers of the papers on robust losses; `resnet18` to `resnet50` and
    `wideresnet40_2`, `wideresnet28_10` (depth, widening): as on CIFAR, with a 3x3 convolution first;
    `speedrun`: whitening and six 3x3 convolutions, which learn CIFAR-10 in seconds on a GPU."""
    width: int = 256
    """Units in a hidden layer of `mlp` and `cnn`; the convolutions of `cnn` have an eighth and a quarter of
    it as channels, those of `speedrun` a quarter of it, all of it and all of it."""
    norm: Literal["default", "none", "batch", "group"] = "default"
    """Normalisation after each convolution and hidden layer (of `cnn`, the convolutions only); by default
    none in `mlp` and `cnn`, batch in the others."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What convolutions and hidden layers are computed in; parameters, norms and logits stay float32."""


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
