"""Data sets: preparing them once into one memory-mapped file, and cutting, mirroring and scaling their pictures."""

from __future__ import annotations

from batchbrew.solver.data import dataset
from batchbrew.solver.data.sources import SOURCES

__all__ = ["SOURCES", "dataset"]
