"""The folder of a run: written, read, restored."""
