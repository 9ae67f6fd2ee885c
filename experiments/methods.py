"""The methods by name: each is a robust loss with, possibly, a gradient transformation.

Every loss of the library is a method. To add another one, write a function below and list it in `METHODS` or
`TRANSFORMATIONS`: its keyword arguments become command-line flags with their defaults, its docstring
becomes their help.
"""

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from tyro.conf import arg

import noisy_optax as nox
from experiments.pages import docstrings
from experiments.terminal import UserError
from noisy_optax import RobustLoss, losses, stateless
from noisy_optax.robust_loss import Loss


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
    """

    loss: RobustLoss
    transformation: optax.GradientTransformation = optax.identity()
    sharpness: nox.sharpness.SharpnessAware | None = None
    measure: Callable[[Any], dict[str, Any]] = _nothing


def of_loss(loss: Callable[..., Any]) -> Callable[..., Method]:
    """The method that is a loss of the library and nothing else; its hyper-parameters become the method's."""

    def method(setting, **hyperparameters):
        return Method(stateless(_with(loss, **hyperparameters)))

    own = [
        parameter.replace(annotation=Annotated[type(parameter.default), arg(help=meaning)])
        for parameter, meaning in docstrings.hyperparameters(loss).values()
    ]
    method.__name__ = loss.__name__
    method.__doc__ = (inspect.getdoc(loss) or "").partition("\n")[0]
    method.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    return method


def dal(
    setting: Setting,
    *,
    q_start: Annotated[float, arg(help="exponent in the first epoch, > 0; published 0.6")] = 0.6,
    q_end: Annotated[float, arg(help="exponent after the last epoch, > q_start; published 1.5")] = 1.5,
    curve: Annotated[
        Literal["linear", "cosine"], arg(help="how it grows from epoch to epoch; published linear")
    ] = "linear",
) -> Method:
    """Dynamics-aware loss (Li et al. 2023): q grows while training, bootstrapping sets in above 1."""
    loss = losses.dal(setting.epochs, setting.steps_per_epoch, q_start=q_start, q_end=q_end, curve=curve)
    return Method(loss, measure=lambda state: dict(state.hyperparameters))


def mae_logit_bias(
    setting: Setting,
    *,
    target_probability: Annotated[
        float, arg(help="mean probability of the label to start from; 0.146 gives the published biases")
    ] = losses.MEAN_ABSOLUTE_ERROR_TARGET,
) -> Method:
    """Mean absolute error with a logit bias made for the number of classes (Staats et al. 2023)."""
    epsilon = losses.logit_bias(setting.num_classes, target_probability=target_probability)
    return Method(stateless(losses.with_logit_bias(losses.mean_absolute_error, epsilon)))


def ogc(
    setting: Setting,
    *,
    base: Annotated[
        Literal["cross_entropy", "focal", "generalized_cross_entropy"],
        arg(help="the loss that is clipped, with gamma 0.5 or q 0.7 as published"),
    ] = "cross_entropy",
    epsilon: Annotated[
        float, arg(help="bound on the gradient ratio, less 1, per unit of learning rate; published 20")
    ] = 20.0,
    update_every: Annotated[int, arg(help="steps between refits; published 32")] = 32,
    queue_size: Annotated[int, arg(help="losses the mixture is fitted to; published 4096")] = 4096,
    mode: Annotated[
        Literal["default", "published"], arg(help="how the threshold is searched, see ogc.solve_threshold")
    ] = "default",
) -> Method:
    """Optimized gradient clipping (Ye et al. 2025): the clipping threshold follows the training."""
    bases: dict[str, Loss] = {
        "cross_entropy": losses.cross_entropy,
        "focal": _with(losses.focal, gamma=0.5),
        "generalized_cross_entropy": _with(losses.generalized_cross_entropy, q=0.7),
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
    weight: Annotated[
        float,
        arg(help="weight of the regularization; published 3 (symmetric), 1 (asymmetric), 7 (CIFAR-100)"),
    ] = 3.0,
    decay: Annotated[float, arg(help="of the running targets, in [0, 1); published 0.7 or 0.9")] = 0.7,
) -> Method:
    """Early-learning regularization (Liu et al. 2020): remembers what was predicted for each example."""
    return Method(
        nox.memory.early_learning_regularization(
            setting.train_examples, setting.num_classes, weight=weight, decay=decay
        )
    )


def recommended(
    setting: Setting,
    *,
    decay: Annotated[
        float, arg(help="weight decay in addition to --weight-decay; what is recommended 0.0035")
    ] = 0.0035,
) -> Method:
    """What `nox.recommended` gives, a loss and a transformation: for noise of unknown kind and rate."""
    total_steps = setting.epochs * setting.steps_per_epoch
    loss, transformation = nox.recommended(setting.num_classes, total_steps, weight_decay=decay)
    return Method(loss, transformation, measure=lambda state: dict(state.hyperparameters))


def sam(
    setting: Setting,
    *,
    rho: Annotated[float, arg(help="length of the perturbation; SANER's paper 0.1")] = 0.1,
) -> nox.sharpness.SharpnessAware:
    """Sharpness-aware minimization (Foret et al. 2021)."""
    return nox.sharpness.sam(rho)


def asam(
    setting: Setting,
    *,
    rho: Annotated[float, arg(help="relative length of the perturbation; published 0.5")] = 0.5,
) -> nox.sharpness.SharpnessAware:
    """Adaptive SAM (Kwon et al. 2021)."""
    return nox.sharpness.asam(rho)


def friendly_sam(
    setting: Setting,
    *,
    rho: Annotated[float, arg(help="length of the perturbation")] = 0.1,
    sigma: Annotated[float, arg(help="share of the running mean that is taken out; published 1")] = 1.0,
    decay: Annotated[float, arg(help="of the running mean, in [0, 1]; published 0.9")] = 0.9,
) -> nox.sharpness.SharpnessAware:
    """Friendly SAM (Li et al. 2024)."""
    return nox.sharpness.friendly_sam(rho, sigma, decay)


def vasso(
    setting: Setting,
    *,
    rho: Annotated[float, arg(help="length of the perturbation")] = 0.1,
    theta: Annotated[float, arg(help="weight of the newest gradient, in [0, 1]; published 0.2")] = 0.2,
) -> nox.sharpness.SharpnessAware:
    """SAM along the running mean of the gradients (Li and Giannakis 2023)."""
    return nox.sharpness.vasso(rho, theta)


def gsam(
    setting: Setting,
    *,
    rho: Annotated[float, arg(help="length of the perturbation")] = 0.1,
    alpha: Annotated[float, arg(help="weight of the surrogate gap")] = 0.01,
) -> nox.sharpness.SharpnessAware:
    """SAM with the surrogate gap (Zhuang et al. 2022)."""
    return nox.sharpness.gsam(rho, alpha)


def saner(
    setting: Setting,
    *,
    rho: Annotated[float, arg(help="length of the perturbation; published 0.1")] = 0.1,
    group_b_scale: Annotated[float, arg(help="factor of Group B at the end; published 0.5")] = 0.5,
    scale_epochs: Annotated[int, arg(help="epochs until that factor is reached; published 50")] = 50,
) -> nox.sharpness.SharpnessAware:
    """SANER: SAM with the components that fit wrong labels scaled down (Luong et al. 2026)."""
    scale = nox.schedules.saner_scale(group_b_scale, scale_epochs, steps_per_epoch=setting.steps_per_epoch)
    return nox.saner(rho, scale)


# Every loss of the library that can be trained with: the others state no properties.
LOSSES: dict[str, Loss] = {
    name: getattr(losses, name) for name in losses.__all__ if losses.properties(getattr(losses, name))
}

METHODS: tuple[Callable[..., Method], ...] = (
    *map(of_loss, LOSSES.values()),
    dal,
    mae_logit_bias,
    ogc,
    elr,
    recommended,
)

# What `compare` trains unless told otherwise.
DEFAULT = (
    "cross_entropy",
    "mean_absolute_error",
    "generalized_cross_entropy",
    "phuber_cross_entropy",
    "phuber_generalized_cross_entropy",
    "symmetric_cross_entropy",
    "dal",
    "mae_logit_bias",
    "ogc",
    "cross_entropy+saner",
)

# What `matrix` trains unless told otherwise. OGC's ring and period are scaled to the small data set.
MATRIX = (
    "cross_entropy",
    "generalized_cross_entropy",
    "phuber_cross_entropy:tau=2",
    "symmetric_cross_entropy",
    "mae_logit_bias",
    "jensen_shannon",
    "nce_nnce",
    "logit_clip_cross_entropy",
    "dal",
    "ogc:queue_size=1024,update_every=8",
    "ogc:queue_size=1024,update_every=8,base=generalized_cross_entropy",
    "cross_entropy+sam:rho=0.3",
    "cross_entropy+saner:scale_epochs=25",
    "dal+saner:scale_epochs=25",
    "recommended",
)

TRANSFORMATIONS: tuple[Callable[..., nox.sharpness.SharpnessAware], ...] = (
    sam,
    asam,
    friendly_sam,
    vasso,
    gsam,
    saner,
)


def names() -> list[str]:
    """The losses that `--method` and `--methods` take."""
    return [method.__name__ for method in METHODS]


def transformation_names() -> list[str]:
    """The transformations that may follow a loss after a plus sign."""
    return [transformation.__name__ for transformation in TRANSFORMATIONS]


def build(hyperparameters: dict[str, dict[str, Any]], setting: Setting) -> Method:
    """The method from the names of its loss and transformation, with the keyword arguments of each."""
    built = []
    for name, own in hyperparameters.items():
        try:
            built.append(by_name(name)(setting, **own))
        except ValueError as error:
            raise UserError(f"--method {name}: {error}") from error
    method, *transformation = built
    if not transformation:
        return method
    if "recommended" in hyperparameters:
        raise UserError("recommended comes with a transformation of its own; leave out what follows the plus")
    return method._replace(sharpness=transformation[0])


def by_name(name: str) -> Callable[..., Any]:
    """The function above called `name`, of a loss or of a transformation."""
    for function in (*METHODS, *TRANSFORMATIONS):
        if function.__name__ == name:
            return function
    raise UserError(
        f"no method is called {name!r}; the losses are {', '.join(names())}, the transformations "
        f"{', '.join(transformation_names())}"
    )


def parse(spec: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and hyper-parameters of `loss` or `loss+transformation`, each `name` or `name:key=value,...`.

    >>> parse("phuber_cross_entropy:tau=2+saner")
    [('phuber_cross_entropy', {'tau': 2.0}), ('saner', {})]
    """
    # A plus sign within a number, 1e+3, is followed by a digit.
    parts = [_parse_part(part) for part in re.split(r"\+(?!\d)", spec)]
    kinds = [name in names() for name, _ in parts]
    if kinds not in ([True], [True, False]):
        raise UserError(
            f"{spec}: expected LOSS or LOSS+TRANSFORMATION; the losses are {', '.join(names())}, the "
            f"transformations {', '.join(transformation_names())}"
        )
    return parts


def _parse_part(spec: str) -> tuple[str, dict[str, Any]]:
    name, _, changes = spec.partition(":")
    flags = flags_of(by_name(name))
    defaults = dataclasses.asdict(flags()) if flags else {}
    hyperparameters: dict[str, Any] = {}
    for change in changes.split(",") if ":" in spec else ():
        key, _, value = change.partition("=")
        if key in hyperparameters:
            raise UserError(f"{spec}: {key} is given twice")
        if key not in defaults:
            known = ", ".join(defaults) or "none"
            raise UserError(f"{spec}: {name} has no hyper-parameter {key!r}; it has {known}")
        try:
            hyperparameters[key] = type(defaults[key])(value)
        except ValueError:
            raise UserError(
                f"{spec}: {key} must be a {type(defaults[key]).__name__}, got {value!r}"
            ) from None
    return name, hyperparameters


def flags_of(method: Callable[..., Any]) -> type | None:
    """A dataclass of the method's hyper-parameters with their defaults, or None if it has none."""
    fields = [
        (name, parameter.annotation, dataclasses.field(default=parameter.default))
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    if not fields:
        return None
    flags = dataclasses.make_dataclass(method.__name__, fields, frozen=True)
    flags.__doc__ = method.__doc__
    return flags


def _with(loss: Callable[..., Any], **hyperparameters: float) -> Loss:
    """`loss` with its hyper-parameters set, their ranges checked now rather than in the first step."""
    bound = functools.partial(loss, **hyperparameters)
    jax.eval_shape(bound, jax.ShapeDtypeStruct((1, 2), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32))
    return bound
