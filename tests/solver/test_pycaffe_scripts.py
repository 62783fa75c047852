"""What scripts made for pycaffe do, whole: train, look inside, operate on nets, dream, and layers of their own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from pycaffe_support import net_of, python_layers

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.solver import pycaffe as caffe
from batchbrew.solver.pycaffe import layers as L
from batchbrew.solver.pycaffe import params as P
from batchbrew.solver.stepper import Stepper

__all__ = ["python_layers"]

Array = np.ndarray
HERE = "test_pycaffe_scripts"
XAVIER = {"type": "xavier"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLOG_minloglevel", "2")
    caffe.set_random_seed(3)
    return tmp_path


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def write(spec: caffe.NetSpec, name: str = "net.prototxt", head: str = "") -> str:
    Path(name).write_text(head + str(spec.to_proto()))
    return name


def write_solver(text: str, name: str = "solver.prototxt") -> str:
    Path(name).write_text(f'base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "made" display: 0 {text}')
    return name


def convolutional(*shape: int, full: bool = False) -> caffe.NetSpec:
    """Two convolutions, the second one a dense layer unless ``full``."""
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": list(shape)})
    n.conv1 = L.Convolution(n.data, kernel_size=3, pad=1, num_output=5, weight_filler=XAVIER)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool1 = L.Pooling(n.relu1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.norm1 = L.LRN(n.pool1)
    if full:
        n.fc_conv = L.Convolution(n.norm1, kernel_h=4, kernel_w=3, num_output=7)
    else:
        n.fc = L.InnerProduct(n.norm1, num_output=7, weight_filler=XAVIER)
    n.prob = L.Softmax(n.fc_conv if full else n.fc)
    return n


# --- looking into nets and operating on them


def test_dense_layers_become_convolutions(random: np.random.Generator) -> None:
    net = caffe.Net(write(convolutional(1, 3, 8, 6)), caffe.TEST)
    net.save("dense.caffemodel")
    full = caffe.Net(write(convolutional(1, 3, 8, 6, full=True)), "dense.caffemodel", caffe.TEST)
    weights, bias = (blob.data for blob in full.params["fc_conv"])
    weights.flat = net.params["fc"][0].data.flat
    bias[...] = net.params["fc"][1].data
    picture = random.normal(size=(1, 3, 10, 8))
    full.blobs["data"].reshape(*picture.shape)
    found = full.forward_all(data=picture)["prob"]
    assert found.shape == (1, 7, 2, 2)
    full.blobs["data"].reshape(1, 3, 8, 6)
    same = picture[:, :, :8, :6]
    assert np.allclose(full.forward(data=same)["prob"][:, :, 0, 0], net.forward(data=same)["prob"], atol=1e-6)


def test_saliency_is_a_gradient(random: np.random.Generator) -> None:
    net = caffe.Net(write(convolutional(3, 3, 8, 6), head="force_backward: true\n"), caffe.TEST)
    pictures = random.normal(size=(3, 3, 8, 6))
    net.blobs["data"].data[...] = pictures
    net.forward()
    chosen = np.zeros((3, 7))
    chosen[:, 2] = 1
    found = net.backward(**{net.outputs[0]: chosen})["data"][1, 2, 4, 3]
    scores = []
    for step in (1e-2, -1e-2):
        pictures[1, 2, 4, 3] += step
        scores.append(float(net.forward(data=pictures)["prob"][1, 2]))
        pictures[1, 2, 4, 3] -= step
    assert found == pytest.approx((scores[0] - scores[1]) / 2e-2, rel=2e-2, abs=1e-5)


def test_a_net_dreams_at_several_sizes_though_its_last_layers_know_only_one(random: np.random.Generator) -> None:
    net = caffe.Net(write(convolutional(1, 3, 8, 6), head="force_backward: true\n"), caffe.TEST)
    source, wanted = net.blobs["data"], net.blobs["pool1"]
    guide = random.normal(size=(5, 9)).astype(np.float32)
    for rows, columns in ((6, 6), (12, 10)):
        source.reshape(1, 3, rows, columns)
        source.data[0] = random.normal(size=(3, rows, columns))
        gains = []
        for _ in range(2):
            source.data[0] = np.roll(np.roll(source.data[0], 1, -1), 2, -2)
            net.forward(end="pool1")
            features = wanted.data[0].copy().reshape(5, -1)
            best = guide[:, (features.T @ guide).argmax(1)]
            gains.append(float((features * best).sum()))
            wanted.diff[0].reshape(5, -1)[:] = best  # through a view, as the best-known of these scripts does
            net.backward(start="pool1")
            gradient = source.diff[0]
            source.data[:] += 0.1 / np.abs(gradient).mean() * gradient
            source.data[0] = np.roll(np.roll(source.data[0], -1, -1), -2, -2)
        assert gains[1] > gains[0]
    for run in (net.forward, net.reshape):
        with pytest.raises(UserError, match=r"layer 'fc' \(InnerProduct\): was set up for 60 inputs, found 150"):
            run()
    source.reshape(2, 3, 8, 6)
    assert net.forward()["prob"].shape == (2, 7)


def test_gradients_are_added_on_the_way_down(random: np.random.Generator) -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 3, 4, 4]})
    n.one = L.Convolution(n.data, kernel_size=1, num_output=5, weight_filler=XAVIER)
    n.relu1 = L.ReLU(n.one, in_place=True)
    n.two = L.Convolution(n.relu1, kernel_size=1, num_output=6, weight_filler=XAVIER)
    n.relu2 = L.ReLU(n.two, in_place=True)
    net = caffe.Net(write(n, head="force_backward: true\n"), caffe.TEST)
    net.forward(data=random.normal(size=(1, 3, 4, 4)))
    style = [random.normal(size=(channels, 4, 4)).astype(np.float32) for channels in (5, 6)]
    w1, w2 = (net.params[name][0].data.reshape(size, -1) for name, size in (("one", 5), ("two", 6)))
    net.blobs["two"].diff[...] = 0
    gradient = net.blobs["two"].diff[0]
    gradient += style[1]
    net.backward(start="two", end="one")
    gradient = net.blobs["one"].diff[0]
    below = np.einsum("oi,ohw->ihw", w2, style[1]) * (net.blobs["one"].data[0] > 0)
    assert np.allclose(gradient, below, atol=1e-5)
    gradient += style[0]
    net.backward(start="one")
    assert np.allclose(net.blobs["data"].diff[0], np.einsum("oi,ohw->ihw", w1, below + style[0]), atol=1e-5)


def test_filters_for_upsampling_are_written_by_index() -> None:
    n = caffe.NetSpec()
    n.data = L.Input(shape={"dim": [1, 2, 5, 5]})
    n.up = L.Deconvolution(
        n.data, convolution_param={"num_output": 2, "kernel_size": 4, "stride": 2, "bias_term": False}
    )
    net = caffe.Net(write(n), caffe.TEST)
    rows, columns = np.ogrid[:4, :4]
    bilinear = (1 - abs(rows - 1.5) / 2) * (1 - abs(columns - 1.5) / 2)
    for name in (name for name in net.params if "up" in name):
        outputs, inputs = net.params[name][0].data.shape[:2]
        net.params[name][0].data[range(outputs), range(inputs), :, :] = bilinear
    made = net.forward(data=np.ones((1, 2, 5, 5)))["up"]
    assert np.allclose(made[:, :, 2:-2, 2:-2], 1)
    assert made[0, 0, 0, 0] == pytest.approx(1 / 16)


def test_features_of_many_pictures(random: np.random.Generator) -> None:
    net = caffe.Net(write(convolutional(2, 3, 8, 6)), caffe.TEST)
    net.params["fc"][1].data[...] = range(7)
    pictures = random.normal(size=(5, 3, 8, 6))
    features = net.forward_all(blobs=["fc"], data=pictures)["fc"]
    one = []
    for picture in pictures:
        net.blobs["data"].data[0, ...] = picture
        net.forward(end="fc")
        one.append(net.blobs["fc"].data[0].flatten())
    assert np.allclose(features, one, atol=1e-5)


def test_a_model_is_walked_as_a_message() -> None:
    net = caffe.Net(write(convolutional(1, 3, 8, 6)), caffe.TEST)
    net.save("net.caffemodel")
    message = caffe.proto.caffe_pb2.NetParameter()
    message.ParseFromString(Path("net.caffemodel").read_bytes())
    found = {layer.name: [caffe.io.blobproto_to_array(b) for b in layer.blobs] for layer in message.layer}
    assert np.array_equal(found["conv1"][0], net.params["conv1"][0].data)
    for layer in message.layer:
        if layer.name == "conv1":
            layer.blobs[0].data[:] = np.zeros(135)
    Path("net.caffemodel").write_bytes(message.SerializeToString())
    kept = net.params["conv1"][0].data
    net.copy_from("net.caffemodel")
    assert not kept.any()


# --- training


def hdf5(name: str, rows: int, random: np.random.Generator) -> str:
    """Write rows of four numbers and which side of a plane they are on; return the list that names the file."""
    values = random.normal(size=(rows, 4))
    with h5py.File(f"{name}.h5", "w") as file:
        file["data"] = values
        file["label"] = (values @ [1, -2, 0.5, 0] > 0).astype(np.float32)
    Path(f"{name}.txt").write_text(f"{name}.h5\n")
    return f"{name}.txt"


def regression(source: str, batch: int) -> caffe.NetSpec:
    n = caffe.NetSpec()
    n.data, n.label = L.HDF5Data(batch_size=batch, source=source, ntop=2)
    n.score = L.InnerProduct(n.data, num_output=2, weight_filler=XAVIER)
    n.accuracy = L.Accuracy(n.score, n.label)
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


def test_a_net_is_trained_step_by_step(random: np.random.Generator) -> None:
    write(regression(hdf5("train", 200, random), 20), "train.prototxt")
    write(regression(hdf5("test", 100, random), 50), "test.prototxt")
    message = caffe.proto.caffe_pb2.SolverParameter(
        train_net="train.prototxt", base_lr=0.5, momentum=0.9, lr_policy="fixed", max_iter=60, snapshot_prefix="made"
    )
    message.test_net.append("test.prototxt")
    message.test_iter.append(2)
    message.test_interval = 100
    message.solver_mode = caffe.proto.caffe_pb2.SolverParameter.GPU
    Path("solver.prototxt").write_text(str(message))
    caffe.set_device(0)
    caffe.set_mode_gpu()
    solver = caffe.get_solver("solver.prototxt")
    losses = np.zeros(60)
    for i in range(60):
        solver.step(1)
        losses[i] = solver.net.blobs["loss"].data
    assert losses[-10:].mean() < 0.5 * losses[:3].mean()
    test = solver.test_nets[0]
    test.forward()
    first = test.blobs["data"].data.copy()
    correct = sum(test.blobs["score"].data.argmax(1) == test.blobs["label"].data)
    assert correct >= 45
    again = test.forward(start="score")  # the same samples
    assert np.array_equal(test.blobs["data"].data, first)
    assert again["accuracy"] == pytest.approx(correct / 50)
    test.forward()
    assert not np.array_equal(test.blobs["data"].data, first)


def test_a_net_is_trained_without_a_solver(random: np.random.Generator) -> None:
    net = caffe.Net(write(regression(hdf5("train", 100, random), 100)), caffe.TRAIN)
    losses = []
    for _ in range(30):
        losses.append(float(net.forward()["loss"]))
        net.backward()
        for blobs in net.params.values():
            for blob in blobs:
                blob.data[...] -= 1.0 * blob.diff
                blob.diff[...] *= 0
    assert losses[-1] < 0.5 * losses[0]
    last = net.params["score"][0].diff.copy()
    assert not last.any()


@pytest.mark.parametrize("rule", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
def test_a_run_goes_on_where_it_was_saved(rule: str, random: np.random.Generator) -> None:
    write(regression(hdf5("train", 20, random), 20))
    momentum = "" if rule in {"AdaGrad", "RMSProp"} else "momentum: 0.9"
    file = write_solver(f'net: "net.prototxt" type: "{rule}" max_iter: 6 snapshot: 3 {momentum}')
    solver = caffe.get_solver(file)
    solver.solve()
    expected = solver.net.params["score"][0].data
    for resume in (
        lambda s: s.solve("made_iter_3.solverstate"),
        lambda s: (s.restore("made_iter_3.solverstate"), s.step(3)),
    ):
        other = caffe.get_solver(file)
        resume(other)
        assert other.iter == 6
        assert np.array_equal(other.net.params["score"][0].data, expected)
    tuned = caffe.Net("net.prototxt", caffe.TEST, weights="made_iter_6.caffemodel")
    assert np.array_equal(tuned.params["score"][0].data, expected)


OLD = """
name: "CIFAR10"
layers { name: "data" type: MEMORY_DATA top: "data" top: "label"
  memory_data_param { batch_size: 25 channels: 3 height: 8 width: 8 } include: { phase: TRAIN } }
layers { name: "data" type: MEMORY_DATA top: "data" top: "label"
  memory_data_param { batch_size: 10 channels: 3 height: 8 width: 8 } include: { phase: TEST } }
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 kernel_size: 5 pad: 2 weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layers { name: "relu" type: RELU bottom: "pool" top: "pool" }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip" blobs_lr: 1 blobs_lr: 2 weight_decay: 3
  inner_product_param { num_output: 10 weight_filler { type: "gaussian" std: 0.1 } } }
layers { name: "accuracy" type: ACCURACY bottom: "ip" bottom: "label" top: "accuracy" include: { phase: TEST } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" }
"""


def test_an_old_net_is_trained_on_arrays(random: np.random.Generator) -> None:
    Path("old.prototxt").write_text(OLD)
    settings = 'net: "old.prototxt" max_iter: 9 test_iter: 2 test_interval: 100 test_initialization: false'
    solver = caffe.SGDSolver(write_solver(settings))
    labels = random.integers(0, 10, 100).astype(np.float32)
    pictures = random.normal(size=(100, 3, 8, 8)).astype(np.float32)
    solver.net.set_input_arrays(pictures, labels)
    solver.test_nets[0].set_input_arrays(pictures[:20], labels[:20])
    solver.solve()
    assert solver.iter == 9
    assert np.array_equal(solver.net.blobs["data"].data, pictures[:25])  # the ninth batch of 25, of four
    assert np.array_equal(solver.net.blobs["label"].data.ravel(), labels[:25])
    assert np.isfinite(solver.test_nets[0].forward()["loss"])
    assert Path("made_iter_9.caffemodel").is_file()


def test_twin_towers_share_their_weights(random: np.random.Generator) -> None:
    n = caffe.NetSpec()
    n.pair = L.Input(shape={"dim": [4, 2, 6, 6]})
    n.similar = L.Input(shape={"dim": [4]})
    n.left, n.right = L.Slice(n.pair, slice_param={"slice_dim": 1, "slice_point": 1}, ntop=2)
    names = [{"name": "w", "lr_mult": 1}, {"name": "b", "lr_mult": 2}]
    n.feat = L.InnerProduct(n.left, num_output=2, weight_filler=XAVIER, param=names)
    n.feat_p = L.InnerProduct(n.right, num_output=2, weight_filler=XAVIER, param=names)
    n.loss = L.ContrastiveLoss(n.feat, n.feat_p, n.similar, margin=1)
    net = caffe.Net(write(n), caffe.TRAIN)
    assert np.shares_memory(net.params["feat"][0].data, net.params["feat_p"][0].data)
    pair, similar = random.normal(size=(4, 2, 6, 6)), np.array([1, 0, 1, 0])
    before = float(net.forward(pair=pair, similar=similar)["loss"])
    net.backward()
    for blob in net.params["feat"]:
        blob.data[...] -= 0.02 * blob.diff
    assert float(net.forward(pair=pair, similar=similar)["loss"]) < before
    gap = net.blobs["feat"].data - net.blobs["feat_p"].data
    assert np.allclose(gap, (pair[:, 0] - pair[:, 1]).reshape(4, -1) @ net.params["feat_p"][0].data.T, atol=1e-5)


# --- scripts for several GPUs


def test_a_script_for_several_gpus_runs_with_one(random: np.random.Generator) -> None:
    write(regression(hdf5("train", 20, random), 20))
    caffe.set_solver_count(1)
    caffe.set_multiprocess(True)
    solver = caffe.SGDSolver(write_solver('net: "net.prototxt" max_iter: 3'))
    nccl = caffe.NCCL(solver, caffe.NCCL.new_uid())
    nccl.bcast()
    timers = [caffe.Timer() for _ in solver.net.layers]
    seen: list[tuple[str, int]] = []
    solver.net.before_forward(lambda layer: timers[layer].start())
    solver.net.after_forward(lambda layer: timers[layer].stop())
    solver.net.after_backward(lambda layer: seen.append((solver.net._layer_names[layer], solver.iter)))
    solver.add_callback(nccl)
    solver.add_callback(lambda: "", lambda: seen.append(("ready", solver.iter)))
    if solver.param.layer_wise_reduce:
        solver.net.after_backward(nccl)
    solver.step(solver.param.max_iter)
    assert [entry for entry in seen if entry[0] == "ready"] == [("ready", 0), ("ready", 1), ("ready", 2)]
    assert seen[0] == ("loss", 0)
    assert all(timer.ms >= 0 for timer in timers)
    with pytest.raises(UserError, match="add_callback needs two functions: on_start and on_gradients_ready"):
        solver.add_callback(lambda: None)
    caffe.set_solver_count(3)
    try:
        with pytest.raises(UserError, match=r"^NCCL would connect 3 solvers on GPUs, .*: give the script one device"):
            caffe.NCCL(solver, caffe.NCCL.new_uid())
    finally:
        caffe.set_solver_count(1)


# --- layers in Python


class Pictures(caffe.Layer):
    """Batches of pictures of varying size, shaped when they are there; one method more than a layer has."""

    def setup(self, bottom, top):
        self.batch = eval(self.param_str)["batch"]
        self.number = 0
        top[0].reshape(self.batch, 2, 5, 5)
        top[1].reshape(self.batch)

    def start_at(self, number):
        self.number = number

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        rows = 6 + self.number % 3
        blobs = [np.full((self.batch, 2, rows, 7), self.number), np.arange(self.batch) % 2]
        for blob, array in zip(top, blobs, strict=True):
            blob.reshape(*array.shape)
            blob.data[...] = array.astype(np.float32, copy=False)
        self.number += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Scenes(caffe.Layer):
    """One picture and its pixels' labels a pass, loaded where the shapes are asked for."""

    def setup(self, bottom, top):
        self.number, self.random = 0, np.random.default_rng(0)

    def reshape(self, bottom, top):
        self.picture = self.random.random((3, 5 + self.number % 2, 4))
        self.label = self.picture[:1] > 0.5
        top[0].reshape(1, *self.picture.shape)
        top[1].reshape(1, *self.label.shape)

    def forward(self, bottom, top):
        top[0].data[...] = self.picture
        top[1].data[...] = self.label
        self.number += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Flattening(caffe.Layer):
    """x + 2 |x|, and a parameter whose gradient is 1; everything through flat views."""

    def setup(self, bottom, top):
        self.blobs.add_blob(2, 3, 1, 1)
        self.blobs[0].data.reshape(-1)[:] = np.arange(6)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        assert bottom[0].data.flags.c_contiguous
        assert top[0].data.flags.c_contiguous
        self.x = bottom[0].data
        top[0].data.reshape(-1)[:] = self.x.ravel()
        for sample in range(top[0].num):
            top[0].data[sample] += 2 * np.abs(self.x[sample])

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff.ravel()[:] = (top[0].diff * (1 + 2 * np.sign(self.x))).ravel()
        self.blobs[0].diff.reshape(-1)[...] += 1


def scenes() -> caffe.NetSpec:
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module=HERE, layer="Scenes", ntop=2)
    n.conv = L.Convolution(n.data, kernel_size=1, num_output=2, weight_filler=XAVIER)
    n.score = L.Python(n.conv, module=HERE, layer="Flattening")
    n.loss = L.SoftmaxWithLoss(n.score, n.label, loss_param={"normalize": False})
    return n


@pytest.mark.usefixtures("python_layers")
def test_a_layer_that_loads_pictures_of_varying_size() -> None:
    n = caffe.NetSpec()
    n.data, n.label = L.Python(module=HERE, layer="Pictures", param_str=str({"batch": 4}), ntop=2)
    n.conv = L.Convolution(n.data, kernel_size=3, num_output=3, weight_filler=XAVIER)
    n.pool = L.Pooling(n.conv, global_pooling=True)
    n.ip = L.InnerProduct(n.pool, num_output=2, weight_filler=XAVIER)
    n.loss = L.SoftmaxWithLoss(n.ip, n.label)
    write(n)
    solver = caffe.SGDSolver(write_solver('net: "net.prototxt" max_iter: 8'))
    solver.net.layers[0].start_at(5)
    for number in range(5, 9):
        solver.step(1)
        assert solver.net.blobs["data"].data.shape == (4, 2, 6 + number % 3, 7)
        assert solver.net.blobs["conv"].data.shape == (4, 3, 4 + number % 3, 5)
        assert (solver.net.blobs["data"].data == number).all()


@pytest.mark.usefixtures("python_layers")
def test_layers_may_write_through_flat_views() -> None:
    write(scenes())
    solver = caffe.SGDSolver(write_solver('net: "net.prototxt" max_iter: 4 random_seed: 7'))
    for _ in range(3):
        solver.step(1)
        x, y = (solver.net.blobs[name] for name in ("conv", "score"))
        assert np.allclose(y.data, x.data + 2 * np.abs(x.data))
        assert np.allclose(x.diff, y.diff * (1 + 2 * np.sign(x.data)))
    assert np.allclose(solver.net.params["score"][0].data.ravel(), np.arange(6) - 0.3)


@pytest.mark.usefixtures("python_layers")
def test_such_layers_do_the_same_on_the_command_line() -> None:
    write(scenes())
    file = write_solver('net: "net.prototxt" max_iter: 4 random_seed: 7')
    solver, stepper = caffe.SGDSolver(file), Stepper.read(file)
    solver.step(4)
    stepper.step(4)
    for name, blobs in solver.net.params.items():
        for blob, parameter in zip(blobs, stepper.net.params[name], strict=True):
            assert np.array_equal(blob.data, parameter.data)


def test_inputs_are_given_by_the_names_that_nets_list(random: np.random.Generator) -> None:
    net = net_of(str(convolutional(2, 3, 8, 6).to_proto()), Path(), pb.TEST)
    given = random.normal(size=(2, 3, 8, 6)).astype(np.float32)
    found = net.forward(blobs=["conv1"], **{net.inputs[0]: given})
    assert set(found) == {"prob", "conv1"}
    assert np.array_equal(net.blobs["data"].data, given)
    assert np.allclose(found["prob"].sum(1), 1)
