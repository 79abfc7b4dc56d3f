# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The charts of a page as Vega-Lite specifications. Colours are the page's: its style sheet fills the marks."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from .translations import Words

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_MINUTE = 60_000
_HOUR, _DAY = 60, 24 * 60
_HOURS = {"labelAngle": 0, "labelOverlap": "parity", "labelSeparation": 4}
_FINE = 400
"""So many bars can be told apart."""

_CONFIG: Dict[str, Any] = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "domain": False,
        "ticks": False,
        "labelPadding": 6,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "grid": False,
    },
    "aria": False,
}


def activity(slots: Sequence[Tuple[int, int, int]], words: Words) -> Dict[str, Any]:
    """Entries over time, the sensitive ones among them apart, above a small chart in which a span is chosen.

    ``slots`` are quarters of an hour as minutes of a wall clock's epoch, with all and with sensitive entries.
    """
    fine, coarse = _steps(slots)
    values = _bars(slots, fine)
    small = _bars(slots, coarse)
    extent = [values[0]["t"], values[-1]["u"]] if values else []
    detail = {
        "name": "detail",
        "width": 800,
        "height": 190,
        "data": {"values": values},
        "layer": [_layer("all", "n"), _layer("sensitive", "s")],
        "encoding": {
            "x": {**_time("t"), "scale": {"type": "utc", "domain": {"param": "brush"}}},
            "x2": {"field": "u"},
            "tooltip": [
                {
                    "field": "t",
                    "type": "temporal",
                    "format": "%a %Y-%m-%d %H:%M",
                    "formatType": "utc",
                    "title": words("from"),
                },
                {"field": "n", "type": "quantitative", "title": words("entries")},
                {"field": "s", "type": "quantitative", "title": words("sensitive")},
            ],
        },
    }
    overview = {
        "name": "overview",
        "width": 800,
        "height": 44,
        "data": {"values": small},
        "params": [{"name": "brush", "select": {"type": "interval", "encodings": ["x"]}}],
        "mark": {"type": "rect"},
        "encoding": {
            "x": {**_time("t"), "scale": {"type": "utc"}},
            "x2": {"field": "u"},
            "y": {"field": "n", "type": "quantitative", "axis": None},
            "y2": {"datum": 0},
        },
    }
    return {
        "$schema": _SCHEMA,
        "config": _CONFIG,
        "spacing": 18,
        "usermeta": {"extent": extent},
        "vconcat": [detail, overview],
    }


def rhythm(heat: Sequence[Sequence[int]], words: Words) -> Dict[str, Any]:
    """Entries by weekday and hour."""
    days = words("weekdays").split()
    values = [
        {"d": days[day], "h": hour, "n": entries}
        for day, hours in enumerate(heat)
        for hour, entries in enumerate(hours)
    ]
    return {
        "$schema": _SCHEMA,
        "config": _CONFIG,
        "name": "heat",
        "width": 800,
        "height": 190,
        "data": {"values": values},
        "mark": {"type": "rect", "cornerRadius": 3},
        "encoding": {
            "x": {
                "field": "h",
                "type": "ordinal",
                "title": None,
                "scale": {"padding": 0.08},
                "axis": {"labelAngle": 0},
            },
            "y": {"field": "d", "type": "ordinal", "sort": days, "title": None, "scale": {"padding": 0.08}},
            "fillOpacity": {
                "field": "n",
                "type": "quantitative",
                "legend": None,
                "scale": {"type": "sqrt", "range": [0.06, 1], "domainMin": 0},
            },
            "tooltip": [
                {"field": "d", "type": "ordinal", "title": words("weekday")},
                {"field": "h", "type": "ordinal", "title": words("hour")},
                {"field": "n", "type": "quantitative", "title": words("entries")},
            ],
        },
    }


def _layer(name: str, field: str) -> Dict[str, Any]:
    return {
        "name": name,
        "mark": {"type": "rect", "clip": True},
        "encoding": {
            "y": {"field": field, "type": "quantitative", "title": None, "axis": {"tickCount": 4, "grid": True}},
            "y2": {"datum": 0},
        },
    }


def _time(field: str) -> Dict[str, Any]:
    return {"field": field, "type": "temporal", "title": None, "axis": {"tickCount": 8}}


def _steps(slots: Sequence[Tuple[int, int, int]]) -> Tuple[int, int]:
    """Minutes in a bar of the large chart and of the small one."""
    minutes = slots[-1][0] - slots[0][0] if slots else 0
    if minutes <= 3 * _DAY:
        return 15, _HOUR
    if minutes <= 100 * _DAY:
        return _HOUR, _DAY
    return _DAY, (_DAY if minutes <= _FINE * _DAY else 7 * _DAY)


def _bars(slots: Sequence[Tuple[int, int, int]], step: int) -> List[Dict[str, int]]:
    """A bar for each step with entries: from ``t`` to ``u`` in milliseconds, ``n`` entries, ``s`` sensitive."""
    bars: Dict[int, List[int]] = {}
    for minute, entries, sensitive in slots:
        counts = bars.setdefault(minute // step * step, [0, 0])
        counts[0] += entries
        counts[1] += sensitive
    return [
        {"t": minute * _MINUTE, "u": (minute + step) * _MINUTE, "n": entries, "s": sensitive}
        for minute, (entries, sensitive) in sorted(bars.items())
    ]
