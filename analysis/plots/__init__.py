"""The figures of a report: one module each, found by being in this folder.

A figure is a function from StudyData to a Drawing, or to None when the study has nothing to show::

    @FIGURES.register("my_figure")
    @styled
    def draw(study: StudyData) -> Drawing | None: ...
"""

from __future__ import annotations

import importlib
import pkgutil

from batchbrew.analysis.plots.drawing import FIGURES, Drawing
from batchbrew.analysis.records import StudyData

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def draw_all(study: StudyData) -> dict[str, Drawing]:
    """Return every figure the study has data for, by name, in the order they are read."""
    drawn = {name: FIGURES.get(name)(study) for name in FIGURES}
    found = [(drawing.order, name, drawing) for name, drawing in drawn.items() if drawing is not None]
    return {name: drawing for _, name, drawing in sorted(found, key=lambda item: item[:2])}


__all__ = ["FIGURES", "Drawing", "draw_all"]
