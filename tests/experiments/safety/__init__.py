"""Mirrors experiments/safety."""
