"""Programs that JAX keeps for the next command: one that was cut off is removed again."""

import contextlib
import re
import zlib
from pathlib import Path

import jax

_FAILED = re.compile(
    r"Error (reading|writing) persistent compilation cache entry for '(.*?)': (.*)", re.DOTALL
)


def mended(warning: str) -> str:
    """A warning in our words if JAX could not read or write a program, of which no rest is left then.

    JAX never replaces a program that a full disk has cut off: it would be compiled at each start, with a
    warning. Other warnings are returned as they are.
    """
    found, named = _FAILED.match(warning), jax.config.values["jax_compilation_cache_dir"]
    if found is None or named is None:
        return warning
    folder, (doing, program, reason) = Path(named), found.groups()
    kept, removed = [path for path in folder.glob("*-cache") if path.name.startswith(f"{program}-")], 0
    with contextlib.suppress(OSError):
        # If none is cut off, one of them is of no use for another reason.
        for path in [path for path in kept if not _is_whole(path)] or (kept if doing == "reading" else []):
            path.unlink()
            removed += 1
    if doing == "reading" and removed:
        return f"{folder}: a damaged compiled program was removed; it is compiled anew"
    reason = re.sub(r"^\w+: (\[Errno \d+\] )?|: '.*", "", reason)
    return f"{folder}: compiled programs cannot be kept ({reason}); the next command compiles them anew"


def _is_whole(path: Path) -> bool:
    try:
        zlib.decompress(path.read_bytes())
        return True
    except zlib.error:
        return False
