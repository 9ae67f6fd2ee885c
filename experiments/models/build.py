"""Makes the network that a configuration names."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx

from experiments.models.cnn import CNN8, SmallCNN
from experiments.models.layers import Style
from experiments.models.mlp import MLP
from experiments.models.network import Network, as_functions
from experiments.models.options import Model, norm_of
from experiments.models.resnet import ResNet, basic_block, bottleneck
from experiments.models.speedrun import MIN_PIXELS, SpeedrunNetwork, fit_whitening
from experiments.models.wide_resnet import WideResNet
from experiments.terminal import UserError


def build(model: Model, input_shape: tuple[int, ...], num_classes: int) -> Network:
    """The network that the configuration names, for examples of `input_shape`."""
    style = Style(norm_of(model), jnp.dtype(model.precision))
    if model.model == "mlp":
        return as_functions(
            lambda rngs: MLP(math.prod(input_shape), num_classes, model.width, style, rngs=rngs),
            convolutional=False,
        )
    if len(input_shape) != 3:
        raise UserError(
            f"--model {model.model} needs images [N, H, W, C], got [N, {input_shape[0]}]; use --model mlp"
        )
    height, width, channels = input_shape
    if model.model == "cnn8" and min(height, width) < 8:
        raise UserError(
            f"--model cnn8 halves its images three times: expected at least 8x8 pixels, got "
            f"{height}x{width}; use --model cnn"
        )
    if model.model == "speedrun" and min(height, width) < MIN_PIXELS:
        raise UserError(
            f"--model speedrun halves its images three times and takes a pixel off first: expected at least "
            f"{MIN_PIXELS}x{MIN_PIXELS} pixels, got {height}x{width}; use --model cnn"
        )
    make: Callable[..., nnx.Module]
    fit = None
    match model.model:
        case "cnn":
            make = functools.partial(SmallCNN, (height, width, channels), num_classes, model.width)
        case "cnn8":
            make = functools.partial(CNN8, (height, width, channels), num_classes)
        case "resnet18":
            make = functools.partial(ResNet, (2, 2, 2, 2), basic_block, channels, num_classes)
        case "resnet34":
            make = functools.partial(ResNet, (3, 4, 6, 3), basic_block, channels, num_classes)
        case "resnet50":
            make = functools.partial(ResNet, (3, 4, 6, 3), bottleneck, channels, num_classes)
        case "wideresnet40_2":
            make = functools.partial(WideResNet, 40, 2, channels, num_classes)
        case "wideresnet28_10":
            make = functools.partial(WideResNet, 28, 10, channels, num_classes)
        case "speedrun":
            make = functools.partial(SpeedrunNetwork, channels, num_classes, model.width)
            fit = fit_whitening
    return as_functions(lambda rngs: make(style, rngs=rngs), convolutional=True, fit=fit)
