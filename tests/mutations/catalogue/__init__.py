"""The ways in which the library and the application are broken on purpose.

A mutation that no test notices is a test that is missing: write that, do not take the mutation away. Where a
change to the code moves an `old` text, move it here too; `tests/mutations/test_catalogue.py` says which.
"""

from tests.mutations.catalogue import audit, commands, data, library, losses, runs, training

PARTS = (losses, training, audit, library, commands, runs, data)
MUTATIONS = tuple(mutation for part in PARTS for mutation in part.MUTATIONS)
