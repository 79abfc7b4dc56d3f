# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report as one self-contained HTML page, with charts by Vega-Lite and a table of entries by DataTables.

The JavaScript of both is from Python packages (vl-convert-python, itables), so that nothing is downloaded or copied.
Texts of entries stay text: the template and the script escape them, and the page's policy allows only its own scripts.
The libraries are compressed to less than half of their size, and the charts' library is loaded after the table.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterable, List, Tuple

from ..detections.detection import SEVERITIES
from . import charts
from .alerts import ALERTS_LISTED
from .analysis import MAX_MESSAGES
from .entry_rows import MAX_ROWS, EntryRows
from .layout import kind_words, render
from .packing import DataFile, compressed, packed
from .page_template import TEMPLATE
from .query.dataset import Record
from .report_data import FIGURES, MissingPart, ReportData, ValueCount, local_days
from .script import SCRIPT
from .tabular import COLUMNS
from .translations import Translator, reason

LIBRARIES = {"jinja2": "jinja2", "vl_convert": "vl-convert-python", "itables": "itables"}
"""The modules for the template, the charts and the table, with the library that provides each."""

MAX_PRINTED = 1_000
"""Maximum number of printed rows of the table."""

_LISTED = 10
_MAX_RANKED = 500
_MAX_RESOURCES = 50
_LONG_NAME = 12
"""Length of a project's name above which its column is wider."""

_EXPORT = re.compile(r"export\s*\{(?:[^}]*[,{\s])?(\S+) as default[^}]*\};?")


def page(data: ReportData, records: Iterable[Record], rows: EntryRows, data_file: DataFile) -> str:
    """The page. ``records`` are the entries of its table, newest first."""
    from markupsafe import Markup

    say = Translator(data.heading.language)
    libraries = (_table_library(), _chart_library()) if data.entries else ()
    missing_parts = [(part, _reason(data, part, say)) for part in data.missing_parts]
    severe = [group for group in data.alerts.groups if group.detection.severity in ("critical", "high")]
    many = len(data.projects) > 1
    page_data = {
        "words": _words(say),
        "charts": {
            "activity": charts.activity(data, severe, missing_parts, rows, say),
            "rhythm": charts.rhythm(data.heat, say),
        },
        "columns": _columns(many, say),
        "alerts": [
            {
                "name": group.detection.name,
                "title": say.detection(group.detection.title),
                "check": say.detection(group.detection.check),
                "severity": group.detection.severity,
            }
            for group in data.alerts.groups
        ],
        "zone": data.heading.zone,
        "printed": MAX_PRINTED,
    }
    return render(
        TEMPLATE,
        data,
        scripts=(*libraries, SCRIPT),
        sections=_sections(data),
        groups=[(group, [rows.alert(alert) for alert in group.newest]) for group in data.alerts.groups],
        alerts_listed=ALERTS_LISTED,
        inactive=_inactive(data, say),
        any_first=any(data.firsts.values()),
        compared=_compared(data, say),
        figure_words=FIGURES,
        has_severe=bool(severe),
        reasons=list(dict.fromkeys(text for _part, text in missing_parts)),
        many=many,
        has_long_names=any(len(name) > _LONG_NAME for name in data.projects),
        days=local_days(data.slots),
        weekdays=say("weekdays").split(),
        busiest=_busiest(data, say),
        filter_of=lambda key, count: _filter_of(key, count, many),
        max_messages=MAX_MESSAGES,
        listed=_LISTED,
        ranked=_MAX_RANKED,
        ranked_resources=_MAX_RESOURCES,
        most_rows=MAX_ROWS,
        printed=MAX_PRINTED,
        page_data=Markup(_json(page_data)),
        packed=Markup(packed(data, records, rows, data_file)),
        table_library=Markup(compressed(libraries[0]) if libraries else ""),
        chart_library=Markup(compressed(libraries[1]) if libraries else ""),
        script=Markup(SCRIPT),
    )


def _filter_of(key: str, count: ValueCount, many: bool) -> Dict[str, str]:
    """The filter that shows the entries of a ranked value."""
    if key == "resource":
        project = {"project": count.project} if many else {}
        return {key: f"{count.kind}:{count.name}", **project}
    return {key: f"{count.kind}:{count.name}" if count.kind else count.name}


def _sections(data: ReportData) -> List[Tuple[str, str]]:
    """The page's sections: id and name of each."""
    found = [("attention", "attention"), ("first-seen", "first_seen"), ("totals", "totals"), ("over-time", "activity")]
    found += [("who-and-what", "who_and_what"), ("rhythm-of-work", "rhythm")]
    found += [("coverage", "coverage"), ("all", "all_entries")]
    if data.entries:
        return [section for section in found if section[0] != "rhythm-of-work" or data.slots]
    return [section for section in found if section[0] in ("attention", "totals", "coverage")]


def _reason(data: ReportData, part: MissingPart, say: Translator) -> str:
    """The reason of a missing part, with the project if other projects have the part."""
    text = reason(part.why, say)
    of = {other.project for other in data.missing_parts if (other.why, other.start) == (part.why, part.start)}
    return text if of >= set(data.projects) or not part.project else f"{part.project}: {text}"


def _inactive(data: ReportData, say: Translator) -> str:
    return ", ".join(say("needs", name=name, option=fact) for name, fact in data.alerts.inactive.items())


def _compared(data: ReportData, say: Translator) -> str:
    if data.preceding is None:
        return ""
    return say("compared_with" if data.preceding.is_complete else "not_compared", range=data.preceding.name)


def _words(say: Translator) -> Dict[str, Any]:
    names = (
        "when who action what where project network resource subject kind alert severity from to hour search exact_time"
        " details raw digest data_file copy copied download remove_filter unnamed any_alert own others_than_own"
    )
    return {
        "kinds": kind_words(say),
        "severities": {name: say(f"severity_{name}") for name in SEVERITIES},
        "table": _table_words(say),
        "time": _time_words(say),
        "weekdays": say("weekdays").split(),
        "say": {name: say(name) for name in names.split()},
    }


def _table_library() -> str:
    """The JavaScript of the table: a module, wrapped in a function that exports the table's class."""
    from itables.utils import read_package_file

    return "(() => {" + _EXPORT.sub(r"window.DataTable = \1;", read_package_file("html/dt_bundle.js")) + "})();"


def _chart_library() -> str:
    """The JavaScript of the charts."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(
        "window.embed = (place, spec, options) => vegaEmbed(place, spec, options);"
    )
    return bundle


def _columns(many: bool, say: Translator) -> List[Dict[str, Any]]:
    """The columns of the table. Columns that are not visible are in the CSV file."""
    shown = {"time": "when", "project": "project", "actor": "who", "action": "action", "message": "what"}
    shown["ip_address"] = "where"
    if not many:
        del shown["project"]
    return [
        {"name": name, "label": say(shown[name]) if name in shown else name, "visible": name in shown}
        for name in COLUMNS
    ]


def _table_words(say: Translator) -> Dict[str, Any]:
    pages = {name: say(f"{name}_page") for name in ("first", "previous", "next", "last")}
    return {
        "info": say("shown"),
        "infoFiltered": say("shown_of"),
        "infoEmpty": "",
        "zeroRecords": say("no_match"),
        "emptyTable": say("no_match"),
        "lengthMenu": f"_MENU_ {say('per_page')}",
        "thousands": "\u202f",
        "aria": {"orderable": say("sort"), "orderableReverse": say("sort_back"), "paginate": pages},
    }


def _time_words(say: Translator) -> Dict[str, Any]:
    """Names of days and months for the charts, Sunday and January first."""
    days, months = say("weekdays").split(), say("months").split()
    sunday_first = [days[-1], *days[:-1]]
    return {
        "dateTime": "%Y-%m-%d %H:%M:%S",
        "date": "%Y-%m-%d",
        "time": "%H:%M:%S",
        "periods": ["AM", "PM"],
        "days": sunday_first,
        "shortDays": sunday_first,
        "months": months,
        "shortMonths": months,
    }


def _busiest(data: ReportData, say: Translator) -> Tuple[str, str]:
    _most, day, hour = max(
        (entries, -day, -hour) for day, hours in enumerate(data.heat) for hour, entries in enumerate(hours)
    )
    return say("weekdays").split()[-day], _clock(-hour * 60)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _json(value: Any) -> str:
    """JSON that cannot end a script element."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
