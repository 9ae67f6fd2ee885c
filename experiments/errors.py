"""The one exception that the command line turns into a one-line message and exit code 2."""


class UserError(Exception):
    """Something the user can mend: the message says what was expected, what came and what to do."""


class Stopped(Exception):
    """The time that the user gave is over, and what was done is saved; the message says how to go on."""


def one_line(error: Exception) -> str:
    """What another library says, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
