import numpy as np

from experiments.studies.bench import ogc
from noisy_optax import losses
from noisy_optax import ogc as library


def test_both_sides_of_the_refit_do_the_same():
    queue = ogc.example_queue()
    expected = ogc.reference_refit(queue)
    found = library.solve_threshold(library.fit_mixture(queue), losses.cross_entropy, ogc.BOUND)
    assert 0.05 < expected < 0.9
    np.testing.assert_allclose(found, expected, atol=0.005)
