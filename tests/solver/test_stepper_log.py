"""The log of Caffe's loop, read as the scripts made for Caffe's logs read it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from engine_support import data, layer, net_of, samples, solver_of
from test_stepper import CORE, FIXED, NET

from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.net import Net
from batchbrew.solver.stepper import Stepper
from batchbrew.solver.stepper.construction import log_net

NETDEFS = Path(__file__).parents[2] / "netdefs"
PREFIX = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ [\w.]+:\d+\] \S|[IWEF]\d{4} \S+ +\d+ [\w.]+:\d+\]     \S")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stepper(settings, net=NET, **options):
    param = solver_of(settings)
    param.net_param.CopyFrom(text.parse(net, pb.NetParameter))
    return Stepper(param, **({"data": samples(40)} | options))


def messages(capsys):
    """Return what was logged, without the prefixes."""
    return [line.split("] ", 1)[1] for line in capsys.readouterr().err.splitlines() if "] " in line]


def rows(lines):
    """Return the rows of training and of testing as parse_log.py finds them: dicts with NumIters and the outputs."""
    found = {"Train": [], "Test": []}
    iteration, rate = -1, float("nan")
    for line in lines:
        if number := re.search(r"Iteration (\d+)", line):
            iteration = int(number[1])
        if number := re.search(r"lr = ([-+]?[0-9]*\.?[0-9]+([eE]?[-+]?[0-9]+)?)", line):
            rate = float(number[1])
        for phase, table in found.items():
            if output := re.search(rf"{phase} net output #(\d+): (\S+) = ([\.\deE+-]+)", line):
                if not table or table[-1]["NumIters"] != iteration:
                    table.append({"NumIters": iteration, "LearningRate": rate})
                table[-1][output[2]] = float(output[3])
    return found


def test_tables_of_the_parsers(capsys):
    settings = FIXED.replace('"fixed"', '"step" stepsize: 2 gamma: 0.5')
    run = stepper(settings + "display: 2 test_iter: 2 test_interval: 3 snapshot_after_train: false")
    losses = []
    run.add_callback(lambda: None, lambda: losses.append(float(run.net.blobs["loss"].data)))
    capsys.readouterr()
    run.solve()
    lines = capsys.readouterr().err.splitlines()
    assert all(PREFIX.match(line) for line in lines)  # no blank lines, no lines without a prefix
    assert "Solving small" in lines[0]
    assert "Learning Rate Policy: step" in lines[1]
    assert lines[-1].endswith("] Optimization Done.")
    tables = rows(lines)
    assert [row["NumIters"] for row in tables["Train"]] == [0, 2, 4]
    assert [row["loss"] for row in tables["Train"]] == pytest.approx([losses[0], losses[2], losses[4]], rel=1e-5)
    assert [row["NumIters"] for row in tables["Test"]] == [0, 3, 6]
    assert [sorted(row) for row in tables["Test"]] == [["LearningRate", "NumIters", "accuracy", "loss"]] * 3
    assert [row["LearningRate"] for row in tables["Train"][1:]] == pytest.approx([0.1, 0.05])
    assert "Test net output #0: accuracy" in "".join(lines)  # in alphabetical order
    field = next(line.split() for line in lines if "Test net output #1" in line)
    assert float(field[10]) == tables["Test"][0]["loss"]  # awk's field 11, which parse_log.sh takes
    assert float(next(line.split() for line in lines if ", lr = " in line)[8]) == 0.1
    share = re.search(r"loss = (\S+) \(\* 1 = (\S+) loss\)", next(line for line in lines if "Train net" in line))
    assert share[1] == share[2]
    speed = r"] Iteration \d+ \(\S+ iter/s, \S+s/2 iters\), loss = \S+$"
    assert [bool(re.search(speed, line)) for line in lines if ", loss = " in line] == [True, True, True, False]
    assert "Iteration 0 (0 iter/s, 0s/2 iters), loss = " in "".join(lines)
    assert re.search(r"] Iteration 6, loss = \d", lines[-5])  # the last pass, only forward


def test_the_loss_is_a_mean_over_the_last_ones_of_a_call(capsys):
    run = stepper(FIXED + "display: 1 average_loss: 3 iter_size: 2")
    seen = []
    forward = run.net.forward

    def keep():
        outputs = forward()
        seen.append(run.net.total_loss)
        return outputs

    run.net.forward = keep
    capsys.readouterr()
    run.step(5)
    run.step(2)
    found = [float(line.split("), loss = ")[1]) for line in messages(capsys) if "), loss = " in line]
    means = np.array(seen).reshape(-1, 2).mean(axis=1)
    wanted = [means[max(0, i - 2) : i + 1].mean() for i in range(5)] + [means[5], means[5:7].mean()]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_test_loss(capsys):
    run = stepper(FIXED + "test_iter: 3 test_interval: 5 test_compute_loss: true")
    capsys.readouterr()
    means = dict(run.test())
    lines = messages(capsys)
    assert float(next(line for line in lines if line.startswith("Test loss: ")).split()[-1]) == pytest.approx(
        means["loss"], rel=1e-5
    )


def test_weights_of_losses_are_said(capsys):
    run = stepper(
        FIXED + "display: 1", NET.replace('type: "SoftmaxWithLoss"', 'type: "SoftmaxWithLoss" loss_weight: 2.5')
    )
    capsys.readouterr()
    run.step(1)
    line = next(line for line in messages(capsys) if "net output" in line)
    value, product = re.search(r"loss = (\S+) \(\* 2.5 = (\S+) loss\)$", line).groups()
    assert float(product) == pytest.approx(2.5 * float(value), rel=1e-5)


def test_no_minus_in_front_of_nan(capsys):
    run = stepper(FIXED + "display: 1")
    run.net.flat.values[...] = np.copysign(np.nan, -1)
    capsys.readouterr()
    run.step(1)
    assert "loss = nan" in "".join(messages(capsys))


def test_clipping_and_steps_are_said(capsys):
    settings = FIXED.replace('"fixed"', '"multistep" stepvalue: 1 stepvalue: 3 gamma: 0.1')
    run = stepper(settings + "clip_gradients: 0.01 display: 10")
    norms = []
    run.add_callback(lambda: None, lambda: norms.append(np.linalg.norm(run.net.flat.grads)))
    capsys.readouterr()
    run.step(4)
    lines = messages(capsys)
    found = [
        re.search(r"\(L2 norm (\S+) > (\S+)\) by scale factor (\S+)$", line) for line in lines if "clipping" in line
    ]
    assert [float(match[1]) for match in found] == pytest.approx(norms, rel=1e-5)
    assert [float(match[3]) for match in found] == pytest.approx([0.01 / norm for norm in norms], rel=1e-5)
    assert {match[2] for match in found} == {"0.01"}
    assert lines[3].startswith("Gradient clipping: scaling down gradients (L2 norm ")
    steps = [line for line in lines if line.startswith("MultiStep")]
    assert steps == [f"MultiStep Status: Iteration {n}, step = {k}" for n, k in ((1, 1), (3, 2))]


@pytest.mark.parametrize(("level", "seen"), [("0", True), ("1", False), ("3", False)])
def test_the_log_can_be_silenced(level, seen, capsys, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", level)
    stepper(FIXED + "display: 1").step(1)
    assert bool(capsys.readouterr().err) is seen


# --- nets being built -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "phase", "batch", "wanted"), [
    ("cifar10_quick", pb.TRAIN, 100, 31978804), ("cifar10_quick", pb.TEST, 100, 31987608),
    ("lenet", pb.TRAIN, 64, 5169924), ("lenet", pb.TEST, 100, 8086808),
])  # fmt: skip
def test_memory_figures_of_real_logs(name, phase, batch, wanted, capsys):
    param = text.read(NETDEFS / f"{name}.prototxt", pb.NetParameter)
    for entry in param.layer:
        entry.data_param.batch_size = batch
    shape = (1, 28, 28) if name == "lenet" else (3, 32, 32)
    part = samples(4, shape)
    for entry in param.layer:
        entry.transform_param.ClearField("mean_file")
    log_net(Net(param, phase, data=part))
    assert [line for line in messages(capsys) if "Memory" in line][-1] == f"Memory required for data: {wanted}"


def test_lines_about_a_net(capsys):
    shared = 'param { name: "w" } '
    source = (
        'name: "built" state { level: 3 stage: "a" }\n'
        + data(8)
        + CORE.replace("inner_product_param", shared + "inner_product_param")
        + layer("more", "InnerProduct", "conv", "more", shared + "inner_product_param { num_output: 4 }")
        + layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_weight: 0.5")
        + layer("p", "Silence", "ip", "", "include { phase: TEST }")
        + layer("q", "Silence", "ip", "", "include { min_level: 4 } include { max_level: 2 }")
        + layer("r", "Silence", "ip", "", 'exclude { stage: "b" } exclude { not_stage: "a" }')
        + layer("s", "Silence", "ip", "", 'include { stage: "a" stage: "c" }')
    )
    net = net_of(source, data=samples(8))
    log_net(net)
    lines = messages(capsys)
    assert lines[:7] == [
        "The NetState phase (0) differed from the phase (1) specified by a rule in layer p",
        "The NetState level (3) is below the min_level (4) specified by a rule in layer q",
        "The NetState level (3) is above the max_level (2) specified by a rule in layer q",
        "The NetState did not contain stage 'b' specified by a rule in layer r",
        "The NetState contained a not_stage 'a' specified by a rule in layer r",
        "The NetState did not contain stage 'c' specified by a rule in layer s",
        "Initializing net from parameters: ",
    ]
    assert lines[7:14] == [
        "Creating layer data", "Creating Layer data", "data -> data", "data -> label", "output data size: 8,2,6,6",
        "Setting up data", "Top shape: 8 2 6 6 (576)",
    ]  # fmt: skip
    relu = lines.index("Creating Layer relu")
    assert lines[relu : relu + 4] == [
        "Creating Layer relu",
        "relu <- conv",
        "relu -> conv (in-place)",
        "Setting up relu",
    ]
    assert "Sharing parameters 'w' owned by layer 'ip', param index 0" in lines
    loss = lines.index("Setting up loss")
    assert lines[loss : loss + 3] == ["Setting up loss", "Top shape: (1)", "    with loss weight 0.5"]
    assert lines[-1] == "Network initialization done."
    assert lines[-3:-1] == ["This network produces output loss", "This network produces output more"]
    needs = {line.split()[0]: "not" not in line for line in lines if "backward computation" in line}
    assert list(needs) == [one.name for one in reversed(net.layers)]
    assert needs["conv"]
    assert not needs["data"]
    assert not needs["more"]


def test_the_dump_of_a_net_is_a_net(capsys):
    log_net(net_of(NET, pb.TEST, data=samples(8), stages=["bare"]))
    dumped = capsys.readouterr().err.split("Initializing net from parameters: \n")[1]
    dumped = "\n".join(line for line in dumped.splitlines() if not PREFIX.match(line))
    again = text.parse(dumped, pb.NetParameter)
    assert [entry.name for entry in again.layer] == ["data", "conv", "relu", "ip", "loss", "accuracy"]
    assert again.HasField("state")
    assert again.state.phase == pb.TEST
    assert list(again.state.stage) == ["bare"]


def test_lines_about_a_solver(capsys, folder):
    (folder / "net.prototxt").write_text(NET)
    (folder / "s.prototxt").write_text('net: "net.prototxt" test_iter: 1 test_interval: 2 solver_type: ADAM ' + FIXED)
    Stepper.read("s.prototxt", data=samples(8))
    lines = messages(capsys)
    wanted = [
        "Attempting to upgrade input file specified using deprecated 'solver_type' field (enum): s.prototxt",
        "snapshot_prefix was not specified and is set to s",
        "Initializing solver from parameters: ",
        "Creating training net from net file: net.prototxt",
        "Creating test net (#0) specified by net file: net.prototxt",
        "Solver scaffolding done.",
    ]
    places = [lines.index(line) for line in wanted]
    assert places == sorted(places)
    stepper(FIXED, NET)
    assert "Creating training net specified in net_param." in messages(capsys)


def test_old_nets_are_upgraded_aloud(capsys):
    old = 'name: "old" ' + data(8) + layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }") + (
        layer("loss", "SoftmaxWithLoss", "ip label", "loss")
    )  # fmt: skip
    for new, kind in (("Data", "DATA"), ("InnerProduct", "INNER_PRODUCT"), ("SoftmaxWithLoss", "SOFTMAX_LOSS")):
        old = old.replace(f'type: "{new}"', f"type: {kind}")
    Path("old.prototxt").write_text(old.replace("layer {", "layers {"))
    Path("s.prototxt").write_text(FIXED + 'net: "old.prototxt"')
    run = Stepper.read("s.prototxt", data=samples(8))
    assert [one.type for one in run.net.layers] == ["Data", "InnerProduct", "SoftmaxWithLoss"]
    assert any("deprecated V1LayerParameter: old.prototxt" in line for line in messages(capsys))


# --- debug_info -------------------------------------------------------------------------------------------------------


def test_debug_info(capsys):
    quiet, talking = (stepper(FIXED + f"display: 2 iter_size: 2 debug_info: {on}") for on in ("false", "true"))
    capsys.readouterr()
    before = talking.net.params["conv"][0].data.copy()
    quiet.step(3)
    assert "Layer" not in capsys.readouterr().err
    talking.step(3)
    assert np.array_equal(quiet.net.flat.values, talking.net.flat.values)
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("E") and "[Backward] All net params (data, diff): L1 norm = (" in line for line in lines)
    text_of = [line.split("] ", 1)[1] for line in lines if "] " in line]
    first = text_of[: next(i for i, line in enumerate(text_of) if "All net params" in line)]
    kinds = [re.sub(r": \S+$", "", line) for line in first]
    assert kinds == [f"    [Forward] Layer {what}" for what in (
        "data, top blob data data", "data, top blob label data", "conv, top blob conv data",
        "conv, param blob 0 data", "conv, param blob 1 data", "relu, top blob conv data", "ip, top blob ip data",
        "ip, param blob 0 data", "ip, param blob 1 data", "loss, top blob loss data",
    )] + [f"    [Backward] Layer {what}" for what in (
        "loss, bottom blob ip diff", "ip, bottom blob conv diff", "ip, param blob 0 diff", "ip, param blob 1 diff",
        "relu, bottom blob conv diff", "conv, param blob 0 diff", "conv, param blob 1 diff",
    )]  # fmt: skip
    value = {kind: float(line.rsplit(" ", 1)[1]) for kind, line in zip(kinds, first, strict=True)}
    assert value["    [Forward] Layer conv, param blob 0 data"] == pytest.approx(np.abs(before).mean(), rel=1e-5)
    assert value["    [Forward] Layer data, top blob data data"] == pytest.approx(
        np.abs(samples(40).images[:8]).mean(), rel=1e-5
    )
    assert value["    [Forward] Layer relu, top blob conv data"] < value["    [Forward] Layer conv, top blob conv data"]
    updates = [line for line in text_of if "[Update]" in line]
    assert len(updates) == 2 * 4  # on display only
    data_mean, diff_mean = (float(x) for x in re.search(
        r"Layer conv, param 0 data: (\S+); diff: (\S+)$", updates[4]).groups())  # fmt: skip
    parameter = talking.net.params["conv"][0]
    assert data_mean == pytest.approx(np.abs(parameter.data).mean(), rel=1e-5)
    assert diff_mean == pytest.approx(np.abs(parameter.grad).mean(), rel=1e-5)
