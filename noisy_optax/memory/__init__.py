"""Losses that remember each example of the data set, and what tells when a model begins to memorise.

They need `indices`: which example of the data set each row is.
"""

from noisy_optax.memory._early_learning import EarlyLearningState, early_learning_regularization
from noisy_optax.memory._watching import (
    MemorisedShare,
    WatchState,
    is_watched,
    memorised_share,
    nothing_watched,
    watch,
)

__all__ = [
    "EarlyLearningState",
    "MemorisedShare",
    "WatchState",
    "early_learning_regularization",
    "is_watched",
    "memorised_share",
    "nothing_watched",
    "watch",
]
