"""A classifier for scikit-learn that is trained on labels which may be wrong. Import it by its name.

It needs scikit-learn, which `pip install "noisy-optax[sklearn]"` installs.
"""

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from noisy_optax import audit, losses
from noisy_optax._recommended import recommended
from noisy_optax.audit import NoiseRate, Verdict
from noisy_optax.robust_loss import Loss, RobustLoss, as_robust_loss
from noisy_optax.training import training_step

# Steps of the optimizer, and the numbers of epochs between which they are reached.
STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 8000, 30, 200
# Columns whose scales differ by more than this factor are scaled each for itself.
ONE_SCALE_UP_TO = 100.0
LARGEST_BATCH = 4096

Factory = Callable[[int, int, int], RobustLoss]
Params = list[dict[str, Array]]


class Scaling(NamedTuple):
    """What is subtracted from each column, and what it is divided by; floating `[features]`."""

    shift: NDArray[np.float64]
    scale: NDArray[np.float64]


class Setting(NamedTuple):
    """What the compiled training depends on besides the shapes."""

    loss: Any
    num_examples: int
    num_classes: int
    batch_size: int
    epochs: int
    learning_rate: float
    weight_decay: float


class NoisyLabelClassifier(ClassifierMixin, BaseEstimator):
    """A neural network that is trained with a robust loss, and says which labels are probably wrong.

    The network has fully connected layers with rectified linear units. Inputs are scaled inside: they are
    centred, and divided by one common scale, or by a scale for each column if the columns' standard
    deviations differ more than a hundredfold. While it trains, `noisy_optax.audit` records how it predicts
    each label.

    Args:
      loss: `"recommended"`, the name of a loss in `noisy_optax.losses`, a loss, a `RobustLoss`, or a function
        `(num_examples, num_classes, total_steps) -> RobustLoss` with these argument names.
      hidden_layer_sizes: units of each hidden layer.
      epochs: passes over the data, > 0; None for as many as 8,000 steps need, from 30 to 200.
      batch_size: examples in a step, > 0; None for 32, 64 or 128, by the number of examples.
      learning_rate: > 0, of SGD with momentum at the start; it falls to 0 along a cosine.
      weight_decay: >= 0.
      random_state: an integer, a `numpy.random.RandomState` or None, for initial weights and order.
      verbose: whether to print the mean loss of each tenth epoch.

    Attributes:
      classes_: `[classes]`, the labels that occur, sorted.
      n_features_in_: the number of columns.
      n_iter_: the number of epochs.
      label_issues_: a structured array with a row for each training example, in the order of X. The columns
        are `rank`, from 1, `index`, `given_label`, `suggested_label`, `probability_wrong` and `judged_wrong`.
      noise_rate_: a `noisy_optax.audit.NoiseRate` of Python numbers, the share of wrong labels.
      learnt_: whether the network predicts all classes. If it does not, no label is judged.

    >>> import numpy as np
    >>> from noisy_optax.sklearn import NoisyLabelClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> right = np.where(X[:, 0] > 0, "up", "down")
    >>> given = np.where(rng.random(300) < 0.2, np.where(right == "up", "down", "up"), right)
    >>> model = NoisyLabelClassifier(epochs=30, random_state=0).fit(X, given)
    >>> bool(model.score(X, right) > 0.9)
    True
    >>> model.label_issues_.dtype.names
    ('rank', 'index', 'given_label', 'suggested_label', 'probability_wrong', 'judged_wrong')
    """

    def __init__(
        self,
        loss: str | Loss | RobustLoss | Factory = "recommended",
        *,
        hidden_layer_sizes: tuple[int, ...] = (256, 256),
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.1,
        weight_decay: float = 5e-4,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> "NoisyLabelClassifier":
        """Trains a network, and judges the labels.

        Args:
          X: numbers, `[n, features]`, finite.
          y: labels, `[n]`, numbers or strings, of at least two classes.
          sample_weight: `[n]`, not negative; by default 1. An example of weight 0 is not trained on.

        Returns:
          The classifier itself.

        Raises:
          ValueError: an argument is out of range, or X and y do not fit together.
        """
        x, given = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(given)
        weights = _check_sample_weight(sample_weight, x, dtype=np.float32, ensure_non_negative=True)
        self.classes_, labels = np.unique(given, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"expected labels of at least two classes, got one class, {self.classes_[0]!r}")
        self._scaling = fit_scaling(x)
        setting = self._setting(len(x))
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        data = scaled(self._scaling, x), labels.astype(np.int32), weights
        params, verdict, rate = train(setting, tuple(self.hidden_layer_sizes), data, seed, self.verbose)
        self._params = jax.tree.map(np.asarray, params)
        self.n_iter_ = setting.epochs
        self.learnt_ = bool(verdict.learnt)
        self.noise_rate_: NoiseRate = jax.tree.map(float, rate)
        self.label_issues_ = issues(verdict, given, self.classes_)
        return self

    def _setting(self, num_examples: int) -> Setting:
        """The numbers of the training; raises ValueError for what is out of range."""
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, numbers.Integral) or value < 1):
                raise ValueError(f"{name} must be an integer above 0 or None, got {value!r}")
        for units in self.hidden_layer_sizes:
            if not isinstance(units, numbers.Integral) or units < 1:
                raise ValueError(
                    f"hidden_layer_sizes must be integers above 0, got {self.hidden_layer_sizes!r}"
                )
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, got {self.learning_rate!r}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be below 0, got {self.weight_decay!r}")
        size = 32 if num_examples < 1000 else 64 if num_examples < 10_000 else 128
        batch_size = min(int(self.batch_size or size), num_examples)
        wanted = STEPS // (num_examples // batch_size)
        epochs = int(self.epochs or np.clip(wanted, FEWEST_EPOCHS, MOST_EPOCHS))
        rates = float(self.learning_rate), float(self.weight_decay)
        return Setting(self.loss, num_examples, len(self.classes_), batch_size, epochs, *rates)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """The probability of each class, `[n, classes]`, in the order of `classes_`."""
        check_is_fitted(self)
        x = scaled(self._scaling, validate_data(self, X, dtype=np.float64, reset=False))
        starts = range(0, len(x), LARGEST_BATCH)
        parts = [np.asarray(_probabilities(self._params, x[i : i + LARGEST_BATCH])) for i in starts]
        p = np.concatenate(parts).astype(np.float64)
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X: ArrayLike) -> NDArray:
        """The most probable class of each row, `[n]`."""
        p = self.predict_proba(X)
        return self.classes_[p.argmax(axis=1)]


def fit_scaling(X: NDArray[np.float64]) -> Scaling:
    """Means of the columns, and one scale for all or one for each if they differ more than a hundredfold.

    The scaled rows have a root mean square norm of 1. With larger inputs, the network memorises wrong labels
    before it has learnt the right ones. A scale for each column would ruin embeddings, whose small columns
    are mostly noise.

    >>> X = np.array([[1.0, 0.0], [3.0, 6.0]])
    >>> fit_scaling(X).scale.round(2)
    array([3.16, 3.16])
    >>> fit_scaling(X * np.array([1, 1000])).scale.astype(int)
    array([   1, 4242])
    """
    return Scaling(X.mean(axis=0), scales(X.std(axis=0)))


def scales(deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """What columns of these standard deviations are divided by, as `fit_scaling` describes."""
    some = deviations[deviations > 0]
    if len(some) == 0:
        return np.ones_like(deviations)
    if some.max() > ONE_SCALE_UP_TO * some.min():
        return np.where(deviations > 0, deviations, 1.0) * np.sqrt(len(some))
    return np.full_like(deviations, np.sqrt(np.sum(some**2)))


def scaled(scaling: Scaling, X: NDArray[np.float64]) -> NDArray[np.float32]:
    """The columns centred and scaled."""
    return ((X - scaling.shift) / scaling.scale).astype(np.float32)


def train(
    setting: Setting,
    hidden: tuple[int, ...],
    data: tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]],
    seed: int,
    verbose: bool,
) -> tuple[Params, Verdict, NoiseRate]:
    """Trains the network on inputs, labels and weights; returns its parameters and what the audit says."""
    key = jax.random.key(seed)
    x, labels, weights = map(jnp.asarray, data)
    begin, epoch = _program(setting, (x.shape[1], *hidden, setting.num_classes))
    params, state = begin(key)
    for number in range(setting.epochs):
        params, state, loss = epoch(params, state, key, number + 1, x, labels, weights)
        if verbose and (number + 1) % max(setting.epochs // 10, 1) == 0:
            print(f"epoch {number + 1}/{setting.epochs}  loss {float(loss):.3f}")
    return params, *_judged(state.audit, labels)


@functools.lru_cache(maxsize=16)
def _program(setting: Setting, sizes: tuple[int, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The compiled start and epoch of a training; kept, since searches train many networks alike."""
    steps = setting.num_examples // setting.batch_size
    total = steps * setting.epochs
    schedule = optax.cosine_decay_schedule(setting.learning_rate, total)
    optimizer = optax.chain(
        optax.clip_by_global_norm(5.0),
        optax.add_decayed_weights(setting.weight_decay),
        optax.sgd(schedule, momentum=0.9),
    )
    loss = built(setting.loss, setting.num_examples, setting.num_classes, total)
    step = training_step(network, loss, optimizer, audit=setting.num_examples)

    @jax.jit
    def begin(key):
        params = initial(sizes, key)
        return params, step.init(params)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def epoch(params, state, key, number, x, labels, weights):
        order = jax.random.permutation(jax.random.fold_in(key, number), setting.num_examples)
        batches = order[: steps * setting.batch_size].reshape(steps, setting.batch_size)

        def body(carry, rows):
            params, state, info = step.update(
                *carry, x[rows], labels[rows], weights=weights[rows], where=weights[rows] > 0, indices=rows
            )
            return (params, state), info.loss

        (params, state), values = jax.lax.scan(body, (params, state), batches)
        return params, state._replace(audit=audit.end_epoch(state.audit)), jnp.mean(values)

    return begin, epoch


@jax.jit
def _judged(dynamics: audit.Dynamics, labels: Int[Array, "n"]) -> tuple[Verdict, NoiseRate]:
    verdict = audit.judge(dynamics, labels)
    return verdict, audit.noise_rate(verdict)


def built(loss: Any, num_examples: int, num_classes: int, total_steps: int) -> RobustLoss:
    """The loss that an estimator's argument means."""
    if isinstance(loss, RobustLoss):
        return loss
    if loss == "recommended":
        return recommended(num_examples, num_classes)
    if isinstance(loss, str):
        loss = getattr(losses, loss, None) if not loss.startswith("_") else None
    if not callable(loss):
        raise ValueError("loss must be 'recommended', the name of a loss in noisy_optax.losses, or a loss")
    if "num_examples" in inspect.signature(loss).parameters:
        return loss(num_examples=num_examples, num_classes=num_classes, total_steps=total_steps)
    return as_robust_loss(loss)


def initial(sizes: tuple[int, ...], key: PRNGKeyArray) -> Params:
    """Normal weights of variance 1 / inputs, and biases of 0."""
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for layer, inputs, outputs in zip(keys, sizes[:-1], sizes[1:], strict=True):
        kernel = jnp.sqrt(1 / inputs) * jax.random.normal(layer, (inputs, outputs))
        layers.append({"kernel": kernel, "bias": jnp.zeros(outputs)})
    return layers


def network(params: Params, x: Float[Array, "n features"]) -> Float[Array, "n classes"]:
    """The logits."""
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["kernel"] + layer["bias"][None])
    return x @ params[-1]["kernel"] + params[-1]["bias"][None]


@jax.jit
def _probabilities(params: Params, x: Float[Array, "n features"]) -> Float[Array, "n classes"]:
    return jax.nn.softmax(network(params, x), axis=-1)


def issues(verdict: Verdict, y: NDArray, classes: NDArray) -> NDArray:
    """The verdict as a structured array, a row for each example."""
    p = np.asarray(verdict.probability_wrong, np.float64)
    rank = np.empty(len(y), np.int64)
    rank[np.argsort(-np.asarray(verdict.score), kind="stable")] = np.arange(1, len(y) + 1)
    columns = {
        "rank": rank,
        "index": np.arange(len(y)),
        "given_label": y,
        "suggested_label": classes[np.asarray(verdict.suggested)],
        "probability_wrong": p,
        "judged_wrong": p > 0.5,
    }
    table = np.empty(len(y), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        table[name] = column
    return table
