"""What the installed XLA can be told about how to compile for a CPU."""

from importlib.metadata import version

# Its older way to write fused loops, which compiles faster, went with jaxlib 0.11; it ends the process, or
# raises, if it is told about what it does not know.
HAS_OLDER_FUSIONS = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11)


def newer_fusions(newer: bool) -> dict[str, bool]:
    """The compiler options for one of the two ways, as far as there are two."""
    return {"xla_cpu_use_fusion_emitters": newer} if HAS_OLDER_FUSIONS else {}
