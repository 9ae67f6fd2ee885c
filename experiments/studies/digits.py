"""The methods and noises measured on digits."""

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
