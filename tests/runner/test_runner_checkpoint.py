from __future__ import annotations

import shutil

import h5py
import numpy as np
import pytest
from runner_support import here, make_spec, new_folder, outputs, values

from batchbrew.errors import UserError
from batchbrew.runner import checkpoint
from batchbrew.runner.spec import Stop


def state(update=3, **changes) -> checkpoint.State:
    spec = make_spec()
    fields = {
        "values": np.arange(5, dtype=np.float32), "history": [np.ones(5, np.float32), np.zeros(5, np.float32)],
        "update": update, "samples": 36, "run_id": spec.run_id, "trajectory": spec.trajectory, "record_offset": 77,
        "wall_seconds": 1.5, "ledger": {"save": 0.5},
    }  # fmt: skip
    return checkpoint.State(**(fields | changes))


def test_round_trip(tmp_path):
    checkpoint.save(tmp_path, state())
    found = checkpoint.load(tmp_path / "state.h5")
    for name, value in vars(state()).items():
        np.testing.assert_equal(getattr(found, name), value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state.h5"]


def test_the_previous_state_is_kept(tmp_path):
    for update in (1, 2, 3):
        checkpoint.save(tmp_path, state(update))
    assert checkpoint.load(tmp_path / "state.h5").update == 3
    assert checkpoint.load(tmp_path / "state.prev.h5").update == 2


def damage_cut(path):
    path.write_bytes(path.read_bytes()[:-700])


def damage_empty(path):
    path.write_bytes(b"")


def damage_bits(path):
    with h5py.File(path, "r+") as file:
        file["values"][2] = 9


@pytest.mark.parametrize("damage", [damage_cut, damage_empty, damage_bits])
def test_an_unreadable_newest_state_gives_way_to_the_previous(tmp_path, damage):
    checkpoint.save(tmp_path, state(1))
    checkpoint.save(tmp_path, state(2))
    damage(tmp_path / "state.h5")
    told = []
    found, path = checkpoint.load_newest(tmp_path, state().run_id, told.append)
    assert found.update == 1
    assert path.name == "state.prev.h5"
    assert len(told) == 1
    assert told[0].endswith("going on from state.prev.h5, update 1")
    (tmp_path / "state.prev.h5").unlink()
    with pytest.raises(UserError, match=r"state\.h5: (cannot be read as a saved state|is damaged)"):
        checkpoint.load_newest(tmp_path, state().run_id, told.append)


def test_a_kill_between_the_two_renames_leaves_the_previous(tmp_path):
    checkpoint.save(tmp_path, state(1))
    (tmp_path / "state.h5").rename(tmp_path / "state.prev.h5")
    (tmp_path / ".state.h5.1.tmp").write_bytes(b"half")
    found, _ = checkpoint.load_newest(tmp_path, state().run_id, pytest.fail)
    assert found.update == 1


def test_no_state_is_no_error(tmp_path):
    assert checkpoint.load_newest(tmp_path, "x", pytest.fail) is None


def test_foreign_files_are_refused(tmp_path):
    with h5py.File(tmp_path / "state.h5", "w") as file:
        file["iter"] = [3]
    with pytest.raises(UserError, match=r"state\.h5: is no saved state of batchbrew"):
        checkpoint.load(tmp_path / "state.h5")
    assert not checkpoint.is_state(tmp_path / "state.h5")


def test_another_format_is_refused(tmp_path):
    checkpoint.save(tmp_path, state())
    with h5py.File(tmp_path / "state.h5", "r+") as file:
        file.attrs["format"] = 2
    with pytest.raises(UserError, match="has format 2, this version reads 1"):
        checkpoint.load(tmp_path / "state.h5")


def test_the_state_of_another_run_is_refused(tmp_path):
    checkpoint.save(tmp_path, state())
    with pytest.raises(UserError, match=r"was saved by run .*, this is other: use another folder"):
        checkpoint.load_newest(tmp_path, "other", pytest.fail)


def snapshot_of(path, into, **changes):
    return new_folder(into, start=str(path), start_kind="snapshot", start_digest=_digest(path), **changes)


def _digest(path):
    from batchbrew.runner.start import file_digest

    return file_digest(path)


def half_done(tmp_path):
    folder = new_folder(tmp_path / "half", stop=Stop(updates=20))
    here(folder)
    return folder


def test_a_saved_state_is_taken_up_by_a_new_run(tmp_path):
    whole = new_folder(tmp_path / "whole")
    here(whole)
    rest = snapshot_of(half_done(tmp_path).path / "state.h5", tmp_path / "rest")
    here(rest)
    np.testing.assert_array_equal(values(rest), values(whole))
    assert outputs(rest)[-1] == outputs(whole)[-1]


def test_a_state_of_another_trajectory_is_refused(tmp_path):
    rest = snapshot_of(half_done(tmp_path).path / "state.h5", tmp_path / "rest", batch=24)
    with pytest.raises(UserError, match=r"state\.h5: was saved by a run with batch 12, this one has 24"):
        here(rest)


def test_a_snapshot_that_changed_since_planning_is_refused(tmp_path):
    path = half_done(tmp_path).path / "state.h5"
    copy = tmp_path / "copy.h5"
    shutil.copy(path, copy)
    rest = snapshot_of(copy, tmp_path / "rest")
    copy.write_bytes(b"other")
    with pytest.raises(UserError, match="has changed since the run was planned"):
        here(rest)
