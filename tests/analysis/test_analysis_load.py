"""Reading study folders: whole, unfinished, cut, damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from batchbrew.analysis.load import load
from batchbrew.errors import UserError

Make = Callable[..., Path]
SMALL = {"batches": (64,), "nodes": (1, 2), "seeds": (1, 2), "censored": (), "diverged": (), "missing": ()}

RUN = "runs/b64-n1-s1-linear"


def run_of(folder: Path, name: str) -> Path:
    return folder / "runs" / name


def test_every_cell_has_its_state(make_study: Make) -> None:
    settings = SMALL | {"missing": ((64, 1, 1),), "running": ((64, 1, 2),), "diverged": ((64, 2, 1),)}
    states = {run.run_id: run.state for run in load(make_study(**settings)).runs}
    assert states == {
        "b64-n1-s1-linear": "missing",
        "b64-n1-s2-linear": "running",
        "b64-n2-s1-linear": "diverged",
        "b64-n2-s2-linear": "done",
    }


def test_a_study_carries_its_settings_and_calibration(make_study: Make) -> None:
    study = load(make_study(**SMALL))
    assert (study.name, study.scaling, study.metric, study.target) == ("simulated", "strong", "accuracy", 0.7)
    assert study.calibration is not None
    assert study.calibration.message_bytes == 582_312
    assert [t.nodes for t in study.calibration.allreduce] == [2, 2, 2]
    run = study.runs[0]
    assert run.header is not None and run.spec is not None
    assert run.header.net["parameters"] == 145_578
    assert run.spec.comparable == "c0ffee"
    assert sum(s.updates for s in run.segments) == run.last.update
    assert run.evaluations[0].update == 0


def test_a_censored_run_is_known_as_such(make_study: Make) -> None:
    runs = {run.seed: run for run in load(make_study(**(SMALL | {"nodes": (1,), "censored": ((64, 1, 1),)}))).runs}
    assert (runs[1].censored, runs[1].reached, runs[1].state) == (True, False, "done")
    assert (runs[2].censored, runs[2].reached) == (False, True)


def test_a_missing_calibration_is_no_error(make_study: Make) -> None:
    assert load(make_study(**SMALL, calibrate=False)).calibration is None


def test_a_cut_last_line_is_left_out(make_study: Make) -> None:
    folder = make_study(**(SMALL | {"running": ((64, 1, 1),)}))
    path = run_of(folder, "b64-n1-s1-linear") / "record.jsonl"
    whole = len(load(folder).runs[0].evaluations)
    path.write_bytes(path.read_bytes()[:-20])
    run = load(folder).runs[0]
    assert (run.state, len(run.evaluations)) == ("running", whole - 1)


def test_a_record_cut_within_its_header_is_a_run_that_has_begun(make_study: Make) -> None:
    folder = make_study(**(SMALL | {"running": ((64, 1, 1),)}))
    path = run_of(folder, "b64-n1-s1-linear") / "record.jsonl"
    path.write_bytes(path.read_bytes()[:50])
    assert load(folder).runs[0].state == "running"
    assert load(folder).runs[0].spec is None
    with pytest.raises(UserError, match=r"record\.jsonl: no complete line yet; wait"):
        load(path.parent)


def test_an_interrupted_run_counts_as_not_finished(make_study: Make) -> None:
    folder = make_study(**SMALL)
    run = run_of(folder, "b64-n1-s1-linear")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps(summary | {"outcome": "interrupted", "to_target": None}))
    (run / "DONE").unlink()
    assert load(folder).runs[0].state == "running"


def test_what_is_repeated_after_a_resume_counts_once(make_study: Make) -> None:
    folder = make_study(**SMALL)
    path = run_of(folder, "b64-n1-s1-linear") / "record.jsonl"
    before = load(folder).runs[0]
    lines = path.read_text().splitlines()
    middle = next(i for i, line in enumerate(lines) if '"segment"' in line) + 2
    at = json.loads(lines[middle - 1])["update"]
    resume = json.dumps({"kind": "event", "event": "resume", "update": at, "samples": at * 64, "train_seconds": 1.0})
    path.write_text("\n".join([*lines, resume, *lines[middle:]]) + "\n")
    after = load(folder).runs[0]
    assert after.segments == before.segments
    assert after.evaluations == before.evaluations
    assert [event.event for event in after.events] == ["resume"]


def test_null_is_not_a_number(make_study: Make) -> None:
    folder = make_study(**SMALL)
    path = run_of(folder, "b64-n1-s1-linear") / "record.jsonl"
    line = {"kind": "evaluation", "update": 9999, "samples": 1, "train_seconds": 1.0, "outputs": {"loss": None}}
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    assert math.isnan(load(folder).runs[0].evaluations[-1].outputs["loss"])


def test_unknown_keys_and_kinds_are_left_alone(make_study: Make) -> None:
    folder = make_study(**SMALL)
    path = run_of(folder, "b64-n1-s1-linear") / "record.jsonl"
    path.write_text(path.read_text() + '{"kind": "weather", "sky": "blue"}\n')
    assert load(folder).runs[0].state == "done"


def test_runs_outside_the_grid_are_noted(make_study: Make) -> None:
    folder = make_study(**SMALL)
    run_of(folder, "b64-n1-s1-linear").rename(run_of(folder, "stray"))
    study = load(folder)
    assert study.notes == ("not in the study's grid and left out: stray",)
    assert study.runs[0].state == "missing"


def test_a_single_run_can_be_read(make_study: Make) -> None:
    study = load(run_of(make_study(**SMALL), "b64-n2-s1-linear"))
    assert study.single
    assert (study.runs[0].batch, study.runs[0].nodes, study.runs[0].state) == (64, 2, "done")


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"neither a study \(no study\.json\) nor a run \(no record\.jsonl\); give"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        ("study.json", "{", r"study\.json:1:2: not valid JSON \(.*\); restore the file or delete it"),
        ("study.json", "[]", r"study\.json: expected a JSON object, found list"),
        ("study.json", '{"format": 1}', r"study\.json: key 'name' is missing; the file is damaged or not a batchbrew"),
        ("study.json", '{"format": 2}', r"study\.json: format 2 is not known to this version \(it reads format 1\)"),
        ("calibration.json", '{"compute": [{"batch": "x"}]}', r"compute\[0\]: key 'batch' must be a whole number,"),
        ("calibration.json", '{"compute": [{"batch": 1, "seconds": ["x"]}]}', r"'seconds' must be a list of numbers"),
        (RUN + "/summary.json", '{"outcome": 3}', r"summary\.json: key 'outcome' must be a text, fo"),
        (RUN + "/record.jsonl", '{"kind": "segment"}\n', r"record\.jsonl:1: key 'update' is missing"),
        (RUN + "/record.jsonl", '\x00\x00\n{"kind": "x"}\n', r"record\.jsonl:1:1: damaged line \(.*del"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_in_one_line(make_study: Make, place: str, text: str, message: str) -> None:
    folder = make_study(**SMALL)
    (folder / place).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
