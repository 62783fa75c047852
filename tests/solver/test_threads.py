"""Threads inside a rank: the same numbers as one thread, for every layer type, whatever threads, samples and cores."""

from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from engine_support import COMPILED, KERNEL_SETS, data, inputs, layer, net_of, randomise, samples
from test_gradients import CASES, LABELS, spaced
from test_sums import BODY, LOSS, POSITIONS, TWO

import batchbrew
from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver import standing
from batchbrew.solver.data.part import Part
from batchbrew.solver.kernels import Copies, Lanes, compile_program
from batchbrew.solver.kernels.lanes import plan
from batchbrew.solver.load import read_solver, solver_net
from batchbrew.solver.solvers import make_solver

NETDEFS = Path(batchbrew.__file__).parent / "netdefs"
ZOO = {
    "cifar10_quick": (3, 32, 32), "cifar10_full": (3, 32, 32), "lenet": (1, 28, 28), "resnet20_cifar10": (3, 32, 32),
    "cifar10_sigmoid_bn": (3, 32, 32), "mlp": (1, 28, 28), "mnist_siamese": (2, 28, 28),
}  # fmt: skip
ACCURACY = layer("acc", "Accuracy", "ip label", "acc each")
DROPOUT = BODY.replace('"pool" type', '"drop" type: "Dropout" bottom: "conv" top: "conv" } layer { name: "pool" type')
HEADS = {
    "softmax": BODY + LOSS + ACCURACY,
    "dropout": DROPOUT + LOSS,
    "two losses": TWO,
    "sigmoid": data(16, rest="") + layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 1 "
                                         "weight_filler { type: 'gaussian' std: 0.3 } }")
    + layer("loss", "SigmoidCrossEntropyLoss", "ip label", "loss"),
    **{f"positions, {kind}": POSITIONS + layer("loss", "SoftmaxWithLoss", "conv label", "loss",
                                               f"loss_param {{ normalization: {kind} ignore_label: 1 }}")
       for kind in ("VALID", "FULL", "BATCH_SIZE", "NONE")},
}  # fmt: skip


@pytest.fixture(autouse=True)
def cut_all(monkeypatch):
    """Cut the operations on parameters of nets of any size."""
    monkeypatch.setattr(standing, "WORTH_SHARING", 1)


def assert_equal(found, wanted):
    """Fail where float32 differ at all or sums in doubles by more than their rounding."""
    for name, values in wanted.items():
        a, b = np.asarray(found[name]), np.asarray(values)
        if b.dtype == np.float32:
            np.testing.assert_array_equal(a, b, name)
        else:
            np.testing.assert_allclose(a, b, 1e-12, 1e-12 * max(1.0, np.abs(b).max(initial=0.0)), err_msg=name)


def passes(kind, number, kernels, threads):
    """Return all blobs, diffs and gradients of a layer's net after two whole passes."""
    shapes, source = CASES[kind][number]
    rng = np.random.default_rng(1)
    net = net_of(inputs(**shapes) + source + "force_backward: true", kernels=kernels, threads=threads, seed=3)
    randomise(net, 1)
    for name, shape in shapes.items():
        net.blobs[name].data[...] = rng.integers(0, 3, shape) if name in LABELS else spaced(shape, rng)
    weights = {name: rng.normal(size=net.blobs[name].shape) for name in net.outputs}
    net.zero_sums()
    for _ in range(2):
        net.forward()
        if not any(each.loss for each in net.layers):
            for name, weight in weights.items():
                net.blobs[name].diff[...] = weight
        net.backward()
    blobs = {
        f"{name}.{what}": getattr(blob, what).copy() for name, blob in net.blobs.items() for what in ("data", "diff")
    }
    return blobs | {p.label: p.grad.copy() for p in net.flat.parameters} | {"values": net.flat.values.copy()}


@pytest.mark.parametrize("kernels", COMPILED)
@pytest.mark.parametrize("kind", CASES)
def test_whole_passes(kind, kernels):
    for number in range(len(CASES[kind])):
        alone = passes(kind, number, kernels, 1)
        for threads in (2, 3):
            assert_equal(passes(kind, number, kernels, threads), alone)


def summed(source, phase=pb.TRAIN, count=23, **options):
    """Return what three rounds of sums over some samples give, the last in two calls."""
    net = net_of(source, phase, data=samples(40), seed=2, **options)
    for parts in ([np.arange(count)], [np.arange(3)], [np.arange(7), np.arange(7, count)]):
        net.zero_sums()
        for part in parts:
            net.accumulate(part, 0) if phase == pb.TRAIN else net.evaluate(part)
    return {"grads": net.flat.grads.copy(), "count": net.count, "loss": net.mean_loss} | {
        name: pair.copy() for name, pair in net.statistics.items()
    }


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("head", HEADS)
def test_sums(head, kernels):
    for chunk in (1, 3, 7, None):
        for phase in (pb.TRAIN, pb.TEST):
            alone = summed(HEADS[head], phase, kernels=kernels, chunk=chunk)
            for threads in (2, 3):
                assert_equal(summed(HEADS[head], phase, kernels=kernels, chunk=chunk, threads=threads), alone)


def trained(name, kernels, threads, chunk):
    """Return losses, gradients and parameters of three updates of a net of the zoo, and what its test net counts."""
    path = NETDEFS / f"{name}_solver.prototxt"
    drawn = samples(20, ZOO[name], classes=2 if "siamese" in name else 10)
    param, part = read_solver(path), Part(drawn.images, drawn.labels, np.zeros(ZOO[name], np.float32))
    net = solver_net(param, path, pb.TRAIN).build(
        pb.TRAIN, data=part, kernels=kernels, threads=threads, chunk=chunk, seed=5
    )
    solver, losses = make_solver(param, net), []
    for update in range(3):
        net.zero_sums()
        net.accumulate(np.arange(update, update + 10), update)
        losses.append(net.mean_loss)
        solver.apply(0.01)
    return {"losses": np.array(losses), "grads": net.flat.grads.copy(), "values": net.flat.values.copy()}


@pytest.mark.parametrize("name", ZOO)
def test_nets_of_the_zoo(name):
    for chunk in (3, 7, None):
        alone = trained(name, COMPILED[0], 1, chunk)
        for threads in (2, 3):
            assert_equal(trained(name, COMPILED[0], threads, chunk), alone)


@pytest.mark.parametrize("kernels", COMPILED)
def test_instruction_sets(kernels):
    assert_equal(trained("cifar10_full", kernels, 2, None), trained("cifar10_full", kernels, 1, None))


def test_no_lane_waits_within_a_chunk(monkeypatch):
    """Where no layer needs the whole batch, each thread runs its own samples to the end of the chunk."""
    planned = []

    def spy(calls, roles, lanes):
        planned.append((lanes, plan(calls, roles, lanes)))
        return planned[-1][1]

    monkeypatch.setattr("batchbrew.solver.kernels.plan", spy)
    for name in ("cifar10_quick", "cifar10_full"):
        trained(name, COMPILED[0], 2, None)
    of_samples = [steps for lanes, steps in planned if lanes.samples]
    assert of_samples and not any(step.wait for steps in of_samples for step in steps)
    assert all(None not in step.calls for steps in of_samples for step in steps if step.calls[0][0] != "fill")


def test_large_sums_have_no_copies():
    """The gradient of LeNet's first InnerProduct, 400,000 doubles, is cut itself; others have copies."""
    path = NETDEFS / "lenet_solver.prototxt"
    net = solver_net(read_solver(path), path, pb.TRAIN).build(pb.TRAIN, data=samples(20, ZOO["lenet"]), threads=2)
    net.accumulate(np.arange(10), 0)
    weights = net.params["ip1"][0]
    of_gradients = [(start, stop) for number, start, stop in net.standing.copies.used if number == 0]
    assert not any(start < weights.start + weights.count and weights.start < stop for start, stop in of_gradients)
    assert sum(stop - start for start, stop in of_gradients) == net.parameters - weights.count


def test_gradients_are_added_up_piece_by_piece():
    net = net_of(BODY + LOSS, data=samples(40), threads=3)
    net.accumulate(np.arange(9), 0)
    copies, size = net.standing.copies, net.flat.size
    for lane, copy in enumerate(copies.copies[0]):
        copy[...] = 10**lane
    before, used = net.flat.grads.copy(), np.zeros(size, bool)
    for number, start, stop in copies.used:
        used[start:stop] |= number == 0
    net.standing.merge(stop=0)
    np.testing.assert_array_equal(net.flat.grads, before)
    for start in range(0, size, 100):
        net.standing.merge(start, start + 100)
        np.testing.assert_allclose(
            net.flat.grads[: start + 100][used[: start + 100]], (before + 11)[: start + 100][used[: start + 100]]
        )
        np.testing.assert_array_equal(net.flat.grads[start + 100 :], before[start + 100 :])
    assert not any(copy[used].any() for copy in copies.copies[0])


def clashing(rows=64, rounds=500):
    """Return operations each of which reads what another lane has written in the one before, and their result."""
    x, y = np.zeros((rows, 8), np.float32), np.ones((rows, 8), np.float32)
    calls = [("add", (y, x)), ("copy", (x[::-1].copy(), y))][:1]
    calls += [call for _ in range(rounds) for call in (("copy", (x[: rows // 2], y[rows // 2 :])), ("add", (y, x)),
                                                       ("copy", (x[rows // 2 :], y[: rows // 2])), ("add", (y, x)))]  # fmt: skip
    return calls, x


@pytest.mark.parametrize("threads", [2, 3, 4, 9])
def test_lanes_wait_where_they_must(threads):
    calls, wanted = clashing(rounds=6)
    compile_program(calls, "reference").run()
    calls, found = clashing(rounds=6)
    program = compile_program(calls, COMPILED[0], Lanes(threads, 0, Copies(threads)))
    program.run()
    np.testing.assert_array_equal(found, wanted)


def test_more_threads_than_cores_do_not_spin():
    calls, _ = clashing()
    threads = 2 * len(os.sched_getaffinity(0))
    program = compile_program(calls, COMPILED[0], Lanes(threads, 0, Copies(threads)))
    start = time.perf_counter()
    for _ in range(5):
        program.run()
    assert time.perf_counter() - start < 20


def test_after_a_fork_the_child_has_threads_of_its_own():
    wanted = summed(HEADS["softmax"], threads=2)["grads"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are threads is the point
        child = os.fork()
    if child == 0:
        try:
            os._exit(int(not np.array_equal(summed(HEADS["softmax"], threads=2)["grads"], wanted)))
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(summed(HEADS["softmax"], threads=2)["grads"], wanted)


def test_nets_of_several_python_threads_take_turns():
    wanted, found = summed(HEADS["softmax"], threads=2)["grads"], []
    users = [
        threading.Thread(target=lambda: found.append(summed(HEADS["softmax"], threads=2)["grads"])) for _ in range(4)
    ]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(found) == 4 and all(np.array_equal(each, wanted) for each in found)


def test_an_error_within_a_pass_leaves_no_sums_behind(monkeypatch):
    net = net_of(BODY + LOSS, data=samples(40), threads=2, chunk=8)
    order, left = net.layers[0].order, [1, 1]
    numbers = order.numbers

    def interrupted(positions):
        left.pop()  # IndexError the third time
        return numbers(positions)

    with monkeypatch.context() as patch, pytest.raises(IndexError):
        patch.setattr(order, "numbers", interrupted)
        net.accumulate(np.arange(30), 0)
    with pytest.raises(IndexError):
        net.accumulate(np.arange(30), 0, lambda start, stop: left.pop())  # while telling what is complete
    alone = net_of(BODY + LOSS, data=samples(40))
    for each in (net, alone):
        each.zero_sums()
        each.accumulate(np.arange(3), 0)
    np.testing.assert_allclose(net.flat.grads, alone.flat.grads, 1e-12, 1e-12)


@pytest.mark.parametrize("given", ["0", "two", "-1", "1.5", "9999"])
def test_number_of_threads_in_the_environment(monkeypatch, given):
    monkeypatch.setenv("BATCHBREW_THREADS", "3")
    assert net_of(BODY + LOSS, data=samples(40)).threads == 3
    assert net_of(BODY + LOSS, data=samples(40), kernels="reference").threads == 1
    assert net_of(BODY + LOSS, data=samples(40), threads=2).threads == 2
    monkeypatch.setenv("BATCHBREW_THREADS", given)
    with pytest.raises(UserError) as found:
        net_of(BODY + LOSS, data=samples(40))
    assert str(found.value) == f"BATCHBREW_THREADS: must be a number from 1 to 1024 (found '{given}')"
