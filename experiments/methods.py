"""The methods by name: each is a robust loss with, possibly, a sharpness-aware transformation.

Every loss of the library is a method. To add another one to the package, write a function below and list it
in `METHODS` or `TRANSFORMATIONS`: its keyword arguments are the hyper-parameters, its first line is what
`list methods` says of it. A method of your own needs no change here: `--method mine.py:my_loss`.
"""

import difflib
import functools
import hashlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

import noisy_optax as nox
from experiments.terminal import UserError, one_line
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
    """

    loss: RobustLoss
    transformation: optax.GradientTransformation = optax.identity()
    sharpness: nox.sharpness.SharpnessAware | None = None
    measure: Callable[[Any], dict[str, Any]] = _nothing


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


def recommended(
    setting: Setting,
    *,
    decay: float = 0.0035,
) -> Method:
    """What `nox.recommended` gives, a loss and a transformation: for noise of unknown kind and rate."""
    total_steps = setting.epochs * setting.steps_per_epoch
    loss, transformation = nox.recommended(setting.num_classes, total_steps, weight_decay=decay)
    return Method(loss, transformation, measure=lambda state: dict(state.hyperparameters))


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


class Part(NamedTuple):
    """A loss or a transformation as the command line names it.

    Attributes:
      name: of the package, or FILE.py:NAME.
      function: what makes it.
      changed: the hyper-parameters that are set.
    """

    name: str
    function: Callable[..., Any]
    changed: dict[str, Any]


def parse(spec: str) -> list[Part]:
    """The parts of `LOSS` or `LOSS+TRANSFORMATION`, each `NAME` or `NAME:KEY=VALUE,...`.

    >>> [part[::2] for part in parse("phuber_cross_entropy:tau=2+saner")]
    [('phuber_cross_entropy', {'tau': 2.0}), ('saner', {})]
    """
    names = _split(spec)
    if len(names) > 2:
        raise UserError(f"{spec}: expected LOSS or LOSS+TRANSFORMATION")
    return [_parse_part(name, kind) for name, kind in zip(names, (METHODS, TRANSFORMATIONS), strict=False)]


def hyperparameters(spec: str) -> dict[str, dict[str, Any]]:
    """All hyper-parameters of each part, by its name: those that are set and the defaults of the rest.

    >>> hyperparameters("generalized_cross_entropy+sam:rho=0.3")
    {'generalized_cross_entropy': {'q': 0.7}, 'sam': {'rho': 0.3}}
    """
    return {part.name: defaults(part.function) | part.changed for part in parse(spec)}


def spelled(hyperparameters: dict[str, dict[str, Any]]) -> str:
    """The inverse of `hyperparameters`; defaults are left out.

    >>> spelled({"generalized_cross_entropy": {"q": 0.7}, "sam": {"rho": 0.3}})
    'generalized_cross_entropy+sam:rho=0.3'
    """
    parts = []
    for (name, own), kind in zip(hyperparameters.items(), (METHODS, TRANSFORMATIONS), strict=False):
        # A file of the user's may be gone; what was set is in the record.
        known = {} if ".py:" in name else defaults(_by_name(name, kind))
        changed = [f"{key}={value}" for key, value in own.items() if key not in known or known[key] != value]
        parts.append(f"{name}:{','.join(changed)}" if changed else name)
    return "+".join(parts)


def build(spec: str, setting: Setting) -> Method:
    """The method that `spec` names."""
    first, *second = parse(spec)
    method = _attempt(first, lambda: _as_method(first, setting))
    if not second:
        return method
    if first.name == "recommended":
        raise UserError("recommended comes with a transformation of its own; leave out what follows the plus")
    return method._replace(sharpness=_attempt(second[0], lambda: _make(second[0], setting)))


def own_code(spec: str) -> dict[str, str]:
    """Fingerprints of the files of the user's own methods in `spec`, by the methods' names."""
    return {
        f"{own[1]}:{own[2]}": hashlib.sha256(Path(own[1]).read_bytes()).hexdigest()[:16]
        for own in map(_OWN.fullmatch, _split(spec))
        if own
    }


# FILE.py:FUNCTION, and hyper-parameters.
_OWN = re.compile(r"(.+?\.py):(\w+)(?::(.*))?")


def _split(spec: str) -> list[str]:
    # A plus sign within a number, 1e+3, is followed by a digit.
    return re.split(r"\+(?!\d)", spec)


def _parse_part(spec: str, kind: dict[str, Callable[..., Any]]) -> Part:
    own = _OWN.fullmatch(spec)
    if own:
        name, changes = f"{own[1]}:{own[2]}", own[3]
        function = _from_file(Path(own[1]), own[2])
    else:
        name, colon, rest = spec.partition(":")
        function, changes = _by_name(name, kind), rest if colon else None
    known = defaults(function)
    changed: dict[str, Any] = {}
    for change in () if changes is None else changes.split(","):
        key, _, value = change.partition("=")
        if key in changed:
            raise UserError(f"{spec}: {key} is given twice")
        if key not in known:
            has = ", ".join(known) or "none"
            # The likeliest slip in a function of the user's.
            star = (
                "; put * before it in the signature" if key in inspect.signature(function).parameters else ""
            )
            raise UserError(f"{spec}: {name} has no hyper-parameter {key!r}; it has {has}{star}")
        changed[key] = _converted(spec, key, value, known[key])
    for key, value in known.items():
        if value is inspect.Parameter.empty and key not in changed:
            raise UserError(f"{spec}: {key} has no default; give {name}:{key}=VALUE")
    return Part(name, function, changed)


def _by_name(name: str, kind: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name in kind:
        return kind[name]
    what, other = ("loss", TRANSFORMATIONS) if kind is METHODS else ("transformation", METHODS)
    if name in other:
        raise UserError(
            f"{name} is not a {what}: expected LOSS or LOSS+TRANSFORMATION, e.g. cross_entropy+saner"
        )
    if name.endswith(".py"):
        raise UserError(f"{name}: expected FILE.py:FUNCTION, for example {name}:my_loss")
    nearest = ", ".join(difflib.get_close_matches(name, kind, cutoff=0))
    raise UserError(f"no {what} is called {name!r}; the nearest are {nearest}; `list methods` has all")


def _from_file(path: Path, name: str) -> Callable[..., Any]:
    """The function `name` of a file of the user's."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; expected FILE.py:FUNCTION")
    module_spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise UserError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path}: {type(error).__name__}: {one_line(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{path}: has no function {name!r}")
    return function


def defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The hyper-parameters, which are the keyword-only parameters, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and name not in ("axis", "where")
    }


def _converted(spec: str, key: str, value: str, default: Any) -> Any:
    """`value` as the type of the default; a number where there is none."""
    wanted = float if default is inspect.Parameter.empty or default is None else type(default)
    try:
        return wanted(value)
    except ValueError:
        raise UserError(f"{spec}: {key} must be a {wanted.__name__}, got {value!r}") from None


def _as_method(part: Part, setting: Setting) -> Method:
    """A method from a loss `(logits, labels)`, or from a function of the setting that makes one."""
    parameters = inspect.signature(part.function).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) >= 2:
        return Method(as_robust_loss(_with(part.function, setting.num_classes, **part.changed)))
    made = _make(part, setting)
    if not isinstance(made, Method | RobustLoss):
        raise TypeError(
            f"expected a function of logits and labels, or of the setting that returns a RobustLoss; "
            f"got {type(made).__name__}"
        )
    return made if isinstance(made, Method) else Method(made)


def _make(part: Part, setting: Setting) -> Any:
    return part.function(setting, **part.changed)


def _attempt(part: Part, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except UserError:
        raise
    except Exception as error:
        # Any other exception from a method of the package is our mistake.
        if ".py:" not in part.name and not isinstance(error, ValueError | TypeError):
            raise
        raise UserError(f"--method {part.name}: {one_line(error)}") from error


def _with(loss: Callable[..., Any], num_classes: int, **hyperparameters: float) -> Loss:
    """`loss` with its hyper-parameters set, ranges and shape checked now rather than in the first step."""
    bound = functools.partial(loss, **hyperparameters)
    batch = jax.ShapeDtypeStruct((3, num_classes), jnp.float32), jax.ShapeDtypeStruct((3,), jnp.int32)
    found = jax.tree.map(lambda x: x.shape, jax.eval_shape(bound, *batch))
    if found != (3,):
        raise ValueError(
            f"expected one loss for each example, shape (3,) in a trial with 3 of them, got {found}; do not "
            f"average over the batch"
        )
    return bound
