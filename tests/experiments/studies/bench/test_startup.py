from types import SimpleNamespace

import pytest

from experiments.studies.bench import startup
from experiments.terminal import UserError


@pytest.mark.parametrize("written", [None, "{}\n"])
def test_a_run_that_ends_before_its_epochs_is_not_waited_for(written, tmp_path):
    if written is not None:
        (tmp_path / "metrics.jsonl").write_text(written)
    ended = SimpleNamespace(poll=lambda: 2, returncode=2)
    with pytest.raises(UserError, match="`train` ended with exit code 2"):
        startup.wait_for_epochs(ended, tmp_path, 2)


def test_a_run_that_has_written_them_and_ended_is_in_time(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}\n{}\n")
    startup.wait_for_epochs(SimpleNamespace(poll=lambda: 0, returncode=0), tmp_path, 2)
