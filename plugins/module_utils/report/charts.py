# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The charts of a page as Vega-Lite specifications. The page's style sheet sets the colours."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from .alerts import AlertGroup
from .entry_rows import EntryRows
from .report_data import MissingPart, ReportData
from .translations import Translator

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_MINUTE = 60_000
_HOUR, _DAY = 60, 24 * 60
_HOURS = {"labelAngle": 0, "labelOverlap": "parity", "labelSeparation": 4}
_AXIS = {"type": "utc", "nice": False}
_FINE = 400
"""Maximum number of bars that can be distinguished."""

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


def activity(
    data: ReportData,
    severe: Sequence[AlertGroup],
    missing_parts: Sequence[Tuple[MissingPart, str]],
    rows: EntryRows,
    words: Translator,
) -> Dict[str, Any]:
    """Entries over the time range, with own automation separate, above a small chart to select a part of the range.

    Both charts have the same axis and show the missing parts. ``severe`` alerts are marked.
    """
    fine, coarse = _steps(data.axis)
    axis = [minute * _MINUTE for minute in data.axis]
    # Bars without height extend the axis to the complete range if no part is selected.
    ends = [{"t": moment, "u": moment, "n": 0, "s": 0} for moment in axis]
    values = [*_bars(data.slots, fine, data.axis), *ends]
    missing = [{"t": part.start * _MINUTE, "u": part.end * _MINUTE, "why": why} for part, why in missing_parts]
    marked = [
        {"t": rows.minute(alert.time) * _MINUTE, "a": words.detection(group.detection.title)}
        for group in severe
        for alert in group.newest
        if alert.time is not None
    ]
    x = _time(data.axis, words)
    form = f"%a {words.day} %H:%M"
    detail = {
        "name": "detail",
        "width": 800,
        "height": 190,
        "layer": [
            *([_missing("missing", missing, words, x)] if missing else []),
            # One layer defines the axis of all layers; Vega-Lite reports several as a conflict.
            _layer("all", values, "n", form, words, {**x, "scale": {**_AXIS, "domain": {"param": "brush"}}}),
            *([_layer("own", values, "s", form, words, x)] if data.own else []),
            *([_alerts(marked, form, words, x)] if marked else []),
        ],
    }
    overview = {
        "name": "overview",
        "width": 800,
        "height": 44,
        "layer": [
            *([_missing("gaps", missing, words, x)] if missing else []),
            {
                "name": "small",
                "data": {"values": [*_bars(data.slots, coarse, data.axis), *ends]},
                "params": [{"name": "brush", "select": {"type": "interval", "encodings": ["x"]}}],
                "mark": {"type": "rect", "clip": True},
                "encoding": {
                    "x": {**x, "scale": _AXIS},
                    "x2": {"field": "u"},
                    "y": {"field": "n", "type": "quantitative", "axis": None},
                    "y2": {"datum": 0},
                },
            },
        ],
    }
    return {
        "$schema": _SCHEMA,
        "config": _CONFIG,
        "spacing": 18,
        "usermeta": {"axis": axis},
        "vconcat": [detail, overview],
    }


def rhythm(heat: Sequence[Sequence[int]], words: Translator) -> Dict[str, Any]:
    """Entries by weekday and hour."""
    days = words("weekdays").split()
    values = [
        {"d": days[day], "i": day, "h": hour, "n": entries}
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
                "axis": _HOURS,
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


def _layer(
    name: str, values: List[Dict[str, int]], field: str, form: str, words: Translator, x: Dict[str, Any]
) -> Dict[str, Any]:
    return {
        "name": name,
        "data": {"values": values},
        "mark": {"type": "rect", "clip": True},
        "encoding": {
            "x": x,
            "x2": {"field": "u"},
            "y": {"field": field, "type": "quantitative", "title": None, "axis": {"tickCount": 4, "grid": True}},
            "y2": {"datum": 0},
            "tooltip": [
                {"field": "t", "type": "temporal", "format": form, "formatType": "utc", "title": words("from")},
                {"field": "n", "type": "quantitative", "title": words("entries")},
                {"field": "s", "type": "quantitative", "title": words("own")},
            ],
        },
    }


def _missing(name: str, values: List[Dict[str, Any]], words: Translator, x: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "name": name,
        "data": {"values": values},
        "mark": {"type": "rect", "clip": True},
        "encoding": {
            "x": x,
            "x2": {"field": "u"},
            "tooltip": [{"field": "why", "type": "nominal", "title": words("gaps")}],
        },
    }


def _alerts(values: List[Dict[str, Any]], form: str, words: Translator, x: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "name": "alerts",
        "data": {"values": values},
        "mark": {"type": "point", "shape": "triangle-down", "size": 160, "filled": True, "yOffset": 6},
        "encoding": {
            "x": x,
            "y": {"value": 0},
            "tooltip": [
                {"field": "t", "type": "temporal", "format": form, "formatType": "utc", "title": words("when")},
                {"field": "a", "type": "nominal", "title": words("alert")},
            ],
        },
    }


def _time(axis: Tuple[int, int], words: Translator) -> Dict[str, Any]:
    day, date = ("%b %-d", "%b %-d") if words.language == "en" else ("%-d.%-m.", "%-d. %b")
    days = (axis[1] - axis[0]) // _DAY
    form = f"{day} %H:%M" if days <= 5 else date if days <= 200 else "%b %Y"
    return {"field": "t", "type": "temporal", "title": None, "axis": {"tickCount": 8, "format": form}}


def _steps(axis: Tuple[int, int]) -> Tuple[int, int]:
    """Minutes in a bar of the large chart and of the small one."""
    minutes = axis[1] - axis[0]
    if minutes <= 3 * _DAY:
        return 15, _HOUR
    if minutes <= 100 * _DAY:
        return _HOUR, _DAY
    return _DAY, (_DAY if minutes <= _FINE * _DAY else 7 * _DAY)


def _bars(slots: Sequence[Tuple[int, int, int]], step: int, axis: Tuple[int, int]) -> List[Dict[str, int]]:
    """A bar for each step with entries: from ``t`` to ``u`` in milliseconds, ``n`` entries, ``s`` own ones.

    None goes beyond the axis.
    """
    bars: Dict[int, List[int]] = {}
    for minute, entries, own in slots:
        counts = bars.setdefault(minute // step * step, [0, 0])
        counts[0] += entries
        counts[1] += own
    return [
        {
            "t": max(minute, axis[0]) * _MINUTE,
            "u": max(min(minute + step, axis[1]), axis[0] + 1) * _MINUTE,
            "n": entries,
            "s": own,
        }
        for minute, (entries, own) in sorted(bars.items())
    ]
