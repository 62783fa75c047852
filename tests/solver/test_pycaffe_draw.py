"""pycaffe's draw: graphs of nets, and what is said where they cannot be drawn."""

from __future__ import annotations

import builtins
import shutil
from pathlib import Path

import pytest

from batchbrew.errors import UserError
from batchbrew.protos import messages as pb
from batchbrew.protos import text
from batchbrew.solver.pycaffe import draw

pytest.importorskip("pydot")

NETDEFS = [
    path for path in sorted((Path(__file__).parents[2] / "netdefs").glob("*.prototxt")) if "layer {" in path.read_text()
]

NET = """
name: "n<1>"
input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
         convolution_param { num_output: 4 kernel_size: 3 pad: 1 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_h: 2 kernel_w: 3 stride: 2 } }
layers { name: "loss" type: EUCLIDEAN_LOSS bottom: "pool" bottom: "pool" top: "loss" include { phase: TRAIN } }
"""


def net() -> pb.NetParameter:
    return text.parse(NET, pb.NetParameter)


def raw(**options: object) -> str:
    return draw.draw_net(net(), "LR", "raw", **options).decode()


def test_a_graph_shows_layers_blobs_and_sizes_of_a_net_of_any_format() -> None:
    found = raw()
    assert 'digraph "n\\<1\\>"' in found
    assert "rankdir=LR" in found
    assert 'label="conv\\n(Convolution)\\nkernel size: 3\\nstride: 1\\npad: 1"' in found
    assert 'label="pool\\n(AVE Pooling)\\nkernel size: 2x3\\nstride: 2\\npad: 0"' in found
    assert '"1_conv_Convolution" -> "conv_blob" [label="4"]' in found
    assert found.count('"pool_blob" -> "4_loss_EuclideanLoss"') == 2
    assert 'label="relu\\n(ReLU)", shape=record, style=filled, fillcolor="#a1d99b"' in found
    assert net().layers[0].type  # the caller's message is not upgraded


def test_what_is_shown_can_be_chosen() -> None:
    assert "loss" not in raw(phase=pb.TEST)
    assert "loss" in raw(phase=pb.TRAIN)
    assert "lr mult: 1, 2" in raw(display_lrm=True)
    assert "kernel size: 3 stride: 1" in draw.draw_net(net(), "TB", "raw").decode()
    graph = draw.get_pydot_graph(net(), "BT", label_edges=False)
    assert '[label="4"]' not in graph.to_string()


@pytest.mark.parametrize("path", NETDEFS, ids=lambda path: path.stem)
def test_every_net_of_ours_has_a_graph(path: Path) -> None:
    message = text.read(path, pb.NetParameter)
    graph = draw.get_pydot_graph(message, "LR")
    assert len(graph.get_nodes()) > len(message.layer)


def test_pictures_are_made_by_graphviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "dot"
    program.write_text('#!/bin/sh\nfor f; do :; done\necho $1; cat "$f"\n')
    program.chmod(0o755)
    if shutil.which("dot") is None:
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        draw.draw_net_to_file(net(), tmp_path / "net.svg", "TB")
        assert (tmp_path / "net.svg").read_text().startswith("-Tsvg")
    else:
        draw.draw_net_to_file(net(), tmp_path / "net.svg", "TB")
        assert "<svg" in (tmp_path / "net.svg").read_text()


def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^rankdir must be one of LR, RL, TB, BT \(found 'XX'\)$"):
        draw.draw_net(net(), "XX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"^drawing nets needs the program 'dot' of Graphviz in the PATH"):
        draw.draw_net(net(), "LR")
    (tmp_path / "dot").write_text("#!/bin/sh\necho no such format >&2\nexit 1\n")
    (tmp_path / "dot").chmod(0o755)
    with pytest.raises(UserError, match=r"^Graphviz could not draw the net as 'xyz'"):
        draw.draw_net(net(), "LR", "xyz")
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "pydot":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"^drawing nets needs pydot: pip install 'batchbrew\[draw\]'$"):
        draw.draw_net(net(), "LR")
