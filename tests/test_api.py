"""The public surface: these names and no others, each documented, and nothing heavy behind the import."""

import inspect
import subprocess
import sys

import noisy_optax
from noisy_optax import (
    diagnostics,
    losses,
    memory,
    noise,
    ogc,
    robust_loss,
    schedules,
    sharpness,
    training,
)

TOP = [
    "Recommended",
    "RobustLoss",
    "check_examples_independent",
    "diagnostics",
    "losses",
    "memory",
    "noise",
    "ogc",
    "per_example_gradients",
    "recommended",
    "robust_loss",
    "saner",
    "scheduled",
    "schedules",
    "sharpness",
    "stateless",
    "training",
    "training_step",
    "weighted_gradient",
]
LOSSES = [
    "BOUNDED_CROSS_ENTROPY_TARGET",
    "MEAN_ABSOLUTE_ERROR_TARGET",
    "Properties",
    "asymmetric_exponential",
    "asymmetric_generalized_cross_entropy",
    "asymmetric_norm",
    "asymmetric_unhinged",
    "bi_tempered",
    "bounded_cross_entropy",
    "clip_slope",
    "cross_entropy",
    "cross_entropy_with_sparse_regularization",
    "dal",
    "dynamics_aware",
    "eps_softmax_cross_entropy",
    "focal",
    "generalized_cross_entropy",
    "jensen_shannon",
    "label_log_odds",
    "label_log_probability",
    "logit_bias",
    "logit_clip_cross_entropy",
    "max_logit_norm",
    "mean_absolute_error",
    "mean_squared_error",
    "nce_agce",
    "nce_nnce",
    "nce_rce",
    "normalized_cross_entropy",
    "normalized_focal",
    "normalized_negative_cross_entropy",
    "normalized_negative_focal",
    "of_probability",
    "phuber_cross_entropy",
    "phuber_generalized_cross_entropy",
    "properties",
    "relative_generalized_cross_entropy",
    "reverse_cross_entropy",
    "sparsity",
    "symmetric_cross_entropy",
    "taylor_cross_entropy",
    "unhinged",
    "weighted_sum",
    "with_logit_bias",
    "with_logit_clip",
]
OGC = [
    "GradientNormState",
    "Mixture",
    "OGCState",
    "clean_probability",
    "clip_by_gradient_norm",
    "clip_by_probability",
    "clipped_grad_fn",
    "clipped_loss",
    "fit_mixture",
    "gradient_ratio",
    "ogc_loss",
    "replica_axes",
    "solve_norm_threshold",
    "solve_threshold",
]
SHARPNESS = [
    "Combination",
    "Perturbation",
    "RunningMeanState",
    "SharpnessAware",
    "SharpnessAwareState",
    "asam",
    "asam_perturbation",
    "friendly_sam",
    "friendly_sam_perturbation",
    "gsam",
    "gsam_combination",
    "m_sharpness",
    "micro_batch_grad_fn",
    "sam",
    "sam_combination",
    "sam_perturbation",
    "saner",
    "saner_combination",
    "sharpness_aware",
    "split_chunks",
    "vasso",
    "vasso_perturbation",
]
DIAGNOSTICS = ["Groups", "fitting_rates", "fitting_ratio", "group_fractions"]
MEMORY = ["EarlyLearningState", "early_learning_regularization"]
ROBUST_LOSS = [
    "Loss",
    "RobustLoss",
    "ScheduledState",
    "StatelessState",
    "UpdateFn",
    "ValueFn",
    "as_robust_loss",
    "scheduled",
    "stateless",
]
SCHEDULES = ["dal_bootstrap", "dal_q", "every", "saner_scale"]
TRAINING = [
    "Accumulation",
    "Average",
    "StepInfo",
    "StepState",
    "TrainingStep",
    "training_step",
    "weighted_mean",
]
NOISE = [
    "NoisyLabels",
    "asymmetric",
    "instance_dependent",
    "pair",
    "realised",
    "symmetric",
    "transition",
    "uniform",
]


def public_names(module):
    """What a user sees besides the module's own imports."""
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


def test_public_names():
    assert noisy_optax.__all__ == TOP
    assert losses.__all__ == LOSSES
    assert ogc.__all__ == OGC
    assert sharpness.__all__ == SHARPNESS
    assert memory.__all__ == MEMORY
    assert public_names(robust_loss) == ROBUST_LOSS
    assert training.__all__ == TRAINING
    assert public_names(diagnostics) == DIAGNOSTICS
    assert public_names(schedules) == SCHEDULES
    assert public_names(noise) == NOISE
    for module, names in ((noisy_optax, TOP), (losses, LOSSES), (ogc, OGC), (sharpness, SHARPNESS)):
        assert [name for name in names if not hasattr(module, name)] == []


def test_every_public_name_is_documented():
    public = [
        *((name, getattr(noisy_optax, name)) for name in TOP),
        *((name, getattr(losses, name)) for name in LOSSES),
        *((name, getattr(noise, name)) for name in NOISE),
        *((name, getattr(ogc, name)) for name in OGC),
        *((name, getattr(sharpness, name)) for name in SHARPNESS),
        *((name, getattr(memory, name)) for name in MEMORY),
        *((name, getattr(robust_loss, name)) for name in ROBUST_LOSS),
        *((name, getattr(training, name)) for name in TRAINING),
        *((name, getattr(diagnostics, name)) for name in DIAGNOSTICS),
        *((name, getattr(schedules, name)) for name in SCHEDULES),
    ]
    # A NamedTuple without a docstring is given one that starts with its own name.
    undocumented = [
        name for name, value in public if not value.__doc__ or value.__doc__.startswith(f"{name}(")
    ]
    assert undocumented == []
    functions = [(name, value) for name, value in public if inspect.isfunction(value)]
    assert [name for name, value in functions if ">>>" not in value.__doc__] == []


def test_losses_take_logits_and_labels_and_everything_else_by_name():
    for name in LOSSES:
        if not callable(getattr(losses, name)):
            continue
        parameters = inspect.signature(getattr(losses, name)).parameters
        if {"logits", "labels"} <= set(parameters):
            positional = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
            assert positional == ["logits", "labels"], name
            assert parameters["axis"].default == -1, name
            assert parameters["where"].default is None, name


def test_import_brings_nothing_heavy_and_no_warning():
    heavy = ["flax", "sklearn", "tensorflow", "matplotlib", "orbax", "PIL", "tyro", "rich", "experiments"]
    code = f"import sys, noisy_optax; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.strip() == "[]"
