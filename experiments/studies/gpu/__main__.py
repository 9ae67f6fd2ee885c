"""Starts the script: what has to be known or set before JAX is imported."""

import os
import time


def main() -> None:
    """Imports the script, which takes seconds that count, and runs it."""
    started = time.monotonic()
    # PyTorch has to find memory beside JAX, which would take three quarters of it at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from experiments.studies.gpu import script, session

    session.leave(script.main(started))


if __name__ == "__main__":
    main()
