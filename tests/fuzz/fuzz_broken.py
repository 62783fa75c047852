"""Targets that fail in each way a campaign must notice."""

from __future__ import annotations

import ctypes
import os
import time

import numpy as np
from fuzz_base import Target
from fuzz_mutations import BINARY

from batchbrew.errors import UserError
from batchbrew.registry import Registry

TARGETS: Registry[type[Target]] = Registry("broken target")


class _Broken(Target):
    ways = BINARY

    def seeds(self) -> list[bytes]:
        return [b"good"]


@TARGETS.register("segfault")
class Segfault(_Broken):
    def run(self) -> None:
        if self.file.read_bytes() != b"good":
            ctypes.string_at(0)


@TARGETS.register("hang")
class Hang(_Broken):
    def run(self) -> None:
        if self.file.read_bytes() != b"good":
            time.sleep(60)


@TARGETS.register("raise")
class Raise(_Broken):
    def run(self) -> None:
        raise KeyError("no such thing")


@TARGETS.register("two lines")
class TwoLines(_Broken):
    def run(self) -> None:
        error = UserError("")
        error.args = ("one\ntwo",)
        raise error


@TARGETS.register("memory")
class Memory(_Broken):
    def run(self) -> None:
        np.ones(1 << 40, np.uint8)


@TARGETS.register("exit")
class Exit(_Broken):
    def run(self) -> None:
        os._exit(0)


@TARGETS.register("fine")
class Fine(_Broken):
    def run(self) -> None:
        if self.file.read_bytes() != b"good":
            raise UserError("spoilt")
