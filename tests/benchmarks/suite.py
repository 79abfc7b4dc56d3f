# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All ways to fetch entries, over sizes and latencies: tables; --into writes a chart (SVG) and the figures (JSON).

Meant for an idle machine: python3 dev.py long benchmarks. With --small it only shows that all of it runs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import vl_convert
from queries import Case, print_comparison

SMALL = [Case(200, page_size=50, latency=5)]
GROWTH = [Case(1_000), Case(10_000), Case(100_000), Case(1_000_000)]
LATENCIES = [Case(10_000, latency=latency) for latency in (20, 50, 200)]
PAGES = [Case(10_000, page_size=size, latency=20) for size in (10, 1_000)]
FAR = [Case(100_000, latency=50)]
WHOLE = [*GROWTH, *LATENCIES, *PAGES, *FAR]
# From so many entries on, one round is long enough to tell.
_LARGE = 100_000


def panel(figures: list[dict[str, Any]], title: str, kept: dict[str, int], x: str, y: str, unit: str) -> dict[str, Any]:
    """Chart the figures with these values: a line for each way, logarithmic except for latency (can be 0)."""
    rows = [row for row in figures if all(row[name] == value for name, value in kept.items())]

    def axis(field: str, text: str) -> dict[str, Any]:
        scale = "symlog" if field == "latency" else "log"
        ticks = {"tickCount": 5, "format": "~s"}
        return {"field": field, "type": "quantitative", "title": text, "scale": {"type": scale}, "axis": ticks}

    return {
        "title": title,
        "width": 330,
        "height": 240,
        "data": {"values": rows},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": axis(x, x.replace("_", " ")),
            "y": axis(y, unit),
            "color": {"field": "way", "type": "nominal", "title": None, "sort": None},
        },
    }


def chart(figures: list[dict[str, Any]]) -> str:
    """The figures as one picture."""
    near = {"page_size": 200, "latency": 0}
    panels = [
        panel(figures, "Time by entries", near, "entries", "seconds", "seconds"),
        panel(figures, "Memory by entries", near, "entries", "peak", "MiB of the largest process"),
        panel(
            figures,
            "Time by latency (ms), 10,000 entries",
            {"page_size": 200, "entries": 10_000},
            "latency",
            "seconds",
            "seconds",
        ),
        panel(
            figures,
            "Time by page size, 10,000 entries, 20 ms",
            {"latency": 20, "entries": 10_000},
            "page_size",
            "seconds",
            "seconds",
        ),
    ]
    picture = {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "concat": panels, "columns": 2}
    return str(vl_convert.vegalite_to_svg(picture))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=Path, metavar="DIRECTORY")
    given = parser.parse_args()
    figures = []
    for case in SMALL if given.small else WHOLE:
        figures += print_comparison(case, given.rounds if case.entries < _LARGE and not given.small else 1)
    drawn = chart(figures)
    if given.into:
        given.into.mkdir(parents=True, exist_ok=True)
        (given.into / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
        (given.into / "figures.svg").write_text(drawn)


if __name__ == "__main__":
    main()
