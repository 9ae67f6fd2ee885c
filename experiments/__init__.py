"""Train, compare and audit with noisy_optax from the command line: `python -m experiments --help`."""
