"""What to measure on a GPU that is at hand for a few minutes: `python -m experiments.studies.gpu`."""
