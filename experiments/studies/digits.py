"""The methods and noises measured on digits, and `recommended` beside the best method of each noise."""

from typing import Any, NamedTuple

import numpy as np

from experiments.commands.compare import accuracies
from experiments.training import metrics

# OGC's ring and period are scaled to the small data set.
METHODS = (
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
NOISES = (
    "none",
    "symmetric-0.2",
    "symmetric-0.4",
    "symmetric-0.6",
    "symmetric-0.8",
    "pair-0.3",
    "instance-0.4",
)

# As the published OGC was run on digits: ring and period are scaled to the small data set.
SMALL_OGC = "ogc:queue_size=1024,update_every=8"
ON_GCE = ",base=generalized_cross_entropy"
SANER = "cross_entropy+saner:scale_epochs=25"

FIRST_NOISES = ("none", "symmetric-0.2", "symmetric-0.4", "symmetric-0.6", "pair-0.3")
FIRST_METHODS = (
    "cross_entropy",
    "mean_absolute_error",
    "generalized_cross_entropy",
    "phuber_cross_entropy",
    "phuber_cross_entropy:tau=5",
    "phuber_cross_entropy:tau=2",
    "phuber_generalized_cross_entropy",
    "ogc",
    SMALL_OGC,
    f"{SMALL_OGC},mode=published",
    f"{SMALL_OGC}{ON_GCE}",
    f"{SMALL_OGC}{ON_GCE},mode=published",
)
BOUNDED_METHODS = ("cross_entropy", "phuber_cross_entropy", "mean_absolute_error")
# The comparison of the two modes of the search, with both optimizers.
MODE_NOISES = ("none", "symmetric-0.4", "pair-0.3")
MODES = (
    "cross_entropy",
    SMALL_OGC,
    f"{SMALL_OGC},mode=published",
    f"{SMALL_OGC},base=focal",
    f"{SMALL_OGC},base=focal,mode=published",
)
# Without the norm clip, as the published SAM and SANER were run on digits.
SHARPNESS = ("cross_entropy", "cross_entropy+sam", SANER)
# What came later, with the baselines it is compared with.
MORE_NOISES = (*FIRST_NOISES, "instance-0.4")
MORE_METHODS = (
    "cross_entropy",
    "mean_absolute_error",
    "mae_logit_bias",
    "generalized_cross_entropy",
    "symmetric_cross_entropy",
    "dal",
)
# The losses of the field that are left, with those they belong to.
OTHER_NOISES = ("none", "symmetric-0.4", "instance-0.4")
OTHER_METHODS = (
    "cross_entropy",
    "generalized_cross_entropy",
    "dal",
    "dal:curve=cosine",
    "focal",
    "mean_squared_error",
    "taylor_cross_entropy",
    "jensen_shannon",
    "bi_tempered",
    "bounded_cross_entropy",
    "asymmetric_generalized_cross_entropy",
    "nce_rce",
    "nce_agce",
    "nce_nnce",
    "cross_entropy_with_sparse_regularization",
    "logit_clip_cross_entropy",
    "eps_softmax_cross_entropy",
)
# Weight decays at which early-learning regularization was measured.
ELR_DECAYS = ("0.0005", "0.002")


def noise_name(noise: str) -> str:
    """A noise for a person to read.

    >>> noise_name("symmetric-0.4")
    'symmetric 40 %'
    """
    kind, _, rate = noise.rpartition("-")
    names = {"none": "clean", "labels-file": "human"}
    return names.get(noise) or f"{kind} {float(rate):.0%}".replace("%", " %")


class Regret(NamedTuple):
    """How a fixed method compares with the best single method of a cell, both scored on the same seeds.

    Attributes:
      best: the method that was best on the choosing seeds.
      of_best: its accuracy on the scoring seeds, in percent.
      of_fixed: that of the fixed method.
      difference: `of_fixed - of_best` and half of its 95 % interval, paired by seed.
    """

    best: str
    of_best: float
    of_fixed: float
    difference: tuple[float, float]


FIXED = "recommended"
# The first of the ten seeds choose the best method under a noise, the others score it.
CHOOSING = 3


def regrets(measured: dict[str, Any], *, one_gradient: bool) -> dict[str, Regret]:
    """How `recommended` does in each cell, beside all other methods or those that cost no second gradient."""

    def rivals(of_cell):
        return {name: own for name, own in of_cell.items() if not (one_gradient and "+" in name)}

    return {cell: regret(rivals(of_cell), FIXED, CHOOSING) for cell, of_cell in accuracies(measured).items()}


def regret(of_cell: dict[str, np.ndarray], fixed: str, choosing: int) -> Regret:
    """Compares `fixed` with the best other method, chosen on the first `choosing` seeds, on the others.

    >>> import numpy as np
    >>> of_cell = {"a": np.array([90.0, 80.0, 82.0]), "b": np.array([80.0, 85.0, 89.0])}
    >>> regret(of_cell | {"mine": np.array([0.0, 81.0, 81.0])}, "mine", choosing=1).best
    'a'
    """
    others = {name: values for name, values in of_cell.items() if name != fixed}
    best = max(others, key=lambda name: float(np.mean(others[name][:choosing])))
    scored, own = others[best][choosing:], of_cell[fixed][choosing:]
    return Regret(best, float(scored.mean()), float(own.mean()), metrics.paired_difference(own, scored))
