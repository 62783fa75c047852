"""Reports: the same bytes for the same records, a sound page, and every figure of the registry."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from batchbrew.analysis import report
from batchbrew.analysis.checklist import answers
from batchbrew.analysis.inline import inline
from batchbrew.analysis.load import load
from batchbrew.analysis.plots import FIGURES
from batchbrew.analysis.records import StudyData
from batchbrew.errors import UserError

Make = Callable[..., Path]
CLEAN = {"censored": (), "diverged": (), "missing": ()}
TINY = {"batches": (32, 128), "nodes": (1, 2), "seeds": (1, 2)} | CLEAN
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Check nesting while reading, and keep every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def written(study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.write(study_folder, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def page(written: Path) -> Page:
    return Page(written.read_text(encoding="utf-8"))


def test_a_report_has_all_its_files(written: Path) -> None:
    assert written.name == "index.html"
    tables = ("headline", "runs", "fits", "critical_batches", "best_batches")
    names = {path.name for path in written.parent.glob("*.csv")}
    assert names == {f"{name}.csv" for name in (*tables, *FIGURES)}
    for name in FIGURES:
        assert (written.parent / "figures" / f"{name}.svg").read_bytes().startswith(b"<?xml")
        assert (written.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(written.parent.rglob("*.tmp"))


def test_the_same_records_give_the_same_bytes(make_study: Make, tmp_path: Path) -> None:
    folder = make_study(**TINY)
    first, second = (report.write(folder, tmp_path / name).parent for name in ("one", "two"))
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert len(files) > 15
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


def test_the_page_asks_nothing_of_the_network(written: Path, page: Page) -> None:
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(\s*['\"]?(?!#)|@import|//cdn", text)
    assert not page.all("script") and not page.all("link")
    for tag, attributes in page.tags:
        for key in ("src", "href", "data"):
            target = attributes.get(key)
            if target and not target.startswith("#"):
                assert tag == "a" and (written.parent / target).is_file(), target


def test_ids_are_unique_and_every_link_within_the_page_arrives(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for _, attributes in page.tags:
        target = attributes.get("href") or ""
        if target.startswith("#"):
            assert target[1:] in ids, target


def test_the_page_can_be_used_without_eyes_or_mouse(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    links = page.all("a")
    assert links[0]["class"] == "skip" and links[0]["href"] == "#content"
    assert len(page.all("main")) == len(page.all("h1")) == 1
    pictures = page.all("svg") + page.all("img")
    assert len(pictures) == len(FIGURES.names())
    assert all(picture["role"] == "img" and len(picture["aria-label"] or "") > 40 for picture in pictures)
    tables = len(page.all("table"))
    assert tables == len(page.all("caption")) == len(page.all("thead"))
    assert all(head.get("scope") in ("col", "row") for head in page.all("th"))
    assert all(r["tabindex"] == "0" and r["aria-label"] for r in page.all("div") if r.get("role") == "region")


def test_headings_do_not_skip_levels(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_the_page_knows_dark_light_and_print(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert "currentColor" in text and "var(--grid)" in text


def test_what_went_wrong_is_on_the_page(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    for words in ("censored (epochs)", "diverged", "missing", "4 of 4, 1 open", "1 of 90 runs not started"):
        assert words in text
    assert "strong scaling (fixed global batch)" in text and "1 thread a node" in text
    assert "step times without the first 5 updates" in text and "4 to 5 seeds a cell" in text


def test_json_holds_all_numbers(written: Path) -> None:
    content = json.loads((written.parent / "report.json").read_text(encoding="utf-8"))
    assert content["format"] == 1 and content["target"] == 0.7
    assert len(content["tables"]["runs"]) == 90
    assert set(content["figures"]) == set(FIGURES)
    assert content["reproducibility"]["blas"] == "openblas 0.3.30"
    assert content["reproducibility"]["git"] == "0123abc"
    assert [a["status"] for a in content["checklist"]].count("yours to say") == 1
    constants = {row["symbol"]: row for row in content["tables"]["fits"]}
    assert constants["b_half"]["value"] == pytest.approx(16, rel=0.05)
    assert constants["B_crit"]["low"] < constants["B_crit"]["value"] < constants["B_crit"]["high"]
    critical = {row["definition"]: row["batch"] for row in content["tables"]["critical_batches"]}
    assert critical["noise_scale"] is None
    assert critical["twenty_percent"] == pytest.approx(1.2 * 32 + 0.2 * critical["hyperbola"])


def test_csv_can_be_read_back(written: Path) -> None:
    with (written.parent / "headline.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 18
    assert {row["scaling"] for row in rows} == {"strong"}
    assert [row["batch"] for row in rows if row["is_base"] == "true"] == ["64"]


def test_a_single_run_has_a_report(make_study: Make) -> None:
    folder = make_study(**TINY) / "runs" / "b128-n2-s1-linear"
    index = report.write(folder)
    assert index == folder / "report" / "index.html"
    text = index.read_text(encoding="utf-8")
    Page(text)
    assert {path.stem for path in (folder / "report" / "figures").glob("*.svg")} == {"breakdown", "learning_curves"}
    assert "It reached accuracy 0.7 after" in text and "nothing can be said about its spread" in text


@pytest.mark.parametrize("fate", ["running", "diverged", "censored"])
def test_a_single_run_that_did_not_arrive_has_a_report(make_study: Make, fate: str) -> None:
    settings = TINY | {fate: ((32, 1, 1),)}
    text = report.write(make_study(**settings) / "runs" / "b32-n1-s1-linear").read_text(encoding="utf-8")
    Page(text)
    words = {"running": "has not finished", "diverged": "ended by 'diverged'", "censored": "did not reach accuracy 0.7"}
    assert words[fate] in text.replace("&#39;", "'")


def test_a_study_that_has_not_begun_has_a_report(make_study: Make) -> None:
    cells = tuple((b, n, s) for b in (32, 128) for n in (1, 2) for s in (1, 2))
    text = report.write(make_study(**(TINY | {"missing": cells}))).read_text(encoding="utf-8")
    Page(text)
    assert "None of the 8 planned runs has finished yet" in text


def test_weak_scaling_with_several_rules_has_a_report(make_study: Make) -> None:
    folder = make_study(**(TINY | {"scaling": "weak", "lr_rules": ("linear", "none"), "batches": (32,)}))
    text = report.write(folder).read_text(encoding="utf-8")
    Page(text)
    assert "weak scaling (fixed batch per node)" in text and "32 samples a node, lr none" in text


def test_names_are_text_not_markup(make_study: Make) -> None:
    folder = make_study(**TINY)
    path = folder / "study.json"
    path.write_text(path.read_text().replace('"simulated"', '"<script>alert(1)</script> & $x_2$"'))
    text = report.write(folder).read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;alert(1)&lt;/script&gt; &amp; $x_2$" in text


def test_a_place_that_cannot_be_written_is_named(make_study: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write: File exists; choose another place for the report"):
        report.write(make_study(**TINY), tmp_path / "file")


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_figure_tells_itself(name: str, study: StudyData) -> None:
    drawing = FIGURES.get(name)(study)
    assert drawing is not None
    assert isinstance(drawing.figure, Figure)
    assert drawing.table.name == name and drawing.table.rows
    assert "Strong scaling (fixed global batch)" in drawing.caption and "not oversubscribed" in drawing.caption
    assert len(drawing.alt) > 40 and drawing.title
    for axis in drawing.figure.axes:
        assert axis.get_xlabel(), "every axis says what it shows"


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_figure_copes_with_nothing(name: str, make_study: Make) -> None:
    cells = tuple((b, n, s) for b in (32, 128) for n in (1, 2) for s in (1, 2))
    assert FIGURES.get(name)(load(make_study(**(TINY | {"missing": cells, "calibrate": False})))) is None


def test_figures_say_when_cores_were_shared(make_study: Make) -> None:
    drawing = FIGURES.get("speedup")(load(make_study(**TINY, environment={"oversubscribed": True})))
    assert drawing is not None and "8 of 8 runs oversubscribed (more threads than cores)" in drawing.caption


def test_measured_points_are_not_joined(study: StudyData) -> None:
    drawing = FIGURES.get("speedup")(study)
    assert drawing is not None
    dashed = [line for axis in drawing.figure.axes for line in axis.lines if line.get_linestyle() not in ("None", "")]
    assert {line.get_label() for line in dashed} == {"ideal"}


def test_the_report_needs_no_pyplot_and_no_other_part_of_the_project() -> None:
    code = "import sys, batchbrew.analysis.report; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    parts = ("runner", "solver", "protos", "flux_jobs", "netdefs")
    assert not {"matplotlib.pyplot", "mpi4py", *(f"batchbrew.{part}" for part in parts)} & set(loaded)


def test_the_checklist_has_twelve_answers(study: StudyData) -> None:
    found = answers(study)
    assert len(found) == 12 and all(answer.answer for answer in found)


def test_inline_leaves_colours_and_prefixes_references() -> None:
    svg = (
        '<?xml version="1.0"?><svg xmlns="http://x" viewBox="0 0 9 9" width="9pt"><metadata>http://y</metadata>'
        '<path id="m1"/><g id="unused"/><use xlink:href="#m1"/><rect fill="#d55e00" style="clip-path: url(#m1)"/></svg>'
    )
    assert inline(svg, "f", 'a "b"') == (
        '<svg role="img" aria-label="a &quot;b&quot;" viewBox="0 0 9 9" style="max-width:12px">'
        '<path id="f-m1"/><g/><use href="#f-m1"/><rect fill="#d55e00" style="clip-path: url(#f-m1)"/></svg>'
    )
