"""The loop of Caffe's solver: its order, its nets, its snapshots, its signals."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from engine_support import REFERENCE, assert_close, inputs, layer, net_of, samples, solver_of

from batchbrew.errors import UserError
from batchbrew.protos import binary, text
from batchbrew.protos import messages as pb
from batchbrew.solver import snapshot
from batchbrew.solver.stepper import Action, Signals, Stepper

NAMES = ("adadelta", "adagrad", "adam", "nesterov", "rmsprop", "sgd_clip", "sgd_exp_l1", "sgd_fixed", "sgd_inv",
         "sgd_iter_size", "sgd_multistep", "sgd_poly", "sgd_step")  # fmt: skip
FIXED = 'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 random_seed: 1 max_iter: 6 '


def data(batch, phase=""):
    include = f"include {{ phase: {phase} }}" if phase else ""
    return layer(f"data{phase}", "Data", "", "data label", f"data_param {{ batch_size: {batch} }} {include}")


CORE = (
    layer("conv", "Convolution", "data", "conv", "convolution_param { num_output: 3 kernel_size: 3 weight_filler { type: 'xavier' } }")
    + layer("relu", "ReLU", "conv", "conv")
    + layer("ip", "InnerProduct", "conv", "ip", "inner_product_param { num_output: 4 weight_filler { type: 'xavier' } }")
)  # fmt: skip
LOSS = layer("loss", "SoftmaxWithLoss", "ip label", "loss")
ACCURACY = layer("accuracy", "Accuracy", "ip label", "accuracy", "include { phase: TEST }")
NET = 'name: "small"\n' + data(8) + CORE + LOSS + ACCURACY
TESTED = 'test_iter: 2 test_interval: 3 net: "net.prototxt" '


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path


def stepper(settings, net=None, **options):
    param = solver_of(settings)
    if net is not None:
        param.net_param.CopyFrom(text.parse(net, pb.NetParameter))
    return Stepper(param, **({"data": samples(40)} | options))


def values(run):
    return run.net.flat.values.copy()


# --- one iteration after the other ------------------------------------------------------------------------------------


def recorded(file, name):
    """Return the recorded run, and a stepper of the same solver and net reading the same file."""
    with h5py.File("train.h5", "w") as train:
        train["data"], train["label"] = file["data"][()], file["label"][()]
    Path("train_list.txt").write_text("train.h5\n")
    Path("net.prototxt").write_text(file[name].attrs["net"])
    Path("solver.prototxt").write_text(file[name].attrs["solver"])
    return file[name], Stepper.read("solver.prototxt")


def compare(group, run):
    for name, blobs in group[f"after/{run.iter}"].items():
        for index, wanted in blobs.items():
            assert_close(run.net.params[name][int(index)].data, wanted[()], what=f"after {run.iter}: {name}[{index}]")


@pytest.mark.parametrize("name", NAMES)
def test_trajectories_of_caffe(name):
    with h5py.File(REFERENCE / "caffe_solvers.h5") as file:
        group, run = recorded(file, name)
        for blobs_of, blobs in group["after/0"].items():
            for index, start in blobs.items():
                run.net.params[blobs_of][int(index)].data[...] = start[()]
        for iteration in range(20):
            run.step(1)
            assert float(run.net.blobs["loss"].data) == pytest.approx(group["loss"][iteration], abs=1e-4)
            if run.iter in (1, 2, 5, 10, 20):
                compare(group, run)


@pytest.mark.parametrize("name", NAMES)
def test_resumes_from_the_files_caffe_wrote(name, folder):
    with h5py.File(REFERENCE / "caffe_solvers.h5") as file:
        group, run = recorded(file, name)
        for suffix, content in group["snapshot10"].items():
            (folder / f"snap_iter_10.{suffix}").write_bytes(content[()].tobytes())
        run.restore(next(folder.glob("*.solverstate*")).name)
        for _ in range(10 * run.param.iter_size):
            run.net.forward()  # the place in the data is not in the files
        compare(group, run)
        run.step(10)
        compare(group, run)


def test_events_of_an_iteration(capsys):
    """Caffe's order: test, on_start, passes, display, on_gradients_ready, rate, update, snapshot."""
    run = stepper(FIXED + TESTED + 'display: 2 snapshot: 3 snapshot_prefix: "s"')
    run.add_callback(lambda: log("start"), lambda: log(f"ready {run.net.flat.grads.any()}"))
    run.add_callback(lambda: log("second"), lambda: None)
    before = []

    def log(what):
        before.append(values(run))
        sys.stderr.write(f"I x x x] call {what}\n")

    capsys.readouterr()
    run.step(4)
    wanted = [
        "Iteration 0, Testing net (#0)", "Test net output", "Test net output", "call start", "call second",
        "Iteration 0 (", "Train net output", "call ready True", "Iteration 0, lr = 0.1",
        "call start", "call second", "call ready True",
        "call start", "call second", "Iteration 2 (", "Train net output", "call ready True", "Iteration 2, lr = 0.1",
        "Snapshotting to binary proto file s_iter_3.caffemodel",
        "Snapshotting solver state to binary proto file s_iter_3.solverstate",
        "Iteration 3, Testing net (#0)", "Test net output", "Test net output", "call start", "call second",
        "call ready True",
    ]  # fmt: skip
    found = [line.split("] ", 1)[1].strip() for line in capsys.readouterr().err.splitlines()]
    assert len(found) == len(wanted)
    for line, start in zip(found, wanted, strict=True):
        assert line.startswith(start)
    assert np.array_equal(before[0], before[2])  # nothing changes between on_start and on_gradients_ready
    assert not np.array_equal(before[2], before[3])


def test_what_on_gradients_ready_changes_is_what_counts():
    """As data-parallel scripts do: the update takes the gradients as they are then."""
    plain, doubled = (stepper(FIXED.replace("0.9", "0"), NET) for _ in range(2))

    def double():
        doubled.net.flat.grads[...] *= 2

    doubled.add_callback(lambda: None, double)
    start = values(plain)
    for run in (plain, doubled):
        run.step(1)
    assert values(doubled) - start == pytest.approx(2 * (values(plain) - start), abs=1e-6)


SHARED = NET.replace("inner_product_param", 'param { name: "w" } inner_product_param') + (
    layer("deep", "InnerProduct", "conv", "deep",
          'param { name: "w" } inner_product_param { num_output: 4 weight_filler { type: "xavier" } }')
    + layer("deep_loss", "SoftmaxWithLoss", "deep label", "deep_loss", "loss_weight: 0.3")
)  # fmt: skip


@pytest.mark.parametrize("net", [NET, SHARED])
@pytest.mark.parametrize("rule", ['type: "SGD" momentum: 0.9', 'type: "Adam" momentum: 0.9', 'type: "AdaGrad"'])
def test_iter_size_is_a_larger_batch(rule, net):
    found = []
    for batch, passes in ((8, 1), (4, 2)):
        settings = f'base_lr: 0.05 lr_policy: "fixed" weight_decay: 0.1 random_seed: 1 iter_size: {passes} {rule}'
        run = stepper(settings, net.replace("batch_size: 8", f"batch_size: {batch}"))
        run.step(4)
        found.append(values(run))
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_after_a_step_the_gradients_are_what_was_subtracted():
    run = stepper(FIXED + "iter_size: 3", NET)
    start = values(run)
    run.step(1)
    update = np.concatenate([p.grad.ravel() for p in run.net.flat.parameters])
    change = np.concatenate([(p.data - start[p.start : p.start + p.count].reshape(
        [p.shape[a] for a in p.order]).transpose(np.argsort(p.order))).ravel() for p in run.net.flat.parameters])  # fmt: skip
    assert update == pytest.approx(-change, abs=1e-7)


def test_apply_update_divides_by_iter_size_whatever_was_run():
    """Users of Caffe's Python interface fill the gradients themselves."""
    run = stepper('base_lr: 0.01 lr_policy: "inv" gamma: 1 power: 1 iter_size: 2', NET)
    run.net.flat.values[...] = 0
    run.net.flat.grads[...] = 1
    run.apply_update()
    bias = run.net.params["ip"][1]
    assert bias.data == pytest.approx(-0.005)
    assert run.iter == 1
    assert run.lr == pytest.approx(0.005)
    run.param.base_lr = 1
    assert run.lr == pytest.approx(0.5)


def test_seeds():
    first, second = (values(stepper(FIXED, NET)) for _ in range(2))
    assert np.array_equal(first, second)
    unseeded = FIXED.replace("random_seed: 1", "")
    drawn = [values(stepper(unseeded, NET, seed=seed)) for seed in (None, None, 5, 5)]
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(drawn[2], drawn[3])
    assert not np.array_equal(drawn[2], first)
    assert np.array_equal(values(stepper(FIXED, NET, seed=5)), first)


# --- testing ----------------------------------------------------------------------------------------------------------

STAGES = (
    'name: "stages"\n' + data(8, "TRAIN") + data(20, "TEST") + CORE
    + layer("loss", "SoftmaxWithLoss", "ip label", "loss", 'exclude { stage: "bare" }')
    + layer("accuracy", "Accuracy", "ip label", "accuracy", 'include { stage: "score" }')
    + layer("prob", "Softmax", "ip", "prob", 'include { phase: TEST min_level: 2 }')
)  # fmt: skip


def test_test_nets_by_state(folder):
    (folder / "net.prototxt").write_text('state { stage: "own" }\n' + STAGES)
    run = stepper(
        FIXED + 'net: "net.prototxt" train_state { stage: "trained" } '
        "test_iter: 2 test_iter: 1 test_iter: 1 test_interval: 10 test_initialization: false "
        'test_state { stage: "score" } test_state { stage: "score" stage: "bare" } test_state { level: 2 }'
    )
    assert run.net.outputs == ["loss"]
    assert [net.outputs for net in run.test_nets] == [["accuracy", "loss"], ["accuracy"], ["loss", "prob"]]
    assert list(run.net.param.state.stage) == ["own", "trained"]
    assert list(run.test_nets[1].param.state.stage) == ["own", "score", "bare"]
    run.step(2)
    for net in run.test_nets:
        assert net.params["ip"][0].data.base is not None
        assert np.array_equal(net.params["ip"][0].data, run.net.params["ip"][0].data)
    means = dict(run.test(0))
    other = net_of(STAGES, pb.TEST, stages=["score"], data=samples(40), share=run.net)
    batches = []
    for _ in range(2):
        outputs = other.forward()
        batches.append({name: float(array) for name, array in outputs.items()})
    assert means == pytest.approx({name: (batches[0][name] + batches[1][name]) / 2 for name in ("accuracy", "loss")})
    assert batches[0]["loss"] != batches[1]["loss"]
    assert [name for name, _ in run.test(2)] == ["loss"] + ["prob"] * 80  # element by element


def test_explicit_test_nets_come_first(folder):
    own = text.parse(NET.replace('"small"', '"own"'), pb.NetParameter)
    (folder / "other.prototxt").write_text(NET.replace('"small"', '"other"'))
    param = solver_of(FIXED + 'net: "net.prototxt" test_net: "other.prototxt" test_interval: 1 '
                      "test_iter: 1 test_iter: 1 test_iter: 1")  # fmt: skip
    param.test_net_param.add().CopyFrom(own)
    run = Stepper(param, data=samples(40))
    assert [net.name for net in run.test_nets] == ["own", "other", "small"]
    assert run.net.name == "small"


def test_testing_has_its_own_place_in_the_data():
    tested, plain = (stepper(FIXED + settings, NET) for settings in ("test_iter: 3 test_interval: 1", ""))
    for run in (tested, plain):
        run.step(4)
    assert np.array_equal(values(tested), values(plain))


def test_weights_go_into_all_nets(folder):
    source = NET + layer("extra", "InnerProduct", "conv", "extra",
                         "include { phase: TEST } inner_product_param { num_output: 2 }")  # fmt: skip
    (folder / "sub").mkdir()
    for name, names, value in (("a", ("conv", "extra"), 2), ("b", ("ip",), 3), ("sub/c", ("conv",), 4)):
        net = net_of(source, pb.TEST, data=samples(4))
        net.flat.values[...] = value
        model = pb.NetParameter()
        snapshot.save_caffemodel(net, "m.caffemodel")
        for entry in binary.read("m.caffemodel", pb.NetParameter).layer:
            if entry.name in names:
                model.layer.add().CopyFrom(entry)
        binary.write(f"{name}.caffemodel", model)
    settings = FIXED + 'weights: "a.caffemodel, b.caffemodel" test_iter: 1 test_interval: 1 '
    run = stepper(settings, source)
    assert (run.net.params["conv"][0].data == 2).all()
    assert (run.net.params["ip"][1].data == 3).all()
    assert (run.test_nets[0].params["extra"][0].data == 2).all()
    assert (stepper(settings + 'weights: "sub/c.caffemodel"', source).net.params["conv"][0].data == 4).all()


# --- snapshots and restarts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["HDF5", "BINARYPROTO"])
@pytest.mark.parametrize("rule", ["SGD", "AdaDelta", "Adam"])
def test_a_restart_continues_bit_for_bit(rule, form):
    settings = FIXED + f'type: "{rule}" weight_decay: 0.01 snapshot_prefix: "s" snapshot_format: {form} snapshot: 4'
    straight, restarted = stepper(settings, NET), stepper(settings.replace("seed: 1", "seed: 2"), NET)
    straight.step(8)
    assert not np.array_equal(values(straight), values(restarted))
    restarted.restore("s_iter_4.solverstate" + ".h5" * (form == "HDF5"))
    assert restarted.iter == 4
    for _ in range(4):
        restarted.net.forward()
    restarted.step(4)
    assert np.array_equal(values(straight), values(restarted))
    assert np.array_equal(straight.net.flat.grads, restarted.net.flat.grads)
    for a, b in zip(straight.rule.history, restarted.rule.history, strict=True):
        assert np.array_equal(a, b)


def test_solve_saves_at_the_end_unless_it_just_did(folder):
    def saved(settings):
        for path in folder.glob("s_iter*"):
            path.unlink()
        stepper(FIXED + 'snapshot_prefix: "s"' + settings, NET).solve()
        return sorted(path.name for path in folder.glob("s_iter*"))

    last = ["s_iter_6.caffemodel", "s_iter_6.solverstate"]
    assert saved("") == last
    assert saved("snapshot: 3") == ["s_iter_3.caffemodel", "s_iter_3.solverstate", *last]
    assert saved("snapshot: 4") == ["s_iter_4.caffemodel", "s_iter_4.solverstate", *last]
    assert saved("snapshot_after_train: false") == []
    assert saved("snapshot_after_train: false snapshot_format: HDF5 snapshot: 6") == [f"{name}.h5" for name in last]


def test_solve_goes_on_from_a_state(folder):
    settings = FIXED + "snapshot: 3 "
    straight = stepper(settings + 'snapshot_prefix: "s"', NET)
    straight.solve()
    resumed, done = (stepper(settings + 'snapshot_prefix: "r"', NET) for _ in range(2))
    resumed.solve("s_iter_3.solverstate")
    assert sorted(path.name for path in folder.glob("r_iter*.solverstate")) == ["r_iter_6.solverstate"]
    done.solve("s_iter_6.solverstate")
    assert (resumed.iter, done.iter) == (6, 6)
    assert np.array_equal(values(done), values(straight))
    assert not np.array_equal(values(resumed), values(straight))  # its data began anew


def test_the_prefix_of_a_solver_file(folder):
    (folder / "out").mkdir()
    (folder / "conf").mkdir()

    def prefix(settings):
        (folder / "conf" / "my.solver.prototxt").write_text(FIXED + 'net: "net.prototxt" ' + settings)
        return Stepper.read("conf/my.solver.prototxt", data=samples(40)).param.snapshot_prefix

    assert prefix("") == "conf/my.solver"
    assert prefix('snapshot_prefix: "out"') == "out/my.solver"
    assert prefix('snapshot_prefix: "out/" snapshot: 1') == "out/my.solver"
    assert prefix('snapshot_prefix: "out/x"') == "out/x"
    assert list((folder / "out").iterdir()) == []  # the probe is gone


def test_a_prefix_that_is_no_file_name(folder):
    (folder / "out").mkdir()
    run = stepper(FIXED + 'snapshot_prefix: "out/" snapshot: 2', NET)
    assert run.snapshot() == ("out/_iter_0.caffemodel", "out/_iter_0.solverstate")
    assert binary.read("out/_iter_0.solverstate", pb.SolverState).learned_net == "out/_iter_0.caffemodel"


@pytest.mark.parametrize("form", ["HDF5", "BINARYPROTO"])
def test_snapshot_diff_saves_the_updates(form):
    run = stepper(FIXED + f'snapshot_prefix: "s" snapshot_diff: true snapshot_format: {form}', NET)
    run.step(2)
    model, _ = run.snapshot()
    if form == "HDF5":
        with h5py.File(model) as file:
            found = file["diff/ip/1"][()]
    else:
        entry = next(e for e in binary.read(model, pb.NetParameter).layer if e.name == "ip")
        found = binary.diff_to_array(entry.blobs[1])
    assert found == pytest.approx(run.net.params["ip"][1].grad, rel=1e-6)
    assert np.abs(found).max() > 0


# --- signals ----------------------------------------------------------------------------------------------------------


def raising(run, number, at):
    """Have a signal arrive in iteration ``at``."""

    def start():
        if run.iter == at:
            os.kill(os.getpid(), number)

    run.add_callback(start, lambda: None)


def test_sigint_stops_after_the_iteration_and_saves(folder, capsys):
    before = signal.getsignal(signal.SIGINT)
    run = stepper(FIXED + 'snapshot_prefix: "s" display: 1', NET)
    raising(run, signal.SIGINT, 2)
    with Signals() as signals:
        assert signal.getsignal(signal.SIGINT) is not before
        run.action = signals
        run.solve()
    assert signal.getsignal(signal.SIGINT) is before
    assert run.iter == 3
    assert run.stopped
    assert (folder / "s_iter_3.solverstate").exists()
    lines = capsys.readouterr().err
    assert lines.rstrip().endswith("Optimization stopped early.")
    run.step(2)
    assert (run.iter, run.stopped) == (5, False)


def test_sighup_saves_and_goes_on(folder):
    run = stepper(FIXED + 'snapshot_prefix: "s"', NET)
    raising(run, signal.SIGHUP, 1)
    with Signals() as signals:
        run.action = signals
        run.solve()
    assert sorted(path.name for path in folder.glob("*.caffemodel")) == ["s_iter_2.caffemodel", "s_iter_6.caffemodel"]


def test_effects_of_signals(folder):
    run = stepper(FIXED + 'snapshot_prefix: "s" snapshot_after_train: false', NET)
    raising(run, signal.SIGINT, 1)
    raising(run, signal.SIGHUP, 3)
    with Signals(sigint="none", sighup="stop") as signals:
        run.action = signals
        run.solve()
    assert run.iter == 4
    assert list(folder.glob("s_iter*")) == []
    with pytest.raises(
        UserError, match=r'^Invalid signal effect "stopp" was specified - did you mean \'stop\'\? \(known'
    ):
        Signals(sigint="stopp")


def test_signals_are_answered_one_by_one_sighup_first():
    with Signals() as signals:
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
        assert [signals() for _ in range(3)] == [Action.SNAPSHOT, Action.STOP, Action.NONE]


def test_signals_while_testing(folder, capsys):
    """Asked for before each test batch: a snapshot is made at once; a stop ends test and training without results."""
    run = stepper(FIXED + 'test_iter: 4 test_interval: 2 snapshot_prefix: "s"', NET)
    run.step(2)
    asked = iter([Action.NONE, Action.SNAPSHOT, Action.NONE, Action.SNAPSHOT, Action.STOP])
    run.action = lambda: next(asked, Action.NONE)
    capsys.readouterr()
    run.step(3)
    lines = capsys.readouterr().err
    assert "Test interrupted." in lines
    assert "Test net output" not in lines
    assert lines.count("Snapshotting to binary") == 2
    assert run.iter == 2
    assert (folder / "s_iter_2.caffemodel").exists()


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "message"), [
    ("", "solver: needs exactly one of net, net_param, train_net, train_net_param (found none)"),
    ('net: "net.prototxt" train_net: "net.prototxt"',
     "solver: needs exactly one of net, net_param, train_net, train_net_param (found net, train_net)"),
    ('net: "gone.prototxt"', "solver: net: no such file 'gone.prototxt' (looked in "),
    ('net: "net.prototxt" test_net: "net.prototxt"',
     "test_iter must be specified for each test network (found 0 for 1 test nets)"),
    ('train_net: "net.prototxt" test_iter: 1 test_interval: 1',
     "test_iter must be specified for each test network (found 1 for 0 test nets)"),
    ('net: "net.prototxt" test_iter: 1', "test_interval must be greater than 0 where there are test nets"),
    ('net: "net.prototxt" test_iter: 1 test_interval: 1 test_state { } test_state { }',
     "test_state must be unspecified or specified once per test net (found 2 for 1)"),
    ('net: "net.prototxt" average_loss: 0', "average_loss must be at least 1 (found 0)"),
    ('net: "net.prototxt" iter_size: 0', "iter_size must be at least 1 (found 0)"),
    ('net: "net.prototxt" snapshot: 2', "In solver params, snapshot is specified but snapshot_prefix is not"),
    ('net: "net.prototxt" snapshot: 2 snapshot_prefix: "gone/s"', "Cannot write to snapshot prefix 'gone/s'.  Make sure "
     "that the directory exists and is writable."),
    ('net: "net.prototxt" weights: "gone.caffemodel"', "solver: weights: no such file 'gone.caffemodel' (looked in "),
    ('net: "net.prototxt" type: "Adamm"', "unknown solver type 'Adamm' - did you mean 'Adam'? (known: AdaDelta, "),
])  # fmt: skip
def test_mistakes(settings, message):
    with pytest.raises(UserError) as error:
        stepper(FIXED + settings)
    assert str(error.value).startswith(message)


def test_mistakes_in_a_file_name_it(folder):
    (folder / "s.prototxt").write_text(FIXED + 'net: "net.prototxt" iter_size: 0')
    with pytest.raises(UserError, match=r"^s.prototxt: iter_size must be at least 1 \(found 0\)$"):
        Stepper.read("s.prototxt", data=samples(8))
    (folder / "s.prototxt").write_text(FIXED + 'net: "net.prototxt" test_iter: 1')
    with pytest.raises(UserError, match=r"^s.prototxt: test_interval must be greater than 0"):
        Stepper.read("s.prototxt", data=samples(8))


def test_test_nets_must_fit_the_training_net(folder):
    (folder / "wide.prototxt").write_text(NET.replace("num_output: 4", "num_output: 5"))
    with pytest.raises(
        UserError, match=r"layer 'ip' \(InnerProduct\): parameter 0 has shape \(5, 48\) here and \(4, 48\)"
    ):
        stepper(FIXED + 'train_net: "net.prototxt" test_net: "wide.prototxt" test_iter: 1 test_interval: 1')


def test_a_net_without_learnable_parameters_trains_on():
    source = inputs(x=(2, 3), t=(2, 3)) + layer("loss", "EuclideanLoss", "x t", "loss")
    run = stepper(FIXED, source, data=None)
    run.step(2)
    assert run.iter == 2
