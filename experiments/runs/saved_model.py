"""What a run left behind, read for use: the model it ships and what that model says of images."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import trust
from experiments.config import Experiment
from experiments.data.dataset import Images, Stream
from experiments.runs import saved_config
from experiments.terminal import UserError
from experiments.training.checkpoints import Checkpoints, abstract
from experiments.training.evaluation import compile_evaluation
from experiments.training.setup import assemble, shape_of_run
from experiments.training.steps import Inputs, StepParts, TrainState


class Trained(NamedTuple):
    """A run read from its folder; arrays of `params` and `statistics` have a leading axis over seeds.

    Attributes:
      state: after the last epoch, with the state of the loss.
      params: of the model that is shipped: of the last epoch, or those selected on validation labels.
      statistics: BatchNorm's, that belong to `params`.
      resolved: what the configuration does not say, from config.json: classes, shapes, number of examples.
    """

    experiment: Experiment
    method: str
    resolved: dict[str, Any]
    parts: StepParts
    epoch: int
    selected: bool
    state: TrainState
    params: Any
    statistics: Any
    inputs: Inputs


def restore(run_dir: Path) -> Trained:
    """Reads the newest checkpoint of `run_dir`; UserError if there is none."""
    method, experiment, _, resolved, _ = saved_config.read(run_dir)
    trust.check_own_code(run_dir, method)
    input_shape, num_classes = tuple(resolved["input_shape"]), resolved["num_classes"]
    parts = assemble(method, experiment, input_shape, num_classes, resolved["train_examples"])
    parts = parts._replace(audited=resolved["examples"])
    channels = jnp.zeros(input_shape[-1])
    expected = shape_of_run(parts, experiment, Inputs(channels, channels))
    restored = Checkpoints(run_dir / "checkpoints", read_only=True).restore(abstract(expected))
    if restored is None:
        raise UserError(f"{run_dir} has no checkpoint yet; train it first")
    epoch, (state, selected, inputs) = restored
    shipped = selected or state
    return Trained(
        experiment,
        method,
        resolved,
        parts,
        epoch,
        selected is not None,
        state,
        shipped.params,
        shipped.statistics,
        inputs,
    )


def probabilities(trained: Trained, images: Images | Stream) -> np.ndarray:
    """Class probabilities of each image, `[seeds, n, C]`; a run predicts with their mean over seeds."""
    evaluate = compile_evaluation(trained.parts, trained.experiment.seeds)
    logits = evaluate(trained.params, trained.statistics, trained.inputs, images)
    return np.asarray(jax.nn.softmax(logits))
