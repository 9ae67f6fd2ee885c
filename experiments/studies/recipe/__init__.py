"""The recipe that needs no choice, beside fixed methods."""
