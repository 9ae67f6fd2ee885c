"""What a way to break the project is."""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One mistake, and the tests that have to notice it.

    Attributes:
      name: says what is wrong.
      file: below the root of the repository.
      old: text that occurs in the file once.
      new: what takes its place.
      tests: the test file that mirrors the file, below `tests/`, or `FILE::TEST`, one test in it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
