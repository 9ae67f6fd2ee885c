"""Files from somebody else: a table of attempts for each kind of harm."""
