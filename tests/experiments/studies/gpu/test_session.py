import json

import pytest

from experiments.studies.gpu import results, session
from experiments.studies.gpu.session import Job, Session
from experiments.terminal import UserError


class Clock:
    """A clock that jobs push on."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def made(tmp_path):
    clock, said = Clock(), []

    def job(name, takes, expected=None, result=None):
        def run():
            clock.now += takes
            return result or {"kind": "run", "value": takes}

        return Job(name, lambda: takes if expected is None else expected, run)

    def start(minutes=1.0):
        clock.now = 0.0
        return Session(minutes, tmp_path, said.append, clock=clock)

    return start, job, said, tmp_path


def names(folder):
    return [json.loads(line)["name"] for line in (folder / results.FILE).read_text().splitlines()]


def test_what_would_take_too_long_is_left_out_and_what_comes_after_may_fit(made):
    start, job, said, folder = made
    now = start(minutes=1.0)
    for one in (job("first", 40), job("too long", 20), job("short", 5)):
        now.carry_out(one)
    assert names(folder) == ["first", "short"]
    assert any("too long: left out, would take 23 s, 17 s are left" in line for line in said)


def test_each_result_is_there_at_once_and_never_measured_again(made):
    start, job, said, folder = made
    start().carry_out(job("first", 1))
    assert names(folder) == ["first"]
    again = start()
    again.carry_out(job("first", 1))
    again.carry_out(job("second", 1))
    assert names(folder) == ["first", "second"]
    assert any("first: already measured" in line for line in said)
    assert {"name", "kind", "value", "provenance"} <= again.results[0].keys()


def test_a_job_that_fails_does_not_take_the_others_with_it(made):
    start, job, _, folder = made
    now = start()

    def fail():
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory\nwhile trying to allocate")

    with pytest.warns(UserWarning, match="big failed: RESOURCE_EXHAUSTED: out of memory while trying"):
        now.carry_out(Job("big", lambda: 0.0, fail))
    now.carry_out(job("small", 1))
    assert names(folder) == ["small"]
    assert now.failed == 1


def test_a_program_that_comes_too_late_is_no_failure(made):
    start, _, said, folder = made
    now = start()

    def late():
        raise TimeoutError("its program is not compiled after 3 s more")

    now.carry_out(Job("slow", lambda: 0.0, late))
    assert now.failed == 0
    assert any("slow: left out, its program is not compiled" in line for line in said)
    assert not (folder / results.FILE).exists()


def test_a_line_that_a_kill_cut_short_is_dropped(made):
    start, job, _, folder = made
    start().carry_out(job("first", 1))
    with (folder / results.FILE).open("a") as file:
        file.write('{"name": "second", "val')
    with pytest.warns(UserWarning, match="the last line is incomplete"):
        now = start()
    now.carry_out(job("second", 1))
    assert names(folder) == ["first", "second"]
    (folder / results.FILE).write_text('[1]\n{"name": "x"}\n')
    with pytest.raises(UserError, match="line 1 is not a result"):
        start()


def test_no_time_at_all_is_refused():
    with pytest.raises(UserError, match=r"--minutes must be more than 0\.05, got 0"):
        session.check_minutes(0)
