"""A flax NNX model's life as pure functions inside a compiled loop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray


class Network(NamedTuple):
    """A model as functions of its arrays.

    Attributes:
      init: `init(key) -> (params, statistics)`; statistics are what no gradient changes: running means and
        variances, frozen filters.
      apply: `apply(params, statistics, images, train=...) -> (logits, statistics)`.
      convolutional: whether it has convolutions.
      fit: `fit(statistics, images) -> statistics`, what is computed from training images, as the network sees
        them, before the first step; None if nothing is.
    """

    init: Callable[[PRNGKeyArray], tuple[Any, Any]]
    apply: Callable[..., tuple[Float[Array, "batch classes"], Any]]
    convolutional: bool
    fit: Callable[[Any, np.ndarray], Any] | None = None


def as_functions(
    module: Callable[[nnx.Rngs], nnx.Module],
    *,
    convolutional: bool,
    fit: Callable[[Any, np.ndarray], Any] | None = None,
) -> Network:
    """The functions of the model that `module` makes."""
    model = nnx.eval_shape(lambda: module(nnx.Rngs(0)))
    model.train()
    train_graph = nnx.graphdef(model)
    model.eval()
    eval_graph = nnx.graphdef(model)

    def init(key):
        model = module(nnx.Rngs(key))
        return nnx.state(model, nnx.Param), nnx.state(model, nnx.Not(nnx.Param))

    def apply(params, statistics, images, *, train):
        # A copy: merging in place would write traced statistics into the caller's variables.
        merged = nnx.merge(train_graph if train else eval_graph, params, statistics, copy=True)
        logits = merged(images)
        return logits, nnx.state(merged, nnx.Not(nnx.Param))

    return Network(init, apply, convolutional, fit)
