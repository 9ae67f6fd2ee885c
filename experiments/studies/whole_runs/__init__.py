"""Runs as one compiled program, for devices that should never wait for Python."""
