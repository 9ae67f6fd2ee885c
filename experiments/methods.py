"""The methods by name: each is a robust loss with, possibly, a sharpness-aware transformation.

Every loss of the library is a method. To add another one to the package, write a function below and list it
in `METHODS` or `TRANSFORMATIONS`: its keyword arguments are the hyper-parameters, its first line is what
`list methods` says of it. A method of your own needs no change here: `--method mine.py:my_loss`.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import optax
from numpy.typing import NDArray

import noisy_optax as nox
from noisy_optax import RobustLoss, losses
from noisy_optax.robust_loss import Loss, as_robust_loss


class Setting(NamedTuple):
    """What a method may know of the run it is part of: never the noise kind, the rate or a clean label.

    Attributes:
      train_examples: how many examples are trained on; their indices are below that.
    """

    num_classes: int
    epochs: int
    steps_per_epoch: int
    learning_rate: optax.Schedule
    train_examples: int


def _nothing(state: Any) -> dict[str, Any]:
    return {}


class Method(NamedTuple):
    """A robust loss, and what may come between its gradients and the optimizer.

    Attributes:
      transformation: what the gradients pass before the optimizer.
      sharpness: what makes a second gradient of the first and combines them, or None.
      measure: `measure(loss_state) -> metrics`, what to log of the loss's state after each epoch.
      noticed: `noticed(loss_state) -> sentence`, what to say of all seeds after the training, or None.
    """

    loss: RobustLoss
    transformation: optax.GradientTransformation = optax.identity()
    sharpness: nox.sharpness.SharpnessAware | None = None
    measure: Callable[[Any], dict[str, Any]] = _nothing
    noticed: Callable[[Any], str] | None = None


def dal(
    setting: Setting,
    *,
    q_start: float = 0.6,
    q_end: float = 1.5,
    curve: Literal["linear", "cosine"] = "linear",
) -> Method:
    """Dynamics-aware loss (Li et al. 2023): q grows while training, bootstrapping sets in above 1."""
    loss = losses.dal(setting.epochs, setting.steps_per_epoch, q_start=q_start, q_end=q_end, curve=curve)
    return Method(loss, measure=lambda state: dict(state.hyperparameters))


def mae_logit_bias(
    setting: Setting,
    *,
    target_probability: float = losses.MEAN_ABSOLUTE_ERROR_TARGET,
) -> Method:
    """Mean absolute error with a logit bias made for the number of classes (Staats et al. 2023)."""
    epsilon = losses.logit_bias(setting.num_classes, target_probability=target_probability)
    return Method(as_robust_loss(losses.with_logit_bias(losses.mean_absolute_error, epsilon)))


def ogc(
    setting: Setting,
    *,
    base: Literal["cross_entropy", "focal", "generalized_cross_entropy"] = "cross_entropy",
    epsilon: float = 20.0,
    update_every: int = 32,
    queue_size: int = 4096,
    mode: Literal["default", "published"] = "default",
) -> Method:
    """Optimized gradient clipping (Ye et al. 2025): the clipping threshold follows the training."""
    bases: dict[str, Loss] = {
        "cross_entropy": losses.cross_entropy,
        "focal": functools.partial(losses.focal, gamma=0.5),
        "generalized_cross_entropy": functools.partial(losses.generalized_cross_entropy, q=0.7),
    }
    if base not in bases:
        raise ValueError(f"base must be one of {', '.join(bases)}, got {base!r}")
    loss = nox.ogc.ogc_loss(
        bases[base],
        learning_rate=setting.learning_rate,
        epsilon=epsilon,
        update_every=update_every,
        queue_size=queue_size,
        mode=mode,
    )

    def measure(state):
        return {
            "tau": state.tau,
            "probability_threshold": state.probability_threshold,
            "mixture_means": state.mixture.means,
            "mixture_variances": state.mixture.variances,
            "mixture_weights": state.mixture.weights,
        }

    return Method(loss, measure=measure)


def elr(
    setting: Setting,
    *,
    weight: float = 3.0,
    decay: float = 0.7,
) -> Method:
    """Early-learning regularization (Liu et al. 2020): remembers what was predicted for each example."""
    return Method(
        nox.memory.early_learning_regularization(
            setting.train_examples, setting.num_classes, weight=weight, decay=decay
        )
    )


def recommended(setting: Setting) -> Method:
    """Cross-entropy until the network begins to memorise, then early-learning regularization: no choice."""
    loss = nox.recommended(setting.train_examples, setting.num_classes)

    def measure(state):
        found = nox.memory.memorised_share(state.watch, setting.train_examples)
        return {
            "memorised_share": found.share,
            "memorised_share_error": found.standard_error,
            "regularization": state.early_learning.weight,
        }

    return Method(loss, measure=measure, noticed=memorising_noticed)


def memorising_noticed(state: nox.RecommendedState) -> str:
    """What the recommended loss noticed, for the seeds of the state.

    >>> import jax.numpy as jnp, noisy_optax as nox
    >>> memorising_noticed(nox.recommended(100, 2).init())
    'nothing was memorised: trained like cross-entropy'
    """
    began, weights = (np.atleast_1d(np.asarray(x)) for x in (state.noticed_at, state.early_learning.weight))
    noticed = np.isfinite(began)
    said = [
        (noticed & (weights > 0), "memorising began at epoch {}"),
        (
            noticed & (weights == 0),
            "labels were memorised as fast as anything was learnt, by epoch {}: trained like cross-entropy",
        ),
        (~noticed, "nothing was memorised: trained like cross-entropy"),
    ]
    parts = [(seeds.sum(), words.format(_epochs(began[seeds]))) for seeds, words in said if seeds.any()]
    if len(parts) == 1:
        return parts[0][1]
    return "; ".join(f"with {count} of {len(began)} seeds {words}" for count, words in parts)


def _epochs(times: NDArray[np.floating]) -> str:
    """The epochs within which the times lie, counted from 1."""
    numbers = sorted({math.ceil(time) for time in times[np.isfinite(times)]})
    return " to ".join(map(str, dict.fromkeys([*numbers[:1], *numbers[-1:]])))


def sam(
    setting: Setting,
    *,
    rho: float = 0.1,
) -> nox.sharpness.SharpnessAware:
    """Sharpness-aware minimization (Foret et al. 2021)."""
    return nox.sharpness.sam(rho)


def asam(
    setting: Setting,
    *,
    rho: float = 0.5,
) -> nox.sharpness.SharpnessAware:
    """Adaptive SAM (Kwon et al. 2021)."""
    return nox.sharpness.asam(rho)


def friendly_sam(
    setting: Setting,
    *,
    rho: float = 0.1,
    sigma: float = 1.0,
    decay: float = 0.9,
) -> nox.sharpness.SharpnessAware:
    """Friendly SAM (Li et al. 2024)."""
    return nox.sharpness.friendly_sam(rho, sigma, decay)


def vasso(
    setting: Setting,
    *,
    rho: float = 0.1,
    theta: float = 0.2,
) -> nox.sharpness.SharpnessAware:
    """SAM along the running mean of the gradients (Li and Giannakis 2023)."""
    return nox.sharpness.vasso(rho, theta)


def gsam(
    setting: Setting,
    *,
    rho: float = 0.1,
    alpha: float = 0.01,
) -> nox.sharpness.SharpnessAware:
    """SAM with the surrogate gap (Zhuang et al. 2022)."""
    return nox.sharpness.gsam(rho, alpha)


def saner(
    setting: Setting,
    *,
    rho: float = 0.1,
    group_b_scale: float = 0.5,
    scale_epochs: int = 50,
) -> nox.sharpness.SharpnessAware:
    """SANER: SAM with the components that fit wrong labels scaled down (Luong et al. 2026)."""
    scale = nox.schedules.saner_scale(group_b_scale, scale_epochs, steps_per_epoch=setting.steps_per_epoch)
    return nox.saner(rho, scale)


# Every loss of the library that can be trained with: the others state no properties.
LOSSES: dict[str, Loss] = {
    name: getattr(losses, name) for name in losses.__all__ if losses.properties(getattr(losses, name))
}

METHODS: dict[str, Callable[..., Any]] = LOSSES | {
    function.__name__: function for function in (dal, mae_logit_bias, ogc, elr, recommended)
}

TRANSFORMATIONS: dict[str, Callable[..., nox.sharpness.SharpnessAware]] = {
    function.__name__: function for function in (sam, asam, friendly_sam, vasso, gsam, saner)
}
