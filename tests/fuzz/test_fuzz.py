"""Spoilt files: a few of each kind here, thousands with ``make fuzz``."""

from __future__ import annotations

import pytest
from fuzz_campaign import Failure, campaign, shares
from fuzz_mutations import BINARY, TEXT, file_of
from fuzz_targets import SMALL, TARGETS

CASES = 600


def test_spoilt_files_are_taken_or_refused():
    answers = {}
    failures = campaign(shares(CASES, []), tell=lambda target, case, said: answers.setdefault(target, []).append(said))
    assert failures == []
    assert sum(map(len, answers.values())) >= CASES
    for target, said in answers.items():
        assert {answer == "taken" for answer in said} == {True, False}, target


BROKEN = {
    "segfault": "the process died with -11",
    "hang": "no answer in 3 s",
    "raise": "KeyError: 'no such thing'",
    "two lines": r"Bug: not one line: 'one\ntwo'",
    "memory": "MemoryError",
    "exit": "the process ended early",
}


def test_a_campaign_notices_what_is_wrong_and_goes_on():
    told = []
    spans = [(target, 1, 2) for target in BROKEN]
    failures = campaign([*spans, ("fine", 0, 3)], "fuzz_broken", 3, lambda *facts: told.append(facts))
    assert [(failure.target, failure.case) for failure in failures] == [(target, 1) for target in BROKEN]
    assert all(what in failure.what for failure, what in zip(failures, BROKEN.values(), strict=True))
    assert told == [*((target, 1, "bug") for target in BROKEN),
                    ("fine", 0, "taken"), ("fine", 1, "spoilt"), ("fine", 2, "spoilt")]  # fmt: skip
    with pytest.raises(RuntimeError, match=r"(?s)the worker did not begin: the process died with 1: .*ModuleNotFound"):
        campaign([("fine", 0, 1)], "no_such_module")


def test_failures_of_one_cause_are_alike():
    trace = 'File "/x/src/batchbrew/solver/net.py", line {}, in f\nFile "/y/numpy.py", line 3\n{}'
    kinds = [Failure("net", n, trace.format(line, error)).kind
             for n, (line, error) in enumerate([(7, "KeyError: 'a'"), (7, "KeyError: 'b'"), (8, "KeyError: 'a'")])]  # fmt: skip
    assert kinds == ["solver/net.py:7: KeyError"] * 2 + ["solver/net.py:8: KeyError"]
    assert Failure("net", 1, "the process died with -11: ").kind == "the process died with -N:"


@pytest.mark.parametrize("ways", [BINARY, TEXT])
def test_the_same_case_is_the_same_file(ways):
    seeds = [SMALL.encode(), b"", b"\x0a\x04tiny"]
    files = [file_of(case, seeds, ways, "t") for case in range(100)]
    assert files == [file_of(case, seeds, ways, "t") for case in range(100)]
    assert files[:3] == seeds
    assert len(set(files)) > 60
    for way in ways:  # each spoils something, and survives an empty file
        assert any(file_of(case, seeds[:1], (way,), "t") != seeds[0] for case in range(1, 20)), way
        file_of(1, [b""], (way,), "t")


def test_there_is_a_target_for_each_kind_of_file():
    kinds = {"net", "solver", "caffemodel", "solverstate", "caffemodel.h5", "solverstate.h5", "upgrade", "layers"}
    assert kinds <= set(TARGETS)
    assert sum(last for _, _, last in shares(12_000, [])) >= 12_000
