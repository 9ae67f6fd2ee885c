"""Losses that remember each example of the data set. They need `indices`: which example each row is."""

from noisy_optax.memory._early_learning import EarlyLearningState, early_learning_regularization

__all__ = ["EarlyLearningState", "early_learning_regularization"]
