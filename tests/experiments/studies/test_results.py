import pytest

from experiments.__main__ import parse
from experiments.runs import run_folder
from experiments.studies import results, results_pages
from experiments.studies.figures import learned_first

MEASUREMENTS = {measurement.name: measurement for measurement in results.measurements()}


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_the_command_is_the_one_that_the_committed_file_was_measured_with(name):
    command = parse(["compare", *MEASUREMENTS[name].flags])
    if name == "curves":
        assert command.methods == tuple(learned_first.METHODS)
        return
    committed = run_folder.read_json(results_pages.RESULTS / f"{name}.json")
    columns = committed["cells"] if command.noises else {name: committed}
    assert tuple(columns) == (command.noises or (name,))
    for column in columns.values():
        assert tuple(column["methods"]) == command.methods
        assert column["seeds"][0] == command.experiment.first_seed
        assert len(column["seeds"]) == command.experiment.seeds
        optimization = column["config"]["optimization"]
        asked = command.experiment.optimization
        names = ("optimizer", "learning_rate", "weight_decay", "gradient_norm_clip", "epochs", "batch_size")
        assert [optimization[key] for key in names] == [getattr(asked, key) for key in names]
        if not command.noises:
            assert column["config"]["data"]["noise"] == command.experiment.data.noise
            assert column["config"]["data"]["noise_rate"] == command.experiment.data.noise_rate
