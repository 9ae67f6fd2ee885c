"""The classifier for scikit-learn: its own checks, its place in pipelines and searches, and what it finds."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import noisy_optax as nox
from noisy_optax import sklearn as estimator
from noisy_optax.sklearn import NoisyLabelClassifier

SMALL = {"hidden_layer_sizes": (8,), "epochs": 12, "batch_size": 20, "random_state": 0}
# A training in an order that is drawn does not see weights as repetitions.
EXPECTED_TO_FAIL = {
    "check_sample_weight_equivalence_on_dense_data": "batches are drawn at random, without regard to weights"
}
FAST = {
    "check_estimator_cloneable", "check_no_attributes_set_in_init", "check_estimators_unfitted",
    "check_classifiers_one_label", "check_complex_data", "check_supervised_y_no_nan",
    "check_requires_y_none",
}  # fmt: skip


def data(examples=200, seed=0):
    """Two classes in the plane, and labels of which every tenth is wrong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(examples, 2))
    right = np.where(x[:, 0] > x[:, 1], "left", "right")
    given = right.copy()
    given[::10] = np.where(right[::10] == "left", "right", "left")
    return x, right, given


@pytest.fixture(autouse=True)
def dtypes_are_promoted():
    """The schedules of optax count in integers and multiply with floats."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=check.func.__name__)
        for _, check in estimator_checks_generator(NoisyLabelClassifier(), mark=None)
        if check.func.__name__ in FAST
    ],
)
def test_fast_checks_of_scikit_learn(check):
    check(NoisyLabelClassifier(**SMALL))


@pytest.mark.slow
@parametrize_with_checks(
    [NoisyLabelClassifier(hidden_layer_sizes=(16,))], expected_failed_checks=lambda _: EXPECTED_TO_FAIL
)
def test_all_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def fitted():
    x, _, given = data()
    return NoisyLabelClassifier(**SMALL | {"epochs": 60}).fit(x, given)


def test_names_of_classes_are_kept(fitted):
    x, right, given = data()
    assert fitted.score(x, right) > 0.95
    assert set(fitted.predict(x)) == {"left", "right"}
    p = fitted.predict_proba(x)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[p.argmax(axis=1)], fitted.predict(x))
    issues = fitted.label_issues_
    np.testing.assert_array_equal(issues["given_label"], given)
    np.testing.assert_array_equal(np.sort(issues["rank"]), np.arange(1, 201))
    np.testing.assert_array_equal(issues["index"], np.arange(200))


def test_wrong_labels_are_found(fitted):
    _, right, given = data()
    issues = fitted.label_issues_
    first = issues[np.argsort(issues["rank"])][:20]["index"]
    assert np.mean(given[first] != right[first]) > 0.7
    assert fitted.learnt_
    assert fitted.noise_rate_.low <= 0.1 <= fitted.noise_rate_.high
    np.testing.assert_array_equal(issues["judged_wrong"], issues["probability_wrong"] > 0.5)
    suggested = issues["suggested_label"][first]
    assert np.mean(suggested == right[first]) > 0.7


def test_it_is_pickled_without_its_programs(fitted):
    x, _, _ = data()
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(x), fitted.predict_proba(x))


def test_the_same_seed_makes_the_same_classifier():
    x, _, given = data()
    one, two = (NoisyLabelClassifier(**SMALL).fit(x, given).predict_proba(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    other = NoisyLabelClassifier(**SMALL | {"random_state": 1}).fit(x, given).predict_proba(x)
    assert np.abs(one - other).max() > 1e-3


def test_examples_of_weight_zero_are_not_trained_on():
    x, _, given = data()
    spoilt = given.copy()
    spoilt[100:] = np.where(x[100:, 0] > 0, "left", "right")
    weights = np.arange(200) < 100
    one, two = (
        NoisyLabelClassifier(**SMALL).fit(x, own, sample_weight=weights).predict_proba(x)
        for own in (given, spoilt)
    )
    np.testing.assert_array_equal(one, two)


def test_weights_weigh():
    """If a row has two labels, the network believes each as far as its weight goes."""
    x, _, _ = data(100)
    rows, given = np.repeat(x[:, :1], 2, axis=0), np.tile(["left", "right"], 100)
    model = NoisyLabelClassifier(nox.losses.cross_entropy, **SMALL)
    p = model.fit(rows, given, sample_weight=np.tile([9.0, 1.0], 100)).predict_proba(rows)
    assert 0.8 < p[:, 0].mean() < 0.97


def test_a_row_is_predicted_alike_whatever_it_is_predicted_with(fitted):
    x, _, _ = data()
    np.testing.assert_allclose(fitted.predict_proba(x[:3]), fitted.predict_proba(x)[:3], rtol=1e-5)


def test_each_epoch_leaves_other_examples_out_and_all_of_them_move_the_network():
    counting = nox.RobustLoss(
        init=lambda: jnp.zeros(11, jnp.int32),
        update=lambda seen, logits, labels, *, where, indices: seen.at[indices].add(1),
        value=lambda seen, logits, labels, *, where, indices: nox.losses.cross_entropy(logits, labels),
    )
    setting = estimator.Setting(counting, 11, 2, batch_size=2, epochs=12, learning_rate=0.1, weight_decay=0.0)
    begin, epoch = estimator._program(setting, (2, 4, 2))
    x, _, _ = data(11)
    arrays, key = (jnp.asarray(x, jnp.float32), jnp.arange(11) % 2, jnp.ones(11)), jax.random.key(0)
    params, state = begin(key)
    for number in range(12):
        before = np.array(params[0]["kernel"])
        params, state, _ = epoch(params, state, key, number + 1, *arrays)
        assert np.abs(params[0]["kernel"] - before).max() > 1e-5, number
    assert np.sum(state.loss) == 120
    assert np.min(state.loss) > 8


@pytest.mark.slow
def test_pipelines_and_searches():
    x, _, given = data(120)
    pipeline = make_pipeline(StandardScaler(), NoisyLabelClassifier(**SMALL))
    search = GridSearchCV(pipeline, {"noisylabelclassifier__epochs": [1, 12]}, cv=2).fit(x, given)
    assert search.best_params_ == {"noisylabelclassifier__epochs": 12}


def test_cross_validation():
    x, right, given = data(120)
    p = cross_val_predict(NoisyLabelClassifier(**SMALL), x, given, cv=2, method="predict_proba")
    assert p.shape == (120, 2)
    assert np.mean(np.array(["left", "right"])[p.argmax(axis=1)] == right) > 0.8


def factory(num_examples, num_classes, total_steps):
    """A loss whose configuration depends on the data."""
    assert (num_examples, num_classes, total_steps) == (200, 2, 120)
    return nox.memory.early_learning_regularization(num_examples, num_classes)


@pytest.mark.parametrize(
    "loss",
    [
        "generalized_cross_entropy",
        nox.losses.cross_entropy,
        nox.memory.early_learning_regularization(200, 2),
        factory,
    ],
)
def test_a_loss_may_be_a_name_a_function_a_robust_loss_or_a_factory(loss):
    x, right, given = data()
    assert NoisyLabelClassifier(loss, **SMALL).fit(x, given).score(x, right) > 0.85


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "generalised"}, "loss must be 'recommended', the name of a loss in noisy_optax.losses"),
        ({"loss": "_label"}, "loss must be 'recommended'"),
        ({"loss": 3}, "loss must be 'recommended'"),
        ({"epochs": 0}, "epochs must be an integer above 0 or None, got 0"),
        ({"batch_size": 1.5}, "batch_size must be an integer above 0 or None, got 1.5"),
        ({"hidden_layer_sizes": (4, 0)}, r"hidden_layer_sizes must be integers above 0, got \(4, 0\)"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must not be below 0, got -1.0"),
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_told(arguments, message):
    x, _, given = data(20)
    with pytest.raises(ValueError, match=message):
        NoisyLabelClassifier(**arguments).fit(x, given)


def test_columns_of_different_scales_do_not_matter():
    x, right, given = data()
    factors = np.array([1e-6, 1e9])
    one = NoisyLabelClassifier(**SMALL).fit(x * factors + 5e9, given)
    assert one.score(x * factors + 5e9, right) > 0.85
    # A small difference between scales is left as it is.
    scaling = estimator.fit_scaling(x * np.array([1.0, 30.0]))
    assert scaling.scale[0] == scaling.scale[1]


def test_constant_columns_are_harmless():
    x, right, given = data()
    constant = np.concatenate([x, np.full((200, 1), 7.0)], axis=1)
    assert NoisyLabelClassifier(**SMALL).fit(constant, given).score(constant, right) > 0.85


@pytest.mark.slow
def test_wrong_labels_of_digits_rank_first():
    digits = load_digits()
    rng = np.random.default_rng(0)
    wrong = rng.random(len(digits.target)) < 0.15
    given = np.where(wrong, (digits.target + rng.integers(1, 10, len(wrong))) % 10, digits.target)
    issues = NoisyLabelClassifier(random_state=0).fit(digits.data, given).label_issues_
    assert np.mean(wrong[issues["rank"] <= wrong.sum()]) > 0.97


def test_it_works_inside_cleanlab():
    classification = pytest.importorskip("cleanlab.classification", reason="needs pip install cleanlab")
    x, right, given = data()
    # It takes integers only.
    right, given = (np.asarray(labels == "left", int) for labels in (right, given))
    # In one process: JAX does not survive a fork.
    settings = {"cv_n_folds": 3, "seed": 0, "find_label_issues_kwargs": {"n_jobs": 1}}
    cleaned = classification.CleanLearning(NoisyLabelClassifier(**SMALL), **settings)
    assert np.mean(cleaned.fit(x, given).predict(x) == right) > 0.85
