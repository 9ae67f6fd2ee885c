import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import methods
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
    "name", [*methods.names(), *(f"cross_entropy+{name}" for name in methods.transformation_names())]
)
def test_every_method_is_a_working_pair(name):
    method = methods.build(dict(methods.parse(name)), SETTING)
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
    loss = methods.build({"phuber_cross_entropy": {"tau": 2.0}}, SETTING).loss
    expected = losses.phuber_cross_entropy(logits, labels, tau=2.0)
    np.testing.assert_array_equal(loss.value(loss.init(), logits, labels), expected)


def test_dal_follows_the_epochs_of_the_run_and_reports_its_schedules():
    method = methods.build({"dal": {"q_start": 0.5, "q_end": 1.5}}, SETTING)
    logits, labels = jnp.array([[1.0, 0.0, -1.0]]), jnp.array([1])
    state, measured = method.loss.init(), []
    for _ in range(SETTING.epochs * SETTING.steps_per_epoch + 1):
        state = method.loss.update(state, logits, labels)
        measured.append({name: float(value) for name, value in method.measure(state).items()})
    assert measured[4::5] == [{"q": 0.5, "bootstrap_weight": 0.0}, {"q": 1.0, "bootstrap_weight": 0.0}]
    assert measured[-1] == {"q": 1.5, "bootstrap_weight": 1.0}


@pytest.mark.parametrize(("num_classes", "epsilon"), [(3, 0.0), (10, losses.logit_bias(10))])
def test_logit_bias_is_that_of_the_number_of_classes_and_never_negative(num_classes, epsilon):
    loss = methods.build({"mae_logit_bias": {}}, SETTING._replace(num_classes=num_classes)).loss
    p = np.exp(epsilon) / (np.exp(epsilon) + num_classes - 1)
    value = loss.value(loss.init(), jnp.zeros((1, num_classes)), jnp.array([2]))
    np.testing.assert_allclose(value, 1 - p, rtol=1e-6)


def test_flags_are_the_keyword_arguments_with_their_defaults():
    flags = methods.flags_of(methods.by_name("phuber_generalized_cross_entropy"))
    assert (flags().q, flags().tau) == (0.7, 10.0)
    assert methods.flags_of(methods.by_name("cross_entropy")) is None


def test_a_value_out_of_range_is_the_users_error():
    with pytest.raises(
        UserError, match=r"--method generalized_cross_entropy: q must be in \(0.0, 1.0\], got 2"
    ):
        methods.build({"generalized_cross_entropy": {"q": 2.0}}, SETTING)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("cross_entropy:", "has no hyper-parameter ''; it has none"),
        ("phuber_cross_entropy:t=2", "has no hyper-parameter 't'; it has tau"),
        ("phuber_cross_entropy:tau=two", "tau must be a float, got 'two'"),
        ("phuber_cross_entropy:tau=2,tau=3", "tau is given twice"),
        ("saner", r"saner: expected LOSS or LOSS\+TRANSFORMATION"),
        ("saner+cross_entropy", "expected LOSS"),
        ("cross_entropy+sam+saner", "expected LOSS"),
        ("cross_entropy+", "no method is called ''"),
    ],
)
def test_hyperparameters_in_the_name(spec, said):
    found = methods.parse("phuber_generalized_cross_entropy:q=0.5,tau=2e+0+saner:rho=0.2,scale_epochs=3")
    assert found == [
        ("phuber_generalized_cross_entropy", {"q": 0.5, "tau": 2.0}),
        ("saner", {"rho": 0.2, "scale_epochs": 3}),
    ]
    with pytest.raises(UserError, match=said):
        methods.parse(spec)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="no method is called 'ce'; the losses are asymmetric_exponential, "):
        methods.by_name("ce")
