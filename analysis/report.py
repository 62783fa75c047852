"""Write the report of a study or of a single run: one self-contained page, CSV, JSON and figures."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from batchbrew.analysis import checklist, fit_tables, reproducibility, run_table
from batchbrew.analysis.files import write as write_file
from batchbrew.analysis.findings import Findings, find
from batchbrew.analysis.headline import headline
from batchbrew.analysis.inline import inline
from batchbrew.analysis.load import load
from batchbrew.analysis.plots import Drawing, draw_all
from batchbrew.analysis.plots.style import applied
from batchbrew.analysis.records import StudyData
from batchbrew.analysis.summary import sentences
from batchbrew.analysis.tables import Table, View

TEMPLATES = Path(__file__).parent / "templates"
PIXELS_PER_INCH = 200


@dataclass(frozen=True)
class Section:
    """A part of the page: tables under a heading."""

    anchor: str
    title: str
    views: tuple[View, ...]


@dataclass(frozen=True)
class Plot:
    """A figure of the page."""

    name: str
    title: str
    caption: str
    svg: Markup


def write(study_dir: Path, out: Path | None = None) -> Path:
    """Write the report on the study or run in ``study_dir`` into ``out`` and return its index.html.

    ``out`` is ``study_dir``/report by default. Besides the page there are report.json with all
    numbers, a CSV file for every table and figure, and figures/*.svg and *.png. The same records give
    the same bytes: nothing is dated. Raises UserError for a folder that holds neither, a damaged
    record, or a place that cannot be written.
    """
    study = load(study_dir)
    folder = out if out is not None else study_dir / "report"
    drawings = draw_all(study)
    for table in tables(study):
        write_file(folder / f"{table.name}.csv", table.csv())
    plots = []
    for name, drawing in drawings.items():
        svg = render_svg(drawing.figure)
        write_file(folder / f"{name}.csv", drawing.table.csv())
        write_file(folder / "figures" / f"{name}.svg", svg)
        write_file(folder / "figures" / f"{name}.png", render_png(drawing.figure))
        plots.append(Plot(name, drawing.title, drawing.caption, Markup(inline(svg, name, drawing.alt))))
    write_file(folder / "report.json", as_json(study, drawings))
    write_file(folder / "index.html", page(study, plots))
    return folder / "index.html"


def tables(study: StudyData) -> tuple[Table, ...]:
    """Return the tables of the report, those without rows left out."""
    findings = find(study)
    found = (
        headline(study).table(),
        run_table.runs_table(study),
        fit_tables.constants_table(findings),
        fit_tables.critical_table(findings),
        fit_tables.best_table(findings),
    )
    return tuple(table for table in found if table.rows)


def as_json(study: StudyData, drawings: dict[str, Drawing]) -> str:
    """Return all numbers of the report as JSON text; numbers that are not finite are null."""
    findings, head = find(study), headline(study)
    content = {
        "format": 1,
        "study": study.name,
        "scaling": study.scaling,
        "metric": study.metric,
        "target": study.target,
        "single": study.single,
        "base": head.base,
        "summary": sentences(study),
        "warnings": [*findings.warnings, *head.notes],
        "tables": {table.name: table.records() for table in tables(study)},
        "figures": {name: drawing.table.records() for name, drawing in drawings.items()},
        "reproducibility": dict(reproducibility.facts(study)),
        "checklist": [asdict(answer) for answer in checklist.answers(study)],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def page(study: StudyData, plots: list[Plot]) -> str:
    """Return the HTML page."""
    findings, head = find(study), headline(study)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        study=study,
        kind="run" if study.single else "study",
        sentences=sentences(study),
        warnings=[*findings.warnings, *head.notes],
        headline=None if study.single or not head.rows else head.view(),
        plots=plots,
        sections=_sections(study, findings),
    )


def render_svg(figure: Figure) -> str:
    """Return the figure as SVG text, equal for equal figures."""
    out = io.StringIO()
    with applied():
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        # Laying out is the slow part: the places found hold for the PNG as well.
        figure.set_layout_engine("none")
    return out.getvalue()


def render_png(figure: Figure) -> bytes:
    """Return the figure as a PNG file, equal for equal figures; as laid out when it was rendered before."""
    out = io.BytesIO()
    with applied():
        figure.savefig(out, format="png", dpi=PIXELS_PER_INCH, metadata={"Software": None})
    return out.getvalue()


def _sections(study: StudyData, findings: Findings) -> list[Section]:
    fits = tuple(
        view
        for view in (
            fit_tables.constants_view(findings),
            fit_tables.critical_view(findings),
            fit_tables.best_view(findings),
        )
        if view.rows
    )
    found = [
        Section("fits", "Fitted constants", fits),
        Section("runs", "The run" if study.single else "All runs", (run_table.runs_view(study),)),
        Section("reproducibility", "Reproducibility", (reproducibility.view(study),)),
    ]
    if not study.single:
        found.append(Section("checklist", "Reporting checklist", (checklist.view(study),)))
    return [section for section in found if section.views]
