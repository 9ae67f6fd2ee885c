"""Finds the labels that are probably wrong, from what any training loop records while it trains.

`record` is called in every step, `end_epoch` after every epoch, and `judge` and `noise_rate` at the end.
"""

from noisy_optax.audit._dynamics import Dynamics, end_epoch, init, record
from noisy_optax.audit._verdict import NoiseRate, Verdict, judge, noise_rate

__all__ = [
    "Dynamics",
    "NoiseRate",
    "Verdict",
    "end_epoch",
    "init",
    "judge",
    "noise_rate",
    "record",
]
