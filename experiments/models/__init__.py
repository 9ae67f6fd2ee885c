"""The networks, in flax NNX."""
