"""A training run: set-up, steps, the loop over epochs, checkpoints, devices, metrics."""
