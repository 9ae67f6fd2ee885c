import threading

import pytest

from experiments.studies.gpu.programs import Programs


def test_each_is_compiled_once_and_waited_for_as_long_as_there_is_time():
    programs, release, compiled = Programs(), threading.Event(), []

    def compile():
        release.wait()
        compiled.append("slow")
        return "program"

    programs.begin("slow", compile)
    programs.begin("slow", compile)
    with pytest.raises(TimeoutError, match="not compiled after 0 s more"):
        programs.get("slow", 0.0)
    with pytest.raises(TimeoutError, match="other programs are not compiled"):
        programs.wait(-1.0)
    release.set()
    programs.wait(60.0)
    assert programs.get("slow", 0.0) == "program"
    assert compiled == ["slow"]


def test_what_goes_wrong_is_raised_where_the_program_is_asked_for():
    programs = Programs()

    def fail():
        raise RuntimeError("out of memory")

    programs.begin("large", fail)
    programs.wait(60.0)
    with pytest.raises(RuntimeError, match="out of memory"):
        programs.get("large", 60.0)
