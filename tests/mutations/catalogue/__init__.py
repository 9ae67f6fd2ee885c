"""The ways in which the library and the application are broken on purpose.

A mutation that no test notices is a test that is missing: write that, do not take the mutation away. Where a
change to the code moves an `old` text, move it here too; `tests/mutations/test_catalogue.py` says which.
"""

from tests.mutations.catalogue import data, library, losses, runs, training

MUTATIONS = (*losses.MUTATIONS, *training.MUTATIONS, *library.MUTATIONS, *runs.MUTATIONS, *data.MUTATIONS)
