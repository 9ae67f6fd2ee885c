"""x"""

from tests.mutations.mutation import Mutation

MUTATIONS: tuple[Mutation, ...] = ()
