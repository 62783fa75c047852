"""Whole files or nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from batchbrew import atomic


def test_text_and_bytes(tmp_path):
    atomic.write(tmp_path / "text", "grün\n")
    atomic.write(tmp_path / "text", b"new")
    assert (tmp_path / "text").read_bytes() == b"new"
    atomic.write(tmp_path / "odd", os.fsdecode(b"\xff"))
    assert (tmp_path / "odd").read_bytes() == b"\xff"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd", "text"]


@pytest.mark.parametrize(("mode", "expected"), [(0o666, 0o640), (0o700, 0o700)])
def test_mode(tmp_path, mode, expected):
    before = os.umask(0o027)
    try:
        atomic.write(tmp_path / "file", "x", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == expected


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    def fill(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    atomic.write(tmp_path / "file", "old")
    with pytest.raises(KeyboardInterrupt):
        atomic.replace(tmp_path / "file", fill)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    with pytest.raises(OSError, match="No such file"):
        atomic.write(tmp_path / "none" / "file", "x")
