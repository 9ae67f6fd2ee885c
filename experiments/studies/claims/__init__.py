"""What the papers claim, one file each, small enough for two CPU cores.

The docstring of a file is the claim. `measure` does the experiment, `checks` says of each part whether it
held, by limits in one place at the top, and `rows` tabulates what was measured.
"""

from typing import Literal

# Each is the name of a file here, in the order in which they are measured and shown.
Claim = Literal[
    "long_servedio",
    "outliers",
    "gradient_ratio",
    "dal_dynamics",
    "many_classes",
    "group_fitting",
    "saner_ablation",
]
