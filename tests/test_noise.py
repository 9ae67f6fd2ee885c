"""Label noise: how many labels change, which, and into what. Bounds fail by chance once in a million or less,
and not at all with the keys fixed here."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix

from noisy_optax import noise

N, C = 1000, 10
# Classes of different sizes, in no order.
LABELS = np.random.default_rng(0).choice(C, N, p=np.arange(1, C + 1) / 55).astype(np.int32)
SIZES = np.bincount(LABELS, minlength=C)
KEY = jax.random.key(0)
MANY_KEYS = jax.random.split(jax.random.key(1), 300)
RATE = 0.4
FEATURES = np.random.default_rng(2).normal(size=(N, 4, 2)).astype(np.float32)


def instance_dependent(key, labels, rate, *, num_classes, exact=True):
    """With the argument order of the others, and as many features as labels."""
    features = FEATURES[: len(labels)] if np.ndim(labels) else FEATURES
    return noise.instance_dependent(key, features, labels, rate, num_classes=num_classes, exact=exact)


MODELS = {
    "symmetric": noise.symmetric,
    "uniform": noise.uniform,
    "pair": noise.pair,
    "instance_dependent": instance_dependent,
}


def random_matrix(seed=0):
    """Rows drawn at random, with zeros at the start, in the middle and at the end of some."""
    matrix = np.random.default_rng(seed).dirichlet(np.ones(C), C)
    matrix[0, 0] = matrix[1, 4] = matrix[2, C - 1] = 0
    matrix[3, :-1], matrix[3, C - 1] = 0, 1
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


MATRIX = random_matrix()


def counts(noisy, labels=LABELS, num_classes=C):
    return confusion_matrix(labels, np.asarray(noisy), labels=np.arange(num_classes))


ALL = {
    **{name: functools.partial(model, rate=RATE, num_classes=C) for name, model in MODELS.items()},
    "transition": functools.partial(noise.transition, matrix=MATRIX),
    "asymmetric": functools.partial(noise.asymmetric, rate=RATE, class_map=noise.CIFAR10_MAP),
}


@functools.cache
def over_keys(name, exact):
    """Noisy labels for every key, [keys, n]. Keys and labels are traced."""
    model = jax.jit(jax.vmap(functools.partial(ALL[name], exact=exact), in_axes=(0, None)))
    return np.asarray(model(MANY_KEYS, LABELS).labels)


def assert_chi_square(observed, expected, freedom):
    assert np.sum((observed - expected) ** 2 / expected) < stats.chi2.isf(1e-6, freedom)


# --- how many change --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [noise.symmetric, noise.pair, instance_dependent])
@pytest.mark.parametrize(
    "rate",
    # 0.0005 * 1000 = 1/2 and 0.0015 * 1000 = 3/2 round to even; 0.5015 * 1000 is just below 501.5 in float64
    # and on it in float32.
    [0.0, 1.0, 0, 1, 0.2, 0.4, 0.45, 0.3333, 0.0005, 0.0015, 0.5015, np.float64(0.8)],
)
def test_exact_count(model, rate):
    noisy = model(KEY, LABELS, rate, num_classes=C)
    assert np.sum(np.asarray(noisy.labels) != LABELS) == round(rate * N)
    np.testing.assert_allclose(noisy.rate, round(rate * N) / N, rtol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_rate_zero_changes_nothing(name, exact):
    if name == "instance_dependent" and not exact:
        pytest.skip("flip rates spread around 0, half of them cut off")
    noisy = MODELS[name](KEY, LABELS, 0.0, num_classes=C, exact=exact)
    np.testing.assert_array_equal(noisy.labels, LABELS)
    assert noisy.rate == 0


def share_that_changes(name):
    # One in ten of the labels redrawn from all classes comes out as it was.
    return RATE * (1 - 1 / C if name == "uniform" else 1)


@pytest.mark.parametrize("name", MODELS)
def test_each_label_changes_independently_unless_exact(name):
    p, keys = share_that_changes(name), len(MANY_KEYS)
    independent, exact = (np.sum(over_keys(name, exact) != LABELS, axis=1) for exact in (False, True))
    for changed in (independent, exact):
        assert abs(changed.mean() - N * p) < 5 * np.sqrt(N * p * (1 - p) / keys)
    # The variance of a sample variance is 2 / keys, relative.
    assert abs(independent.var() / (N * p * (1 - p)) - 1) < 5 * np.sqrt(2 / keys)
    left_to_chance = RATE * N * (1 - 1 / C) / C if name == "uniform" else 0
    assert abs(exact.var() - left_to_chance) <= 5 * left_to_chance * np.sqrt(2 / keys)


# --- which change -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_the_number_of_classes_may_be_an_array(model):
    expected = MODELS[model](KEY, LABELS, RATE, num_classes=C)
    found = MODELS[model](KEY, LABELS, RATE, num_classes=np.array(C))
    chex.assert_trees_all_equal(found, expected)
    chex.assert_trees_all_equal(noise.realised(LABELS, found.labels, np.array(C)), expected)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_neither_position_nor_class_decides_who_is_chosen(name, exact):
    chosen = np.sum(over_keys(name, exact) != LABELS, axis=0)
    p, keys = share_that_changes(name), len(MANY_KEYS)
    deviation = np.sum((chosen - keys * p) ** 2) / (keys * p * (1 - p))
    # Two-sided: a choice that is the same for every key scatters too much, a stratified one too little.
    assert stats.chi2.ppf(1e-6, N) < deviation < stats.chi2.isf(1e-6, N)


@pytest.mark.parametrize("exact", [True, False])
def test_transition_chooses_at_random_within_a_class(exact):
    of_class = LABELS == 9
    stays = np.sum(over_keys("transition", exact)[:, of_class] == 9, axis=0)
    p, keys = MATRIX[9, 9], len(MANY_KEYS)
    deviation = np.sum((stays - keys * p) ** 2) / (keys * p * (1 - p))
    assert stats.chi2.ppf(1e-6, SIZES[9]) < deviation < stats.chi2.isf(1e-6, SIZES[9])


# --- into what --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [True, False])
def test_symmetric_never_draws_the_true_class_and_all_others_alike(exact):
    everything = noise.symmetric(KEY, LABELS, 1.0, num_classes=C, exact=exact)
    assert np.all(np.asarray(everything.labels) != LABELS)
    shift = (over_keys("symmetric", exact) - LABELS) % C
    for label in range(C):
        drawn = np.bincount(shift[:, label == LABELS].ravel(), minlength=C)[1:]
        assert_chi_square(drawn, drawn.sum() / (C - 1), C - 2)


@pytest.mark.parametrize("exact", [True, False])
def test_uniform_draws_all_classes_alike_the_true_one_included(exact):
    shift = (over_keys("uniform", exact) - LABELS) % C
    for label in range(C):
        drawn = np.bincount(shift[:, label == LABELS].ravel(), minlength=C)
        expected = drawn.sum() * np.array([1 - RATE + RATE / C, *[RATE / C] * (C - 1)])
        assert_chi_square(drawn, expected, C - 1)


def test_pair_goes_to_the_next_class_and_from_the_last_to_the_first():
    noisy = noise.pair(KEY, LABELS, 1.0, num_classes=C)
    np.testing.assert_array_equal(noisy.labels, (LABELS + 1) % C)
    some = np.asarray(noise.pair(KEY, LABELS, 0.3, num_classes=C).labels)
    assert set((some - LABELS) % C) == {0, 1}


def test_two_classes_leave_one_other():
    noisy = noise.symmetric(KEY, LABELS % 2, 1.0, num_classes=2)
    np.testing.assert_array_equal(noisy.labels, 1 - LABELS % 2)


def test_exact_transition_is_within_one_example_of_the_matrix():
    for seed in range(3):
        matrix = random_matrix(seed)
        got = counts(noise.transition(KEY, LABELS, matrix).labels)
        assert np.max(np.abs(got - SIZES[:, None] * matrix)) < 1
        assert np.all(got[matrix == 0] == 0)


def test_drawn_transition_follows_the_matrix():
    noisy = over_keys("transition", False)
    got = counts(noisy.ravel(), np.tile(LABELS, len(MANY_KEYS)))
    possible = MATRIX > 0
    assert np.all(got[~possible] == 0)
    expected = len(MANY_KEYS) * SIZES[:, None] * MATRIX
    assert_chi_square(got[possible], expected[possible], possible.sum() - C)
    # Exact counts would be too good: with independent draws, cells scatter.
    deviation = np.sum((got[possible] - expected[possible]) ** 2 / expected[possible])
    assert deviation > stats.chi2.ppf(1e-6, possible.sum() - C)


@pytest.mark.parametrize("exact", [True, False])
def test_transition_of_zeros_and_ones_is_a_function_of_the_label(exact):
    to = np.array([3, 0, 0, 9, 4, 1, 1, 2, 9, 8])
    noisy = noise.transition(KEY, LABELS, np.eye(C)[to], exact=exact)
    np.testing.assert_array_equal(noisy.labels, to[LABELS])
    unchanged = noise.transition(KEY, LABELS, np.eye(C), exact=exact)
    np.testing.assert_array_equal(unchanged.labels, LABELS)
    assert unchanged.rate == 0


def test_row_that_sums_to_less_than_one_by_rounding_stays_in_range():
    # The last of 100,000 examples falls into the missing part; with a gap there, class 2 of 2 would come out.
    matrix = np.array([[1 - 1e-5, 0], [0, 1]])
    noisy = noise.transition(KEY, np.zeros(100_000, int), matrix)
    assert noisy.rate == 0


# --- by class map -----------------------------------------------------------------------------------------


def test_asymmetric_moves_that_share_of_each_class_that_moves():
    identity, to = np.eye(C), np.eye(C)[list(noise.CIFAR10_MAP)]
    for rate in (0.0, 0.2, 0.4, 1.0):
        got = counts(noise.asymmetric(KEY, LABELS, rate, noise.CIFAR10_MAP).labels)
        expected = SIZES[:, None] * ((1 - rate) * identity + rate * to)
        assert np.max(np.abs(got - expected)) <= 0.5
        np.testing.assert_array_equal(got.sum(axis=1), SIZES)


def test_asymmetric_unless_exact_moves_each_label_independently():
    moves = np.array(noise.CIFAR10_MAP) != np.arange(C)
    changed = np.sum(over_keys("asymmetric", False) != LABELS, axis=1)
    n, keys = SIZES[moves].sum(), len(MANY_KEYS)
    assert abs(changed.mean() - n * RATE) < 5 * np.sqrt(n * RATE * (1 - RATE) / keys)
    assert abs(changed.var() / (n * RATE * (1 - RATE)) - 1) < 5 * np.sqrt(2 / keys)
    assert np.ptp(np.sum(over_keys("asymmetric", True) != LABELS, axis=1)) == 0


def test_cifar10_map_by_name():
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    mapped = {a: names[b] for a, b in zip(names, noise.CIFAR10_MAP, strict=True) if a != names[b]}
    assert mapped == {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }


# The data set's own table, in its order; fine labels are numbered by alphabet.
SUPERCLASSES = """
aquatic mammals: beaver, dolphin, otter, seal, whale
fish: aquarium fish, flatfish, ray, shark, trout
flowers: orchid, poppy, rose, sunflower, tulip
food containers: bottle, bowl, can, cup, plate
fruit and vegetables: apple, mushroom, orange, pear, sweet pepper
household electrical devices: clock, keyboard, lamp, telephone, television
household furniture: bed, chair, couch, table, wardrobe
insects: bee, beetle, butterfly, caterpillar, cockroach
large carnivores: bear, leopard, lion, tiger, wolf
large man-made outdoor things: bridge, castle, house, road, skyscraper
large natural outdoor scenes: cloud, forest, mountain, plain, sea
large omnivores and herbivores: camel, cattle, chimpanzee, elephant, kangaroo
medium-sized mammals: fox, porcupine, possum, raccoon, skunk
non-insect invertebrates: crab, lobster, snail, spider, worm
people: baby, boy, girl, man, woman
reptiles: crocodile, dinosaur, lizard, snake, turtle
small mammals: hamster, mouse, rabbit, shrew, squirrel
trees: maple tree, oak tree, palm tree, pine tree, willow tree
vehicles 1: bicycle, bus, motorcycle, pickup truck, train
vehicles 2: lawn mower, rocket, streetcar, tank, tractor
"""


def test_cifar100_maps_by_name():
    members = [line.split(": ")[1].split(", ") for line in SUPERCLASSES.strip().splitlines()]
    names = sorted(name for group in members for name in group)
    expected = {a: b for group in members for a, b in zip(group, [*group[1:], group[0]], strict=True)}
    mapped = {a: names[b] for a, b in zip(names, noise.CIFAR100_SUPERCLASS_MAP, strict=True)}
    assert mapped == expected
    labels = np.arange(100)
    got = noise.asymmetric(KEY, labels, 1.0, noise.CIFAR100_NEXT_MAP).labels
    np.testing.assert_array_equal(got, (labels + 1) % 100)


@pytest.mark.parametrize(
    ("class_map", "rate", "error", "message"),
    [
        ([0, 1, 3], 0.5, ValueError, r"class_map must be in \[0, 3\), got 3 at index 2"),
        ([0, -1, 0], 0.5, ValueError, r"class_map must be in \[0, 3\), got -1 at index 1"),
        ([0.0, 1.0], 0.5, TypeError, "class_map must be integer class indices, got float64"),
        ([0], 0.5, ValueError, r"class_map of shape \[C\] with C >= 2, got \(1,\)"),
        (np.eye(2, dtype=int), 0.5, ValueError, r"class_map of shape \[C\] with C >= 2, got \(2, 2\)"),
        ([1, 0], 0.5, ValueError, r"labels must be in \[0, 2\), got 2 at index 1"),
        ([1, 0, 2], 1.5, ValueError, r"rate must be in \[0.0, 1.0\], got 1.5"),
    ],
)
def test_bad_class_map(class_map, rate, error, message):
    with pytest.raises(error, match=message):
        noise.asymmetric(KEY, GOOD, rate, class_map)


# --- by instance ------------------------------------------------------------------------------------------


def test_instance_dependent_never_draws_the_true_class():
    everything = instance_dependent(KEY, LABELS, 1.0, num_classes=C)
    assert np.all(np.asarray(everything.labels) != LABELS)
    two = instance_dependent(KEY, LABELS % 2, 1.0, num_classes=2)
    np.testing.assert_array_equal(two.labels, 1 - LABELS % 2)


def test_wrong_class_is_drawn_from_the_softmax_of_the_projected_features():
    # The projections, read off unit vectors: the same key draws them for any features and labels.
    key, unit = jax.random.split(KEY, 4)[2], np.eye(8, dtype=np.float32)
    project = jax.jit(noise._project, static_argnums=3)
    projections = [project(key, unit, np.full(8, label, np.int32), C) for label in range(C)]
    assert stats.kstest(np.ravel(projections), stats.norm.cdf).pvalue > 1e-6
    # One image, many times, with label 0 or 1.
    n = 40_000
    features = np.broadcast_to(FEATURES[0], (n, 4, 2))
    labels = np.repeat([0, 1], n // 2)
    drawn = noise.instance_dependent(KEY, features, labels, 1.0, num_classes=C).labels
    for label in (0, 1):
        scores = FEATURES[0].ravel().astype(np.float64) @ np.asarray(projections[label], np.float64)
        p = np.where(np.arange(C) == label, 0, np.exp(scores))
        got = np.bincount(np.asarray(drawn)[labels == label], minlength=C)
        others = np.arange(C) != label
        assert_chi_square(got[others], (n / 2 * p / p.sum())[others], C - 2)


def test_each_class_has_a_projection_of_its_own():
    # One long image leaves nothing to chance but the projection of its label.
    features, labels = np.tile(1000 * FEATURES[:1], (10 * C, 1, 1)), np.repeat(np.arange(C), 10)
    drawn = noise.instance_dependent(KEY, features, labels, 1.0, num_classes=C).labels
    of_label = np.asarray(drawn).reshape(C, 10)
    assert (of_label == of_label[:, :1]).all()
    # One projection for all would draw its best class, and its second best for that one.
    assert len(np.unique(of_label)) > 2


def test_similar_examples_get_similar_wrong_labels():
    # Long features leave nothing to chance but the projections.
    features = np.repeat(100 * FEATURES[:50], 20, axis=0)
    drawn = noise.instance_dependent(KEY, features, np.zeros(N, int), 1.0, num_classes=C).labels
    groups = np.asarray(drawn).reshape(50, 20)
    assert np.mean(groups == groups[:, :1]) > 0.95
    assert len(np.unique(groups[:, 0])) > 3


def test_flip_rates_are_of_a_truncated_normal():
    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, None))
    def realised(key, rate, spread):
        return noise.instance_dependent(
            key, FEATURES, LABELS, rate, num_classes=C, spread=spread, exact=False
        ).rate

    for rate, spread in ((0.0, 0.1), (0.4, 0.1), (0.95, 0.3)):
        found = np.asarray(realised(MANY_KEYS[:50], rate, spread))
        p = stats.truncnorm(-rate / spread, (1 - rate) / spread, loc=rate, scale=spread).mean()
        assert abs(found.mean() - p) < 5 * np.sqrt(p * (1 - p) / (N * len(found)))


@pytest.mark.parametrize(
    ("features", "options", "error", "message"),
    [
        (
            np.zeros((3, 2), np.uint8),
            {},
            TypeError,
            "features must be floating, got uint8",
        ),
        (np.zeros((4, 2)), {}, ValueError, r"features of shape \[3, ...\], as many as labels, got \(4, 2\)"),
        (np.zeros(3), {}, ValueError, r"features of shape \[3, ...\], as many as labels, got \(3,\)"),
        (np.zeros((3, 0)), {}, ValueError, r"features of shape \[3, ...\]"),
        (np.full((3, 2), np.nan), {}, ValueError, "features must be finite"),
        (np.zeros((3, 2)), {"spread": 0.0}, ValueError, r"spread must be in \(0.0, inf\)"),
    ],
)
def test_bad_features(features, options, error, message):
    with pytest.raises(error, match=message):
        noise.instance_dependent(KEY, features, GOOD, 0.5, num_classes=3, **options)


# --- for the record ---------------------------------------------------------------------------------------


def test_realised_matrix_and_rate():
    noisy = noise.transition(KEY, LABELS, MATRIX, exact=False)
    expected = confusion_matrix(LABELS, np.asarray(noisy.labels), labels=np.arange(C), normalize="true")
    np.testing.assert_allclose(noisy.matrix, expected, rtol=1e-6)
    np.testing.assert_allclose(noisy.rate, np.mean(np.asarray(noisy.labels) != LABELS), rtol=1e-6)
    assert (noisy.matrix.dtype, noisy.rate.dtype, noisy.rate.shape) == (jnp.float32, jnp.float32, ())


def test_realised_row_of_a_class_without_examples_is_zero():
    realised = noise.realised(jnp.array([0, 0, 2]), jnp.array([1, 0, 0]), num_classes=3)
    np.testing.assert_array_equal(realised.matrix, [[0.5, 0.5, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(realised.rate, 2 / 3, rtol=1e-6)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_key_decides_everything_and_tracing_changes_nothing(name, exact):
    first, again, second = (ALL[name](MANY_KEYS[i], LABELS, exact=exact).labels for i in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal([first, second], over_keys(name, exact)[:2])
    assert np.any(np.asarray(first) != np.asarray(second))


@pytest.mark.parametrize("name", ALL)
def test_width_of_the_labels_does_not_matter(name):
    narrow = ALL[name](KEY, LABELS.astype(np.uint8)).labels
    np.testing.assert_array_equal(narrow, ALL[name](KEY, LABELS).labels)
    assert narrow.dtype == jnp.int32


def test_labels_of_32_bits_keep_their_dtype():
    assert noise.pair(KEY, LABELS.astype(np.uint32), RATE, num_classes=C).labels.dtype == jnp.uint32


def test_eight_bit_labels_of_200_classes_do_not_overflow():
    labels = (np.arange(N) % 200).astype(np.uint8)
    following = (np.arange(N) + 1) % 200
    np.testing.assert_array_equal(noise.pair(KEY, labels, 1.0, num_classes=200).labels, following)
    matrix = np.roll(np.eye(200), 1, axis=1)
    np.testing.assert_array_equal(noise.transition(KEY, labels, matrix).labels, following)
    drawn = np.asarray(noise.symmetric(KEY, labels, 1.0, num_classes=200).labels, int)
    assert np.all((drawn != labels) & (drawn >= 0) & (drawn < 200))
    # Wrapping at 256 would favour some shifts.
    assert_chi_square(np.histogram((drawn - labels) % 200, bins=10, range=(0.5, 199.5))[0], N / 10, 9)


def test_eight_bit_labels_of_256_classes_do_not_overflow():
    labels = (np.arange(N) % 256).astype(np.uint8)
    noisy = noise.pair(KEY, labels, 1.0, num_classes=256)
    np.testing.assert_array_equal(noisy.labels, (np.arange(N) + 1) % 256)


# --- bad input --------------------------------------------------------------------------------------------

GOOD = np.array([0, 2, 1])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("labels", "rate", "num_classes", "error", "message"),
    [
        (
            np.array([0.0, 1.0], np.float32),
            0.5,
            3,
            TypeError,
            r"labels must be integer.*got float32 of shape \(2,\)",
        ),
        (np.array([True, False]), 0.5, 3, TypeError, r"labels must be integer.*got bool"),
        (np.eye(3, dtype=int), 0.5, 3, ValueError, r"expected labels of shape \[n\], got \(3, 3\)"),
        (np.array(1), 0.5, 3, ValueError, r"expected labels of shape \[n\], got \(\)"),
        (np.array([0, 1, 3]), 0.5, 3, ValueError, r"labels must be in \[0, 3\), got 3 at index 2"),
        (np.array([0, -1, 7]), 0.5, 3, ValueError, r"labels must be in \[0, 3\), got -1 at index 1"),
        (np.array([0, 2**32]), 0.5, 3, ValueError, r"labels must be in \[0, 3\), got 4294967296 at index 1"),
        (GOOD, -0.1, 3, ValueError, r"rate must be in \[0.0, 1.0\], got -0.1"),
        (GOOD, 1.1, 3, ValueError, r"rate must be in \[0.0, 1.0\], got 1.1"),
        (GOOD, 40, 3, ValueError, r"rate must be in \[0.0, 1.0\], got 40"),
        (GOOD, float("nan"), 3, ValueError, r"rate must be in \[0.0, 1.0\], got nan"),
        (GOOD, "0.4", 3, TypeError, r"rate must be a number, got '0.4'"),
        (np.zeros(3, int), 0.5, 1, ValueError, r"num_classes must be in \[2, inf\), got 1"),
    ],
)
def test_bad_input(name, labels, rate, num_classes, error, message):
    with pytest.raises(error, match=message):
        MODELS[name](KEY, labels, rate, num_classes=num_classes)


@pytest.mark.parametrize(
    ("labels", "matrix", "error", "message"),
    [
        (GOOD, np.eye(3)[:2], ValueError, r"shape \[C, C\] with C >= 2, got \(2, 3\)"),
        (GOOD, np.ones((1, 1)), ValueError, r"shape \[C, C\] with C >= 2, got \(1, 1\)"),
        (GOOD, np.eye(3)[None], ValueError, r"shape \[C, C\] with C >= 2, got \(1, 3, 3\)"),
        (GOOD, np.array([[1, 0], [0.5, 0.6]]), ValueError, r"sum to 1, got row 1: \[0.5 0.6\]"),
        # Columns that sum to 1, rows that do not: the transpose, a common mistake.
        (GOOD, np.array([[0.9, 0.3], [0.1, 0.7]]), ValueError, r"sum to 1, got row "),
        (
            GOOD,
            np.array([[1, 0], [-0.5, 1.5]]),
            ValueError,
            r"must be non-negative.*got row 1: \[-0.5  1.5\]",
        ),
        (GOOD, np.array([[np.nan, 1], [0, 1]]), ValueError, r"sum to 1, got row 0: \[nan  1.\]"),
        (GOOD, np.eye(2), ValueError, r"labels must be in \[0, 2\), got 2 at index 1"),
        (GOOD.astype(np.float32), np.eye(3), TypeError, r"labels must be integer.*got float32"),
        (np.eye(3, dtype=int), np.eye(3), ValueError, r"expected labels of shape \[n\], got \(3, 3\)"),
    ],
)
def test_bad_transition(labels, matrix, error, message):
    with pytest.raises(error, match=message):
        noise.transition(KEY, labels, matrix)


def test_realised_checks_what_it_is_given():
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\), got 5 at index 1"):
        noise.realised([0, 5], [0, 1], num_classes=2)
    with pytest.raises(ValueError, match=r"labels must be in \[0, 2\), got -1 at index 1"):
        noise.realised([0, 1], [0, -1], num_classes=2)
    with pytest.raises(ValueError, match="as many clean labels as noisy ones, got 2 and 1"):
        noise.realised([0, 1], [0], num_classes=2)
    with pytest.raises(ValueError, match="expected at least one label, got none"):
        noise.symmetric(KEY, np.zeros(0, int), 0.5, num_classes=2)
