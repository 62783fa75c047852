"""pycaffe's solvers: training, single steps, callbacks, snapshots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycaffe_support import NET, python, python_layers  # noqa: F401 - a fixture

from batchbrew.errors import UserError
from batchbrew.solver import pycaffe as caffe

SETTINGS = """
net: "net.prototxt" test_iter: 3 test_interval: 10 base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005
lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 10 max_iter: 20 snapshot_after_train: false snapshot_prefix: "model"
"""
Make = Callable[..., caffe.Solver]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.chdir(tmp_path)

    def solver(settings: str = SETTINGS, kind: Callable[[str], caffe.Solver] = caffe.SGDSolver) -> caffe.Solver:
        Path("net.prototxt").write_text(NET)
        Path("solver.prototxt").write_text(settings)
        made = kind("solver.prototxt")
        for net in (made.net, *made.test_nets):
            net.blobs["label"].data[...] = np.arange(5).reshape(5, 1, 1, 1)
        return made

    return solver


def test_solving_runs_to_max_iter(make: Make, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("GLOG_minloglevel", "0")
    solver = make()
    assert solver.iter == 0
    solver.solve()
    assert solver.iter == 20
    assert len(solver.test_nets) == 1
    lines = [line.partition("] ")[2] for line in capsys.readouterr().err.splitlines()]
    assert [line for line in lines if "Testing" in line] == [f"Iteration {n}, Testing net (#0)" for n in (0, 10, 20)]
    assert "Optimization Done." in lines
    assert not list(Path().glob("model*"))


def test_an_update_uses_the_gradients_as_they_are(make: Make) -> None:
    solver = make()
    weights = solver.net.layers[1].blobs[0]
    values = weights.data[...]
    values[...] = 0
    weights.diff[...] = 1
    solver.apply_update()
    assert np.allclose(values, -0.01, atol=1e-7)
    assert solver.iter == 1
    assert np.allclose(weights.diff, 0.01, atol=1e-7)  # what has been subtracted


def test_a_step_is_a_pass_and_an_update(make: Make) -> None:
    caffe.set_random_seed(1)
    one = make()
    caffe.set_random_seed(1)
    other = make()
    assert np.array_equal(one.net.params["ip"][0].data, other.net.params["ip"][0].data)
    one.step(3)
    for _ in range(3):
        other.net.clear_param_diffs()
        other.net.forward()
        other.net.backward()
        other.apply_update()
    assert one.iter == other.iter == 3
    for name, blobs in one.net.params.items():
        for mine, theirs in zip(blobs, other.net.params[name], strict=True):
            assert np.array_equal(mine.data, theirs.data)
            assert mine.data.any()


def test_iter_size_divides_what_has_been_added_up(make: Make) -> None:
    solver = make(SETTINGS.replace("momentum: 0.9", "iter_size: 4").replace("weight_decay: 0.0005", ""))
    bias = solver.net.params["ip"][1]
    before = bias.data.copy()
    bias.diff[...] = 2
    solver.apply_update()
    assert np.allclose(before - bias.data, 0.01 * 2 / 4, atol=1e-7)


def test_nets_live_longer_than_their_solver(make: Make) -> None:
    solver = make()
    nets = [solver.net, *solver.test_nets]
    assert solver.net is nets[0]
    del solver
    assert len(nets) == 2
    for net in nets:
        net.forward()
        for blob in (*net.blobs.values(), *(blob for blobs in net.params.values() for blob in blobs)):
            assert np.isfinite(blob.data).all()
            assert np.isfinite(blob.diff).all()


def test_snapshots_are_taken_up_again(make: Make) -> None:
    solver = make()
    solver.snapshot()
    assert {path.name for path in Path().glob("model*")} == {"model_iter_0.caffemodel", "model_iter_0.solverstate"}
    solver.step(3)
    solver.snapshot()
    other = make()
    other.restore("model_iter_3.solverstate")
    assert other.iter == 3
    assert np.array_equal(other.net.params["ip"][0].data, solver.net.params["ip"][0].data)
    other.solve("model_iter_3.solverstate")
    assert other.iter == 20


def test_test_nets_use_the_trained_parameters(make: Make) -> None:
    solver = make()
    solver.test_nets[0].share_with(solver.net)
    solver.share_weights(solver.test_nets[0])
    solver.step(1)
    assert np.array_equal(solver.test_nets[0].params["ip"][0].data, solver.net.params["ip"][0].data)
    alone = caffe.Net("net.prototxt", caffe.TEST)
    solver.share_weights(alone)
    solver.step(1)
    assert np.array_equal(alone.params["ip"][0].data, solver.net.params["ip"][0].data)
    with pytest.raises(UserError, match="the net of a solver keeps its parameters: let the other net share them"):
        solver.net.share_with(caffe.Net("net.prototxt", caffe.TRAIN))


@pytest.mark.parametrize(
    ("name", "rest", "kind"),
    [
        ("SGD", "momentum: 0.9", caffe.SGDSolver),
        ("Nesterov", "momentum: 0.9", caffe.NesterovSolver),
        ("AdaGrad", "", caffe.AdaGradSolver),
        ("RMSProp", "", caffe.RMSPropSolver),
        ("AdaDelta", "momentum: 0.9", caffe.AdaDeltaSolver),
        ("Adam", "momentum: 0.9", caffe.AdamSolver),
    ],
)
def test_the_type_of_a_file_chooses_the_class_and_a_class_its_own_rule(make: Make, name, rest, kind) -> None:  # type: ignore[no-untyped-def]
    settings = SETTINGS.replace("momentum: 0.9", rest)
    solver = make(f'{settings} type: "{name}"', caffe.get_solver)
    assert type(solver) is kind
    same = make(settings, kind)
    assert same.param.type == name
    same.step(1)
    assert make(f"{settings} solver_type: {name.upper()}", caffe.get_solver).param.type == name


def test_settings_may_be_changed_between_steps(make: Make) -> None:
    solver = make()
    assert (solver.param.max_iter, solver.param.display, solver.param.layer_wise_reduce) == (20, 10, True)
    assert solver.lr == pytest.approx(0.01)
    solver.param.base_lr = 0
    before = solver.net.params["ip"][0].data.copy()
    solver.step(1)
    assert solver.lr == 0
    assert np.array_equal(solver.net.params["ip"][0].data, before)


def test_callbacks_come_before_the_passes_and_before_the_update(make: Make) -> None:
    solver = make(SETTINGS.replace("weight_decay: 0.0005", ""))
    shown = [blob.diff for blobs in solver.net.params.values() for blob in blobs]
    seen: list[object] = []

    def ready() -> None:
        seen.append(any(diff.any() for diff in shown))
        for diff in shown:
            diff[...] = 0

    solver.net.before_forward(seen.append)
    solver.add_callback(lambda: seen.append(("start", solver.iter)), ready)
    before = solver.net.params["ip"][0].data.copy()
    solver.step(2)
    assert seen == [("start", 0), 0, 1, 2, 3, True, ("start", 1), 0, 1, 2, 3, True]
    assert np.array_equal(solver.net.params["ip"][0].data, before)


@pytest.mark.usefixtures("python_layers")
def test_a_parameter_of_a_python_layer_is_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = (
        'layer { name: "d" type: "DummyData" top: "x" top: "t" dummy_data_param { shape { dim: 2 dim: 3 } '
        "data_filler { value: 1 } data_filler { value: 5 } } }"
        + python("s", "Scaled", "x", "y")
        + python("l", "Squares", "y t", "l", rest="loss_weight: 1")
    )
    Path("net.prototxt").write_text(source)
    Path("solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    solver = caffe.SGDSolver("solver.prototxt")
    weight = solver.net.params["s"][0]
    solver.step(1)
    assert weight.data[0] == pytest.approx(3 - 0.1 * 3 * (3 - 5))  # d/dw of the mean over 2 rows of 3 (w - 5)^2 / 2
    solver.step(60)
    assert weight.data[0] == pytest.approx(5, abs=1e-4)


@pytest.mark.parametrize("kind", [caffe.SGDSolver, caffe.get_solver])
def test_a_missing_file_is_a_runtime_error(kind: Callable[[str], caffe.Solver]) -> None:
    with pytest.raises(RuntimeError, match=r"^Could not open file none\.prototxt$"):
        kind("none.prototxt")
