"""Make an SVG file part of an HTML page: no foreign names, no clashing ids, colours of the reader's theme."""

from __future__ import annotations

import re
from html import escape

from batchbrew.analysis.plots.style import COLORS, GRID, INK, MUTED, PAPER

THEME = {
    COLORS[0]: "var(--blue)",
    INK: "currentColor",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
}

# Not every "#" is a reference: "#0072b2" is a colour.
REFERENCE = re.compile(r"(?:url\(|href=\")#([^\")]+)")


def inline(svg: str, name: str, label: str) -> str:
    """Return the ``<svg>`` element of ``svg`` for an HTML page, labelled for those who do not see it.

    ``name`` goes before every id, so that figures of one page do not take each other's markers.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = svg.replace("xlink:href", "href")
    used = set(REFERENCE.findall(svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = REFERENCE.sub(lambda m: m[0].replace("#", f"#{name}-"), svg)
    for colour, variable in THEME.items():
        svg = svg.replace(colour, variable)
    box = re.search(r'viewBox="([^"]+)"', svg)
    size = re.search(r'width="([\d.]+)pt"', svg)
    assert box is not None and size is not None, "matplotlib writes both"
    # In points as drawn when there is room, smaller when there is none.
    opening = (
        f'<svg role="img" aria-label="{escape(label, quote=True)}" viewBox="{box[1]}" '
        f'style="max-width:{float(size[1]) * 4 / 3:.0f}px">'
    )
    return opening + svg[svg.index(">") + 1 :].strip()
