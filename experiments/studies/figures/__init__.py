"""Figures of the documentation, drawn from committed results."""
