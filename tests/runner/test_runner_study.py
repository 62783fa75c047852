from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import pytest
from runner_support import NET, SOLVER, STUDY, TINY_TEST, TINY_TRAIN, make_spec, write_files

from batchbrew.errors import UserError
from batchbrew.runner.spec import RunSpec, read_spec
from batchbrew.runner.study import Stop, load_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return load_study(write_files(tmp_path_factory.mktemp("study")))


def test_the_grid_is_expanded_batch_outermost(study):
    runs = study.expand()
    assert len(runs) == 16
    assert len({run.run_id for run in runs}) == 16
    assert [(run.batch, run.nodes, run.lr_rule, run.seed) for run in runs[:5]] == [
        (10, 1, "none", 1), (10, 1, "none", 2), (10, 1, "linear", 1), (10, 1, "linear", 2), (10, 2, "none", 1),
    ]  # fmt: skip
    assert runs[0].run_id.startswith("b010-n1-s1-none-")


def test_lengths_are_in_samples(study):
    linear = next(run for run in study.expand() if run.lr_rule == "linear")
    assert linear.evaluate_every_samples == 40
    assert linear.checkpoint_every_samples == TINY_TRAIN
    assert linear.lr_warmup_samples == round(TINY_TRAIN / 2)
    assert linear.lr_base_batch == 10
    assert (linear.train_samples, linear.test_samples) == (TINY_TRAIN, TINY_TEST)
    none = next(run for run in study.expand() if run.lr_rule == "none")
    assert (none.lr_base_batch, none.lr_warmup_samples) == (None, 0)
    assert linear.base_lr == 0.1
    assert linear.schedule_batch == 10


def test_only_what_may_differ_in_a_ratio_is_left_out_of_comparable(study):
    assert len({run.comparable for run in study.expand()}) == 1
    first = study.expand()[0]
    for change in ({"net_digest": "x"}, {"data_digest": "x"}, {"target": 0.5}, {"metric": "loss"}, {"shuffle": False}):
        assert first.model_copy(update=change).comparable != first.comparable
    assert first.model_copy(update={"evaluate_every_samples": 41}).comparable != first.comparable


def test_weak_scaling_multiplies(tmp_path):
    text = STUDY.replace("strong", "weak")
    runs = load_study(write_files(tmp_path, study=text)).expand()
    assert {(run.batch, run.nodes) for run in runs} == {(10, 1), (20, 2), (20, 1), (40, 2)}


def test_max_iter_is_taken_as_samples_where_no_limit_is_given(tmp_path):
    text = STUDY.replace("stop: {epochs: 2, seconds: 30}\n", "")
    runs = load_study(write_files(tmp_path, study=text)).expand()
    assert {(run.batch, run.stop.updates) for run in runs} == {(10, 30), (20, 15)}


def test_study_json_lists_the_whole_grid(study):
    found = study.study_json()
    assert json.loads(json.dumps(found)) == found
    assert (found["name"], found["scaling"], found["metric"], found["target"]) == ("tiny", "strong", "accuracy", 0.9)
    assert Counter(run["batch"] for run in found["runs"]) == {10: 8, 20: 8}


def test_the_run_id_depends_on_contents_not_on_places(tmp_path):
    ids = []
    for name, net in (("a", NET), ("b", NET), ("c", NET.replace("num_output: 16", "num_output: 17"))):
        (tmp_path / name).mkdir()
        ids.append(load_study(write_files(tmp_path / name, net=net)).expand()[0].run_id)
    assert ids[0] == ids[1] != ids[2]


def test_run_ids_are_stable():
    """A changed id would run every finished study again: change it only together with the meaning of a run."""
    assert make_spec().run_id == "b012-n1-s1-none-3822a1"


def test_spec_json_round_trip(tmp_path):
    spec = make_spec(stop=Stop(epochs=1.5, seconds=3.0), solver_overrides={"base_lr": 0.1}, target=0.5)
    path = tmp_path / "spec.json"
    path.write_text(spec.dumps())
    assert read_spec(path) == spec
    path.write_text("{}")
    with pytest.raises(
        UserError, match=r"spec\.json: is no spec\.json of this version of batchbrew: delete the run folder"
    ):
        read_spec(path)


def test_specs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        make_spec().batch = 3


def test_overrides_reach_the_spec(tmp_path):
    runs = load_study(
        write_files(tmp_path, study=STUDY + "solver_overrides: {base_lr: 0.05, stepvalue: [3, 4]}\n")
    ).expand()
    assert isinstance(runs[0], RunSpec)
    assert runs[0].base_lr == 0.05
    assert runs[0].solver_overrides == {"base_lr": 0.05, "stepvalue": [3, 4]}


def test_planning_needs_no_mpi(tmp_path):
    write_files(tmp_path)
    code = (
        "import sys; from batchbrew.runner.study import load_study; load_study('study.yaml').expand(); "
        "assert not [name for name in sys.modules if name.startswith('mpi4py')]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


RULES = "(known: linear, none, sqrt)"
BAD = [
    ("scaling: strong", "scalling: strong", "4:1: unknown key 'scalling' - did you mean 'scaling'? (known: "),
    ("  seed: [1, 2]", "  seeds: [1, 2]", "8:3: unknown key 'grid.seeds' - did you mean 'seed'? (known: "),
    ("study: tiny", "", "3:1: key 'study' is missing"),
    ("scaling: strong", "scaling: loose", "4:1: scaling: input should be 'strong' or 'weak' (found 'loose')"),
    ("batch: [10, 20]", "batch: [10, 0]", "6:15: grid.batch.1: input should be greater than or equal to 1 (found 0)"),
    ("batch: [10, 20]", "batch: [10, ten]", "6:15: grid.batch.1: input should be a valid integer (found 'ten')"),
    ("batch: [10, 20]", "batch: [10, 10]", "6:3: grid.batch: 10 is listed twice (found [10, 10])"),
    ("batch: [10, 20]", "batch: []", "6:3: grid.batch: give at least one value (found [])"),
    (
        "batch: [10, 20]", "batch: [10, 1]",
        "6:15: grid.batch.1: a global batch of 1 cannot be cut into 2 nodes (found 1)",
    ),
    ("  batch: [10, 20]\n", "", "5:1: grid: give the batch sizes (batch, or batch_per_node) (found 'no batch')"),
    (
        "batch: [10, 20]", "batch_per_node: [10]",
        "6:3: grid.batch_per_node: changes the global batch with the node count: say scaling: weak, or give grid.batch "
        "(found [10])",
    ),
    (
        "batch: [10, 20]", "batch: [10]\n  batch_per_node: [5]",
        "7:3: grid.batch_per_node: give either batch or batch_per_node (found [5])",
    ),
    (
        "lr_rule: [none, linear]", "lr_rule: [none, liner]",
        f"9:3: grid.lr_rule: unknown lr rule 'liner' - did you mean 'linear'? {RULES} (found ['none', 'liner'])",
    ),
    ("lr_rule: [none, linear]", "lr_rule: [linear, linear]", "9:3: grid.lr_rule: linear is listed twice"),
    (
        "lr: {base_batch", "lr: {rule: linear, base_batch",
        "10:6: lr.rule: the rule is already given as grid.lr_rule: give it once (found 'linear')",
    ),
    (
        "lr: {base_batch: 10, warmup: {epochs: 0.5}}", "",
        "9:3: grid.lr_rule: needs lr.base_batch, the batch size at which base_lr is right (found 'linear')",
    ),
    (
        "[none, linear]\nlr: {base_batch: 10,", "none\nlr: {",
        "10:7: lr.warmup: leads from base_lr to the scaled rate: give lr.base_batch and a rule (found 'warmup')",
    ),
    (
        "[none, linear]\n", "none\n",
        "10:22: lr.warmup: the lr rule is none, so there is nothing to warm up to (found 'warmup')",
    ),
    (
        "warmup: {epochs: 0.5}", "warmup: {updates: 5}",
        "10:31: lr.warmup.updates: updates are not the same length at several batch sizes: give samples or",
    ),
    (
        "warmup: {epochs: 0.5}", "warmup: {epochs: 0.5, samples: 3}",
        "10:22: lr.warmup: give a length in exactly one of samples, epochs, updates",
    ),
    (
        "evaluate_every: {samples: 40}", "evaluate_every: {updates: 4}",
        "13:18: evaluate_every.updates: updates are not the same length at batch 10 and 20: give samples or epochs",
    ),
    ("evaluate_every: {samples: 40}", "evaluate_every: {samples: 0}", "13:1: evaluate_every: must be more than 0"),
    (
        "target: {accuracy: 0.9}", "target: {accuracy: 90}",
        "11:10: target.accuracy: input should be less than or equal to 1",
    ),
    (
        "target: {accuracy: 0.9}", "target: {accuracy: 0.9, loss: 1.0}",
        "11:1: target: give exactly one of accuracy, loss",
    ),
    (
        "target: {accuracy: 0.9}", "target: {acuracy: 0.9}",
        "11:10: unknown key 'target.acuracy' - did you mean 'accuracy'?",
    ),
    ("stop: {epochs: 2,", "stop: {epochs: -2,", "12:8: stop.epochs: input should be greater than 0 (found -2)"),
    (
        "stop: {epochs: 2,", "stop: {plateau: {patience: 0},",
        "12:18: stop.plateau.patience: input should be greater than or",
    ),
    (
        "calibrate: false", "threads: 0", "15:1: threads: input should be greater than or equal to 1 (found 0)",
    ),
    ("calibrate: false", "threads: two", "15:1: threads: input should be a valid integer"),
    ("calibrate: false", "pin: 5", "15:1: pin: input should be a valid boolean"),
    (
        "calibrate: false", "strategy: alreduce",
        "15:1: strategy: unknown strategy 'alreduce' - did you mean 'allreduce'? (known: allreduce)",
    ),
    (
        "calibrate: false", "strategy: {name: allreduce, period: 4}",
        "15:1: strategy: option 'period' of allreduce: Extra inputs are not permitted",
    ),
    (
        "calibrate: false", "strategy: {name: allreduce, overlap: 1}",
        "15:1: strategy: option 'overlap' of allreduce: Input should be a valid boolean",
    ),
    (
        "calibrate: false", "strategy: {name: allreduce, overlap: true, bucket_kib: 0}",
        "15:1: strategy: option 'bucket_kib' of allreduce: Input should be greater than or equal to 1",
    ),
    ("calibrate: false", "balancer: speed", "15:1: balancer: unknown balancer 'speed' (known: equal) (found 'speed')"),
    (
        "calibrate: false", "accumulate: 6",
        "6:11: grid.batch.0: a global batch of 10 cannot be cut into 2 nodes x accumulate 6",
    ),
    (
        "calibrate: false", "solver_overrides: {base_rl: 0.1}",
        "15:1: solver_overrides: no field 'base_rl' in SolverParameter - did you mean 'base_lr'?",
    ),
    (
        "calibrate: false", "solver_overrides: {momentum: high}",
        "15:1: solver_overrides: solver field 'momentum' cannot be 'high'",
    ),
    (
        "calibrate: false", "solver_overrides: {random_seed: 3}",
        "15:1: solver_overrides: 'random_seed' is set by the study's own key grid.seed",
    ),
    ("calibrate: false", "calibrate: maybe", "15:1: calibrate: input should be a valid boolean (found 'maybe')"),
    ("scaling: strong", "scaling: [strong", "5:5: not valid YAML: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"), BAD, ids=[new.replace("\n", " ")[:50] or old[:50] for old, new, _ in BAD]
)
def test_bad_studies_are_refused_with_place_and_remedy(tmp_path, old, new, message):
    assert old in STUDY
    path = write_files(tmp_path, study=STUDY.replace(old, new))
    with pytest.raises(UserError) as found:
        load_study(path)
    assert str(found.value).startswith(f"{path}:{message}")
    assert "\n" not in str(found.value)


ELSEWHERE = [
    ({"study": STUDY.replace("solver.prototxt", "other.prototxt")}, "solver: no file "),
    ({"study": STUDY.replace("accuracy: 0.9", "loss: 0.9"), "net": NET.replace('top: "loss" }', 'top: "cost" }')},
     "target: the test net has no output 'loss' (its outputs: accuracy, cost)"),
    ({"study": STUDY.replace("stop: {epochs: 2, seconds: 30}\n", ""), "solver": SOLVER.replace("max_iter: 30\n", "")},
     "stop: nothing ends a run: give epochs, updates or seconds"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "message"), ELSEWHERE)
def test_what_does_not_fit_the_files_behind_a_study(tmp_path, files, message):
    path = write_files(tmp_path, **files)
    with pytest.raises(UserError) as found:
        load_study(path)
    assert str(found.value).startswith(f"{path}: {message}")


def test_mistakes_in_the_files_behind_are_named_there(tmp_path):
    path = write_files(tmp_path, net=NET.replace("num_output: 16", "num_outputs: 16"))
    with pytest.raises(UserError, match=r"net\.prototxt:6:\d+: .*num_outputs.* did you mean 'num_output'"):
        load_study(path)
    path = write_files(tmp_path, net=NET.replace('type: "Data" top', 'type: "Input" top').replace("batch_size: 10", ""))
    with pytest.raises(
        UserError,
        match=r"net\.prototxt: no layer reads samples in phase TRAIN: add one of type 'Data', or train as Caffe",
    ):
        load_study(path)


def test_missing_study_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.yaml: cannot read: No such file"):
        load_study(tmp_path / "none.yaml")
