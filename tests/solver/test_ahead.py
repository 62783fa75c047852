"""Reading ahead: the same numbers, the same errors in their places, and nothing that keeps a process alive."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import h5py
import numpy as np
import pytest
from data_support import write_lmdb, write_picture
from engine_support import data, layer, net_of, samples

from batchbrew.errors import UserError
from batchbrew.protos import datum
from batchbrew.solver.ahead import BLOCK

COUNT = 400
NET = layer(
    "ip", "InnerProduct", "data", "ip", 'inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'
)
NET += layer("loss", "SoftmaxWithLoss", "ip label", "loss")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """An LMDB of which record 350 is damaged."""
    rng = np.random.default_rng(0)
    records = [datum.serialize(rng.integers(0, 256, (2, 5, 6), np.uint8), n % 5) for n in range(COUNT)]
    records[350] = records[350][:-1]
    return write_lmdb(tmp_path_factory.mktemp("ahead") / "db", records)


def net_from(base, chunk=7, rest="transform_param { mirror: true crop_size: 4 }"):
    source = layer("data", "Data", "", "data label", f'data_param {{ batch_size: 4 source: "{base}" }} {rest}')
    return net_of(source + NET, chunk=chunk)


def watched(net):
    """Return the lists of samples that the data layer reads from now on."""
    source, calls = net.layers[0].samples, []
    take = source.take

    def wrapper(indices):
        calls.append(indices.tolist())
        return take(indices)

    source.take = wrapper
    return calls


def flat(calls):
    return [index for call in calls for index in call]


def sums(net, indices, epoch=0):
    net.zero_sums()
    net.accumulate(indices, epoch)
    return net.flat.grads.tobytes(), net.sums.tobytes()


BATCHES = [np.arange(0, 150), np.arange(150, 333), np.array([5]), np.arange(0, 65), np.zeros(0, np.int64)]


@pytest.mark.parametrize("chunk", [1, 7, 64, 500])
def test_the_numbers_are_those_without(base, chunk):
    plain, ahead, wrong = (net_from(base, chunk) for _ in range(3))
    plain.whole.reader._begin = lambda block: None
    for batch, following in zip(BATCHES, [*BATCHES[1:], BATCHES[0]], strict=True):
        for epoch in (0, 1):
            wanted = sums(plain, batch, epoch)
            ahead.expect(*((batch, 1) if epoch == 0 else (following, 0)))
            wrong.expect(following[::-1], 5)
            assert sums(ahead, batch, epoch) == wanted
            assert sums(wrong, batch, epoch) == wanted


def test_each_sample_is_read_once_and_no_other(base):
    net = net_from(base)
    calls = watched(net)
    sums(net, BATCHES[0])
    assert flat(calls) == BATCHES[0].tolist()
    assert all(len(call) >= BLOCK for call in calls[:-1])
    calls.clear()
    net.expect(BATCHES[1], 0)
    sums(net, BATCHES[0])
    net.whole.reader._ahead.done.wait()
    assert flat(calls) == np.arange(150 + len(calls[-1])).tolist() and BLOCK <= len(calls[-1]) < BLOCK + 7
    sums(net, BATCHES[1])
    assert flat(calls) == np.arange(333).tolist()
    net.evaluate(BATCHES[2])
    assert calls[-1] == [5]


def test_damage_is_reported_where_it_is_wanted(base):
    net, bad = net_from(base), np.arange(200, COUNT)
    wanted = sums(net, BATCHES[0])
    with pytest.raises(UserError, match=r"record '00350' is damaged \(cut short\)$"):
        sums(net, bad)
    assert sums(net, BATCHES[0]) == wanted
    net.expect(bad[140:], 0)
    assert sums(net, BATCHES[0]) == wanted
    with pytest.raises(UserError, match=r"record '00350' is damaged \(cut short\)$"):
        sums(net, bad[140:])
    net.expect(bad[140:], 0)
    sums(net, BATCHES[0])
    assert sums(net, BATCHES[0]) == wanted  # nobody wanted the others


def test_a_label_beyond_the_classes_is_reported(tmp_path):
    pixels = np.zeros((1, 2, 2), np.uint8)
    path = write_lmdb(tmp_path / "db", [datum.serialize(pixels, 9 if n == 130 else 1) for n in range(150)])
    net = net_from(path, rest="")
    with pytest.raises(UserError, match="a sample has label 9, but the loss scores 5 classes"):
        sums(net, np.arange(150))


def test_after_an_interruption_it_goes_on(base):
    net = net_from(base)
    wanted = sums(net, BATCHES[0]), sums(net, BATCHES[1])
    feed = net.layers[0].feed

    def interrupted(tops, keys, indices):
        if threading.current_thread() is not threading.main_thread():
            raise KeyboardInterrupt
        feed(tops, keys, indices)

    for compiled in net._programs.values():
        object.__setattr__(compiled.feeds[0], "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sums(net, BATCHES[0])
    for compiled in net._programs.values():
        object.__setattr__(compiled.feeds[0], "write", feed)
    assert (sums(net, BATCHES[0]), sums(net, BATCHES[1])) == wanted


def test_the_whole_batch_waits_for_what_is_read_ahead(base):
    net = net_from(base)
    net.expect(BATCHES[1], 0)
    sums(net, BATCHES[0])
    net.forward()
    assert net.whole.reader._ahead is None
    assert net.blobs["label"].data.tolist() == [0, 1, 2, 3]


def test_the_thread_ends_with_its_net(base):
    net = net_from(base)
    sums(net, BATCHES[0])
    thread, gone = net.whole.reader._thread, weakref.ref(net)
    assert thread is not None and thread.daemon
    del net
    gc.collect()
    thread.join(10)
    assert gone() is None and not thread.is_alive()


def test_pictures_in_memory_need_no_thread():
    net = net_of(data(4) + NET, data=samples(100, (2, 5, 6)))
    net.expect(np.arange(50), 0)
    sums(net, np.arange(100))
    assert net.whole.reader._thread is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_has_a_thread_of_its_own(base):
    net = net_from(base)
    net.expect(BATCHES[1], 0)
    sums(net, BATCHES[0])
    child = os.fork()
    if child == 0:
        try:
            first = sums(net, BATCHES[1])
            os._exit(0 if sums(net_from(base), BATCHES[1]) == first else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


STUCK = """
import sys, threading
import numpy as np
sys.path.insert(0, {folder!r})
from test_ahead import net_from, sums
net = net_from({base!r})
sums(net, np.arange(10))
take, here = net.layers[0].samples.take, threading.main_thread()
net.layers[0].samples.take = lambda i: take(i) if threading.current_thread() is here else threading.Event().wait()
net.expect(np.arange(10), 1)
sums(net, np.arange(10))
assert not net.whole.reader._ahead.done.is_set()
print("done")
{end}
"""


@pytest.mark.parametrize(("end", "status"), [("", 0), ("sys.exit(3)", 3), ("raise KeyboardInterrupt", -2)])
def test_reading_that_hangs_does_not_keep_a_process(base, end, status):
    script = STUCK.format(folder=str(Path(__file__).parent), base=base, end=end)
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout == "done\n", found.stderr
    assert found.returncode == status


def test_picture_files_and_hdf5_train_alike_for_any_chunk(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["data"] = rng.normal(size=(COUNT, 2, 5, 6)).astype(np.float32)
        file["label"] = rng.integers(0, 5, COUNT).astype(np.float32)
    (tmp_path / "rows.txt").write_text(f"{tmp_path}/rows.h5\n")
    lines = []
    for n in range(20):
        write_picture(tmp_path / f"{n}.png", rng.integers(0, 256, (3, 6 + n % 3, 7), np.uint8))
        lines.append(f"{n}.png {n % 5}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    hdf5 = f'hdf5_data_param {{ batch_size: 4 shuffle: true source: "{tmp_path}/rows.txt" }}'
    files = (
        f'image_data_param {{ batch_size: 4 shuffle: true source: "{tmp_path}/list.txt" root_folder: "{tmp_path}/" }} '
        "transform_param { crop_size: 5 mirror: true }"
    )
    for kind, rest in (("HDF5Data", hdf5), ("ImageData", files)):
        source = layer("data", kind, "", "data label", rest) + NET
        nets = [net_of(source, chunk=chunk) for chunk in (1, 9, 200)]
        for net in nets:
            sums(net, np.arange(300, 500), 2)
            np.testing.assert_allclose(net.flat.grads, nets[0].flat.grads, rtol=1e-9, atol=1e-12, err_msg=kind)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs affinity")
def test_the_thread_does_not_share_the_core_to_which_the_first_lane_is_pinned(base):
    script = f"""
import os, sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_ahead import np, net_from, sums
from batchbrew.solver.kernels import pin
before = os.sched_getaffinity(0)
pin([min(before)])
net = net_from({base!r})
sums(net, np.arange(150))
print(os.sched_getaffinity(net.whole.reader._thread.native_id) == before)
"""
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout == "True\n", found.stderr
