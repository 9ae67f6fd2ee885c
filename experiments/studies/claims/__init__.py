"""What the papers claim, one file each, small enough for two CPU cores.

The docstring of a file is the claim. `measure` does the experiment, `checks` says of each part whether it
held, by limits in one place at the top, and `rows` tabulates what was measured.
"""
