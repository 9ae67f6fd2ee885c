"""The convolutional networks against published numbers, and against second implementations."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments.config import Model
from experiments.models.build import build
from experiments.models.cnn import CNN8
from experiments.models.layers import Style, max_pool
from experiments.models.network import as_functions
from experiments.models.resnet import ResNet, basic_block, bottleneck, plain_conv
from experiments.models.wide_resnet import PreActivationBlock, WideResNet
from experiments.terminal import UserError


def parameters(model, num_classes=10):
    network = build(Model(model), (32, 32, 3), num_classes)
    params, _ = jax.eval_shape(network.init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("model", "num_classes", "expected"),
    [
        # ResNets as in the PyTorch code for CIFAR that most papers use; counts of its models.
        ("resnet18", 10, 11_173_962),
        pytest.param("resnet34", 10, 21_282_122, marks=pytest.mark.slow),
        pytest.param("resnet50", 10, 23_520_842, marks=pytest.mark.slow),
        ("resnet50", 100, 23_705_252),
        # 36.5 and 2.2 million in the paper; these are without biases in convolutions or norms in shortcuts.
        ("wideresnet40_2", 10, 2_243_546),
        ("wideresnet28_10", 10, 36_479_194),
    ],
)
def test_published_numbers_of_parameters(model, num_classes, expected):
    assert parameters(model, num_classes) == expected


def test_parameters_of_the_eight_layers_by_hand():
    convolutions = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 196), (196, 196)]
    weights = sum(9 * a * b + b for a, b in convolutions) + (4 * 4 * 196 + 1) * 256 + 257 * 10
    norms = 2 * (sum(b for _, b in convolutions) + 256)
    assert parameters("cnn8") == weights + norms


def shapes_of_stages(make, size=32):
    graph, state = nnx.split(nnx.eval_shape(lambda: make(style=Style(), rngs=nnx.Rngs(0))))

    def outputs(state):
        model = nnx.merge(graph, state)
        found = [model.stem(jnp.zeros((1, size, size, 3)))]
        for stage in model.stages:
            found.append(stage(found[-1]))
        return found

    return [x.shape[1:] for x in jax.eval_shape(outputs, state)]


def test_images_halve_where_the_papers_halve_them():
    stages = [(32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512)]
    basic = functools.partial(ResNet, (2, 2, 2, 2), basic_block, 3, 10)
    assert shapes_of_stages(basic) == [(32, 32, 64), *stages]
    deep = functools.partial(ResNet, (3, 4, 6, 3), bottleneck, 3, 10)
    assert shapes_of_stages(deep) == [(32, 32, 64), *((*shape[:2], 4 * shape[2]) for shape in stages)]
    wide = functools.partial(WideResNet, 28, 10, 3, 10)
    assert shapes_of_stages(wide) == [(32, 32, 16), (32, 32, 160), (16, 16, 320), (8, 8, 640)]
    # An odd size rounds up, as with a pixel of padding on each side.
    assert shapes_of_stages(wide, size=7) == [(7, 7, 16), (7, 7, 160), (4, 4, 320), (2, 2, 640)]


# The second implementation: loops over a kernel's nine places in numpy, float64.


def convolve(x, layer, stride=1):
    kernel = np.asarray(layer.kernel[...], np.float64)
    size = kernel.shape[0]
    padded = np.pad(x, ((0, 0), *[(size // 2, size // 2)] * 2, (0, 0)))
    height, width = (x.shape[1] - 1) // stride + 1, (x.shape[2] - 1) // stride + 1
    y = np.zeros((len(x), height, width, kernel.shape[3]))
    for i in range(size):
        for j in range(size):
            seen = padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
            y += seen[:, :height, :width] @ kernel[i, j]
    return y if layer.bias is None else y + np.asarray(layer.bias[...])


def batch_norm(x, layer):
    axes = tuple(range(x.ndim - 1))
    scaled = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)
    return scaled * np.asarray(layer.scale[...]) + np.asarray(layer.bias[...])


def relu(x):
    return np.maximum(x, 0)


def dense(x, layer):
    return x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])


def residual_block(x, block, stride):
    strides = [stride, 1] if len(block.convolutions) == 2 else [1, stride, 1]
    y = x
    for i, (layer, norm) in enumerate(zip(block.convolutions, block.norms, strict=True)):
        y = batch_norm(convolve(relu(y) if i else y, layer, strides[i]), norm)
    if block.shortcut is not None:
        x = batch_norm(convolve(x, block.shortcut.convolution, stride), block.shortcut.norm)
    return relu(y + x)


def resnet(x, model):
    x = relu(batch_norm(convolve(x, model.stem), model.stem_norm))
    for i, stage in enumerate(model.stages):
        for j, block in enumerate(stage.layers):
            x = residual_block(x, block, 2 if i and not j else 1)
    return dense(x.mean((1, 2)), model.head)


def pre_activation_block(x, block, stride):
    active = relu(batch_norm(x, block.norms[0]))
    y = convolve(active, block.first, stride)
    y = convolve(relu(batch_norm(y, block.norms[1])), block.second)
    return y + (x if block.shortcut is None else convolve(active, block.shortcut, stride))


def wide_resnet(x, model):
    x = convolve(x, model.stem)
    for i, stage in enumerate(model.stages):
        for j, block in enumerate(stage.layers):
            x = pre_activation_block(x, block, 2 if i and not j else 1)
    return dense(relu(batch_norm(x, model.norm)).mean((1, 2)), model.head)


def cnn8(x, model):
    for i, (layer, norm) in enumerate(zip(model.convolutions, model.norms, strict=True)):
        x = relu(batch_norm(convolve(x, layer), norm))
        if i in (1, 3, 5):
            n, height, width, channels = x.shape
            x = x[:, : height // 2 * 2, : width // 2 * 2]
            x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
    x = relu(batch_norm(dense(x.reshape(len(x), -1), model.hidden), model.hidden_norm))
    return dense(x, model.head)


@pytest.mark.parametrize(
    ("reference", "make"),
    [
        (resnet, lambda rngs: ResNet((1, 2), basic_block, 2, 3, Style(), channels=4, rngs=rngs)),
        (resnet, lambda rngs: ResNet((2, 1), bottleneck, 2, 3, Style(), channels=4, rngs=rngs)),
        (wide_resnet, lambda rngs: WideResNet(10, 1, 2, 3, Style(), rngs=rngs)),
        (cnn8, lambda rngs: CNN8((10, 9, 2), 3, Style(), channels=(4, 6, 8), hidden=5, rngs=rngs)),
    ],
    ids=["basic", "bottleneck", "wide", "cnn8"],
)
def test_logits_are_those_of_a_second_implementation(reference, make):
    rng = np.random.default_rng(2)
    abstract = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
    graph, params, statistics = nnx.split(abstract, nnx.Param, ...)

    def draw(leaf):
        # Norms start as the identity, which would hide a missing or a misplaced one.
        scale = math.sqrt(2 / math.prod(leaf.shape[:-1]))
        values = rng.normal(size=leaf.shape) * scale if leaf.ndim > 1 else rng.uniform(0.5, 1.5, leaf.shape)
        return values.astype(np.float32)

    params, statistics = jax.tree.map(draw, params), jax.tree.map(draw, statistics)
    x = rng.normal(size=(6, 10, 9, 2))
    apply = jax.jit(as_functions(make, convolutional=True).apply, static_argnames="train")
    logits, _ = apply(params, statistics, x.astype(np.float32), train=True)
    expected = reference(x, nnx.merge(graph, params, statistics))
    np.testing.assert_allclose(logits, expected, rtol=2e-4, atol=2e-4)


def test_where_weights_start():
    """He-normal by outputs in residual networks; He- and Xavier-uniform in the 8-layer CNN."""
    kernel = plain_conv(32, 64, Style(), rngs=nnx.Rngs(0)).kernel[...]
    deviation = math.sqrt(2 / (9 * 64))
    assert float(jnp.std(kernel)) == pytest.approx(deviation, rel=0.02)
    # Not cut off.
    assert float(jnp.abs(kernel).max()) > 3 * deviation

    @jax.jit
    def kernels():
        model = CNN8((8, 8, 32), 10, Style("none"), channels=(32, 32, 32), rngs=nnx.Rngs(0))
        return model.convolutions[0].kernel[...], model.hidden.kernel[...]

    kernel, hidden = kernels()
    for values, limit in ((kernel, math.sqrt(6 / (9 * 32))), (hidden, math.sqrt(6 / (32 + 256)))):
        assert 0.99 * limit < float(jnp.abs(values).max()) <= limit


@pytest.mark.parametrize(
    ("block", "inputs", "channels", "stride", "bare"),
    [
        (basic_block, 8, 8, 1, True),
        (basic_block, 8, 8, 2, False),
        (basic_block, 8, 16, 1, False),
        (bottleneck, 32, 8, 1, True),
        (bottleneck, 8, 8, 1, False),
        (PreActivationBlock, 8, 8, 1, True),
        (PreActivationBlock, 8, 16, 1, False),
    ],
)
def test_an_unchanged_shape_has_a_bare_shortcut(block, inputs, channels, stride, bare):
    made = nnx.eval_shape(lambda: block(inputs, channels, stride, Style(), rngs=nnx.Rngs(0)))
    assert (made.shortcut is None) == bare


@pytest.mark.parametrize(
    ("model", "norm"), [("mlp", False), ("cnn", False), ("cnn8", True), ("resnet18", True)]
)
def test_default_norms(model, norm):
    _, statistics = jax.eval_shape(build(Model(model), (16, 16, 3), 10).init, jax.random.key(0))
    assert bool(jax.tree.leaves(statistics)) == norm


def test_images_too_small_for_the_eight_layers():
    with pytest.raises(UserError, match="at least 8x8 pixels, got 8x7; use --model cnn"):
        build(Model("cnn8"), (8, 7, 1), 10)


@pytest.mark.parametrize(("keep_rest", "padding"), [(True, "SAME"), (False, "VALID")])
@pytest.mark.parametrize("shape", [(2, 6, 4, 3), (2, 5, 7, 3), (1, 1, 2, 1)])
def test_max_pooling_is_that_of_flax(shape, keep_rest, padding):
    # Without ties, where the two hand the gradient to different pixels.
    x = np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype(np.float32) - 20

    def flax_pool(x):
        return nnx.max_pool(x, (2, 2), strides=(2, 2), padding=padding)

    found, pull_back = jax.vjp(functools.partial(max_pool, keep_rest=keep_rest), x)
    expected, pull_back_flax = jax.vjp(flax_pool, x)
    np.testing.assert_array_equal(found, expected)
    slopes = np.arange(found.size, dtype=np.float32).reshape(found.shape)
    np.testing.assert_array_equal(pull_back(slopes)[0], pull_back_flax(slopes)[0])
    assert max_pool(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
