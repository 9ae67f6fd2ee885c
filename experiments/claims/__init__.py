"""What the papers claim, one file each, small enough for two CPU cores.

The docstring of a file is the claim. `measure` does the experiment, `findings` says of each part whether it
held, by limits that were written down before the first measurement, and `rows` tabulates what was measured.
"""
