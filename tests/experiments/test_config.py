import dataclasses
import json

import pytest

from experiments import __main__ as program
from experiments import config, method_names, methods
from experiments.terminal import UserError


def parse(*args):
    return program.parse(list(args))


def test_train_flags_reach_their_fields():
    command = parse(
        "train", "--dataset", "npz:x.npz", "--noise", "pair", "--noise-rate", "0.3", "--model", "cnn",
        "--epochs", "7", "--seeds", "2", "--method", "phuber_cross_entropy:tau=2",
    )  # fmt: skip
    experiment = command.experiment
    assert (experiment.data.dataset, experiment.data.noise, experiment.data.noise_rate) == (
        "npz:x.npz",
        "pair",
        0.3,
    )
    assert (experiment.model.model, experiment.optimization.epochs, experiment.seeds) == ("cnn", 7, 2)
    assert method_names.hyperparameters(command.method) == {"phuber_cross_entropy": {"tau": 2.0}}


def test_compare_takes_several_methods():
    command = parse("compare", "--methods", "cross_entropy", "mean_absolute_error", "--seeds", "5")
    assert command.methods == ("cross_entropy", "mean_absolute_error")
    assert command.experiment.seeds == 5


@pytest.fixture(scope="module")
def noisy():
    return parse("train", "--noise", "pair", "--noise-rate", "0.3", "--width", "32").experiment


@pytest.mark.parametrize("method", methods.METHODS)
def test_a_saved_config_is_read_back(method, noisy):
    record = config.as_record(method, noisy)
    read_method, read_experiment = config.from_record(record)
    assert read_method == method
    assert config.as_record(read_method, read_experiment) == record


def test_only_the_methods_own_hyperparameters_are_saved():
    experiment = parse("train").experiment
    assert config.as_record("cross_entropy", experiment)["hyperparameters"] == {"cross_entropy": {}}
    both = config.as_record("generalized_cross_entropy:q=0.5+sam:rho=0.3", experiment)
    assert both["method"] == "generalized_cross_entropy+sam"
    assert both["hyperparameters"] == {"generalized_cross_entropy": {"q": 0.5}, "sam": {"rho": 0.3}}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--noise", "symmetric"], "--noise symmetric needs --noise-rate"),
        (["--noise-rate", "0.2"], "has no effect with --noise none"),
        (["--noise", "pair", "--noise-rate", "1.5"], r"--noise-rate must be in \[0, 1\], got 1.5"),
        (["--noise", "pair", "--noise-rate", "nan"], "--noise-rate must be"),
        (["--validation-fraction", "-0.1"], "--validation-fraction must be"),
        (["--select", "validation"], "--select validation needs --validation-fraction"),
        (["--epochs", "0"], r"--epochs must be in \[1, inf\], got 0"),
        (["--batch-size", "-1"], "--batch-size must be"),
        (["--learning-rate", "0"], r"--learning-rate must be in \(0, inf\), got 0"),
        (["--learning-rate", "nan"], "--learning-rate must be"),
        (["--momentum", "1"], "--momentum must be"),
        (["--weight-decay", "-1e-4"], "--weight-decay must be"),
        (["--l1-decay", "-1"], r"--l1-decay must be in \[0, inf\), got -1"),
        (["--gradient-norm-clip", "0"], "--gradient-norm-clip must be"),
        (["--gradient-norm-clip", "inf"], "--gradient-norm-clip must be"),
        (["--seeds", "0"], "--seeds must be"),
        (["--first-seed", "-1"], "--first-seed must be"),
        (["--first-seed", "5000000000"], "--first-seed must be"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be"),
        (["--width", "4"], "--width must be"),
        (
            ["--width", "64", "--model", "resnet18"],
            "--width has no effect with --model resnet18; it is for mlp",
        ),
        (
            ["--augment", "crop", "crop"],
            "--augment takes each change once, got crop crop; leave out the second",
        ),
        (["--crop-padding", "0"], "--crop-padding must be"),
        (["--rotation-degrees", "0"], r"--rotation-degrees must be in \(0, 180\], got 0"),
        (["--learning-rate-schedule", "step"], "step needs --learning-rate-steps, e.g. 40 80"),
        (["--learning-rate-steps", "4"], "no effect with --learning-rate-schedule cosine; choose step"),
        (
            ["--learning-rate-schedule", "step", "--learning-rate-steps", "0", "40"],
            "must rise and be positive, got 0 40",
        ),
        (["--learning-rate-schedule", "step", "--learning-rate-steps", "9", "4"], "must rise"),
        (["--learning-rate-factor", "0"], "--learning-rate-factor must be"),
        (["--warmup-epochs", "100"], r"--warmup-epochs must be in \[0, 99\], got 100"),
    ],
)
def test_values_out_of_range_name_the_flag(flags, said):
    with pytest.raises(UserError, match=said):
        config.check(parse("train", *flags).experiment)


def test_lists_come_back_from_json_as_they_went():
    experiment = parse(
        "train", "--augment", "crop", "flip", "--learning-rate-schedule", "step", "--learning-rate-steps",
        "40", "80",
    ).experiment  # fmt: skip
    record = json.loads(json.dumps(config.as_record("cross_entropy", experiment)))
    _, read = config.from_record(record)
    assert (read.augmentation.augment, read.optimization.learning_rate_steps) == (("crop", "flip"), (40, 80))


@pytest.mark.parametrize(
    ("flags", "norm"),
    [([], "none"), (["--model", "resnet18"], "batch"), (["--model", "resnet18", "--norm", "group"], "group")],
)
def test_the_norm_that_was_meant_is_recorded(flags, norm):
    experiment = parse("train", *flags).experiment
    assert config.as_record("cross_entropy", experiment)["model"]["norm"] == norm
    assert config.shared_record(experiment)["comparison"]["model"]["norm"] == norm


def test_a_config_of_another_version_is_refused():
    record = config.as_record("cross_entropy", parse("train").experiment)
    for damaged in ({}, {**record, "data": {"unknown": 1}}, {**record, "model": None}):
        with pytest.raises(UserError, match=r"config\.json is damaged or of another version"):
            config.from_record(damaged)


def test_a_config_with_values_out_of_range_is_refused():
    record = config.as_record("cross_entropy", parse("train").experiment)
    with pytest.raises(UserError, match="--epochs must be in"):
        config.from_record({**record, "optimization": {**record["optimization"], "epochs": -5}})


def test_default_run_folders_differ_where_the_experiment_does():
    experiment = parse("train").experiment
    noisy = dataclasses.replace(experiment, data=config.Data(noise="pair", noise_rate=0.3))
    assert str(config.default_run_dir(experiment, "cross_entropy")) == "runs/digits-cross_entropy"
    assert str(config.default_run_dir(noisy, "cross_entropy")) == "runs/digits-pair-0.3-cross_entropy"
    assert str(config.default_run_dir(noisy)) == "runs/digits-pair-0.3-compare"


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("npz:mine.npz", "mine-ogc"),
        ("npz:one/mine.npz", "one-mine-ogc"),
        ("npz:other/mine.npz", "other-mine-ogc"),
        ("folder:a/b/images", "b-images-ogc"),
        ("cifar10", "cifar10-ogc"),
    ],
)
def test_default_folders_tell_data_sets_apart(dataset, name):
    experiment = config.Experiment(data=config.Data(dataset))
    assert config.default_run_dir(experiment, "ogc").name == name


def test_the_folder_of_an_own_method_has_no_separators():
    assert config.folder_name("some/where/mine.py:loss:a=1,b=2+sam") == "mine-loss-a=1-b=2+sam"
