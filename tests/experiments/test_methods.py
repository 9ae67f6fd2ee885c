import jax.numpy as jnp
import numpy as np
import optax
import pytest

import noisy_optax as nox
from experiments import method_names, methods
from experiments.terminal import UserError
from noisy_optax import losses

SETTING = methods.Setting(
    num_classes=3,
    epochs=2,
    steps_per_epoch=5,
    learning_rate=optax.constant_schedule(0.1),
    train_examples=20,
)


@pytest.mark.parametrize(
    "name", [*methods.METHODS, *(f"cross_entropy+{name}" for name in methods.TRANSFORMATIONS)]
)
def test_every_method_is_a_working_pair(name):
    method = method_names.build(name, SETTING)
    logits, labels, indices = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([1]), jnp.array([19])
    values, _ = method.loss.apply(method.loss.init(), logits, labels, indices=indices)
    assert values.shape == (1,)
    gradient = {"w": jnp.ones(2)}
    for transformation in filter(None, (method.transformation, method.sharpness)):
        state = transformation.init(gradient)
        update = optax.with_extra_args_support(transformation).update
        updates, _ = update(gradient, state, gradient, grad_fn=lambda params: params)
        assert updates["w"].shape == (2,)
    assert (method.sharpness is not None) == ("+" in name)


def test_hyperparameters_arrive():
    logits, labels = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([2])
    loss = method_names.build("phuber_cross_entropy:tau=2", SETTING).loss
    expected = losses.phuber_cross_entropy(logits, labels, tau=2.0)
    np.testing.assert_array_equal(loss.value(loss.init(), logits, labels), expected)


def test_dal_follows_the_epochs_of_the_run_and_reports_its_schedules():
    method = method_names.build("dal:q_start=0.5", SETTING)
    logits, labels = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([1])
    state, measured = method.loss.init(), []
    for _ in range(SETTING.epochs * SETTING.steps_per_epoch + 1):
        state = method.loss.update(state, logits, labels)
        measured.append({name: float(value) for name, value in method.measure(state).items()})
    assert measured[4::5] == [{"q": 0.5, "bootstrap_weight": 0.0}, {"q": 1.0, "bootstrap_weight": 0.0}]
    assert measured[-1] == {"q": 1.5, "bootstrap_weight": 1.0}


def test_ogc_follows_the_learning_rate_of_the_run():
    falling = SETTING._replace(learning_rate=optax.exponential_decay(0.2, 1, 0.5))
    found = method_names.build("ogc:epsilon=0.7,queue_size=8", falling).loss
    logits, labels = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([1])
    expected = nox.ogc.ogc_loss(learning_rate=falling.learning_rate, epsilon=0.7, queue_size=8)
    bounds = []
    state = other = found.init()
    for _ in range(3):
        state, other = found.update(state, logits, labels), expected.update(other, logits, labels)
        np.testing.assert_allclose(state.bound, other.bound, rtol=1e-6)
        bounds.append(float(state.bound))
    assert len(set(bounds)) == 3


def test_saner_scales_over_its_own_epochs_of_the_runs_steps():
    saner = method_names.build("cross_entropy+saner:group_b_scale=0.2,scale_epochs=4", SETTING).sharpness
    first, second = jnp.array([1.0]), jnp.array([0.5])
    expected = nox.schedules.saner_scale(0.2, 4, steps_per_epoch=SETTING.steps_per_epoch)
    for count in (0, 5, 12, 18, 40):
        state = saner.init(first)._replace(count=jnp.asarray(count))
        updates, _ = saner.combine(first, second, state, first)
        np.testing.assert_allclose(updates, 0.5 * expected(count), rtol=1e-6)


def test_what_the_recommended_loss_noticed_is_said_in_epochs_from_one():
    state = nox.recommended(20, 3).init()
    weight = jnp.array([1.0, 1.0, 0.0])
    state = state._replace(
        noticed_at=jnp.array([3.2, 5.0, jnp.inf]),
        early_learning=state.early_learning._replace(weight=weight),
    )
    said = methods.memorising_noticed(state)
    assert said.startswith("with 2 of 3 seeds memorising began at epoch 4 to 5; with 1 of 3 seeds nothing")


@pytest.mark.parametrize(("num_classes", "epsilon"), [(3, 0.0), (10, losses.logit_bias(10))])
def test_logit_bias_is_that_of_the_number_of_classes_and_never_negative(num_classes, epsilon):
    loss = method_names.build("mae_logit_bias", SETTING._replace(num_classes=num_classes)).loss
    p = np.exp(epsilon) / (np.exp(epsilon) + num_classes - 1)
    value = loss.value(loss.init(), jnp.zeros((1, num_classes)), jnp.array([2]))
    np.testing.assert_allclose(value, 1 - p, rtol=1e-6)


def test_hyperparameters_are_the_keyword_arguments_with_their_defaults():
    found = method_names.hyperparameters("phuber_generalized_cross_entropy:tau=3+sam")
    assert found == {"phuber_generalized_cross_entropy": {"q": 0.7, "tau": 3.0}, "sam": {"rho": 0.1}}
    assert method_names.hyperparameters("cross_entropy") == {"cross_entropy": {}}
    assert method_names.spelled(found) == "phuber_generalized_cross_entropy:tau=3.0+sam"


def test_a_value_out_of_range_is_the_users_error():
    with pytest.raises(
        UserError, match=r"--method generalized_cross_entropy: q must be in \(0.0, 1.0\], got 2"
    ):
        method_names.build("generalized_cross_entropy:q=2", SETTING)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cross_entropy:", "has no hyper-parameter ''; it has none"),
        ("phuber_cross_entropy:t=2", "has no hyper-parameter 't'; it has tau"),
        ("phuber_cross_entropy:tau=two", "tau must be a float, got 'two'"),
        ("phuber_cross_entropy:tau=2,tau=3", "tau is given twice"),
        ("saner", "saner is not a loss: expected LOSS"),
        ("saner+cross_entropy", "saner is not a loss"),
        ("cross_entropy+cross_entropy", "cross_entropy is not a transformation"),
        ("cross_entropy+sam+saner", "expected LOSS or"),
        ("cross_entropy+", "no transformation is called ''; the nearest are"),
        ("crossentropy", "no loss is called 'crossentropy'; the nearest are cross_entropy, "),
    ],
)
def test_hyperparameters_in_the_name(spec, said):
    found = method_names.parse("phuber_generalized_cross_entropy:q=0.5,tau=2e+0+saner:rho=0.2,scale_epochs=3")
    assert [(part.name, part.changed) for part in found] == [
        ("phuber_generalized_cross_entropy", {"q": 0.5, "tau": 2.0}),
        ("saner", {"rho": 0.2, "scale_epochs": 3}),
    ]
    with pytest.raises(UserError, match=said):
        method_names.build(spec, SETTING)


OWN = """
import jax, jax.numpy as jnp
import noisy_optax as nox

def brier(logits, labels, *, power=2.0):
    p = jnp.take_along_axis(jax.nn.softmax(logits), labels[:, None], axis=1)[:, 0]
    return (1 - p) ** power

def remembering(setting, *, weight):
    return nox.memory.early_learning_regularization(
        setting.train_examples, setting.num_classes, weight=weight
    )

def mean(logits, labels):
    return jnp.mean(logits)

def starless(logits, labels, power=2.0):
    return labels

def number(setting):
    return 3

nothing = 3
"""


def test_a_file_of_the_users_is_a_method_docstring_or_not(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    logits, labels = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([0])
    loss = method_names.build(f"{file}:brier:power=1+sam", SETTING).loss
    expected = losses.mean_absolute_error(logits, labels)
    np.testing.assert_allclose(loss.value(loss.init(), logits, labels), expected, rtol=1e-6)
    masked = loss.value(loss.init(), logits, labels, where=jnp.array([False]))
    np.testing.assert_array_equal(masked, [0.0])
    robust = method_names.build(f"{file}:remembering:weight=2", SETTING).loss
    assert robust.init().targets.shape == (20, 3)
    assert method_names.hyperparameters(f"{file}:brier") == {f"{file}:brier": {"power": 2.0}}
    before = method_names.own_code(f"{file}:brier")
    file.write_text(OWN + "# changed")
    assert method_names.own_code(f"{file}:brier") != before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.py:absent", "mine.py: has no function 'absent'"),
        ("mine.py:nothing", "mine.py: has no function 'nothing'"),
        (
            "mine.py:mean",
            r"expected one loss for each example, shape \(3,\) in a trial .*, got \(\); do not average",
        ),
        ("mine.py", "expected FILE.py:FUNCTION, for example .*mine.py:my_loss"),
        ("mine.py:starless:power=1", "no hyper-parameter 'power'; it has none; put \\* before it"),
        ("mine.py:number", "expected a function of logits and labels, or of the setting .*; got int"),
        ("mine.py:remembering", "weight has no default; give .*mine.py:remembering:weight=VALUE"),
        ("other.py:mean", "other.py: there is no such file"),
        ("wrong.py:mean", "wrong.py: NameError: name 'x' is not defined"),
    ],
)
def test_mistakes_in_a_file_of_the_users_are_one_line(name, said, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "wrong.py").write_text("x")
    with pytest.raises(UserError, match=said):
        method_names.build(f"{tmp_path}/{name}", SETTING)
