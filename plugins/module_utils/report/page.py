# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report as one HTML page that needs nothing else: charts by Vega-Lite, the table of entries by DataTables.

Both come out of Python packages (vl-convert-python, itables), so that nothing is fetched and nothing is copied here.
What entries say is text wherever it stands: the template escapes it, the script escapes it, and the page's policy runs
no script but the two it was written with. What all pages have is in ``layout``.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import datetime
from typing import Any, Dict, Iterable, List, Tuple

from . import charts
from .assets import SCRIPT
from .facts import MOST_ROWS, Facts, Rows, local_days
from .layout import kind_words, render
from .query.dataset import Record
from .translations import Words

FLAGS = {"sensitive": 1, "outside_hours": 2, "staff": 4, "system": 8}
"""What an entry is, as bits of the last value of its row."""

LIBRARIES = {"jinja2": "jinja2", "vl_convert": "vl-convert-python", "itables": "itables"}
"""What brings the modules for the template, the charts and the table."""

_LISTED = 10
_COLUMNS = (("time", "when"), ("actor", "who"), ("action", "action"), ("what", "what"), ("address", "where"))
_EXPORT = re.compile(r"export\s*\{(?:[^}]*[,{\s])?(\S+) as default[^}]*\};?")

TEMPLATE = """
{%- extends "layout" -%}
{%- from "parts" import coverage, kind with context -%}
{%- macro log(caption, rows) -%}
<table class="log">
<caption class="unseen">{{ caption }}</caption>
<thead><tr><th scope="col" class="time">{{ say('when') }}</th><th scope="col" class="actor">{{ say('who') }}</th>
<th scope="col" class="action">{{ say('action') }}</th><th scope="col">{{ say('what') }}</th>
<th scope="col" class="address">{{ say('where') }}</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><td class="time">{% for part in row.time.split(' ', 1) %}<span>{{ part }}</span>{{ ' ' if not loop.last }}{% endfor %}</td>
<td>{{ breakable(row.actor) }} {{ kind(row.actor_kind) }}</td>
<td class="action">{{ breakable(row.action) }}</td><td class="what">{{ row.message }}</td><td class="address">{{ row.ip_address }}</td></tr>
{% endfor %}
</tbody>
</table>
{%- endmacro -%}
{%- macro bars(heading, counts, column) -%}
<section class="card">
<h2>{{ heading }}</h2>
<table class="bars">
<caption class="unseen">{{ heading }}</caption>
<thead class="flat"><tr><th scope="col">{{ column }}</th><th scope="col" class="size">{{ say('share_of') }}</th>
<th scope="col" class="number">{{ say('entries') }}</th></tr></thead>
<tbody>
{% for count in counts[:listed] %}
<tr><th scope="row"><bdi>{{ breakable(count.name) }}</bdi> {{ kind(count.kind) }}
{%- if count.of > 1 %} <small>{{ say('of_addresses', n=count.of) }}</small>{% endif %}</th>
<td class="size"><meter aria-label="{{ say('share', n=count.entries, all=facts.entries) }}" min="0"
max="{{ counts[0].entries }}" value="{{ count.entries }}"></meter></td>
<td class="number">{{ format_count(count.entries) }}</td></tr>
{% else %}
<tr><td class="rest">{{ say('none') }}</td><td></td><td></td></tr>
{% endfor %}
{% if counts | length > listed %}
<tr class="rest"><th scope="row">{{ say('more', n=counts | length - listed) }}</th><td class="size"></td>
<td class="number">{{ format_count(counts[listed:] | sum(attribute='entries')) }}</td></tr>
{% endif %}
</tbody>
</table>
</section>
{%- endmacro -%}
{%- block skip -%}<a class="skip" href="#all">{{ say('jump') }}</a>{%- endblock -%}
{%- block main -%}
<noscript><p class="card">{{ say('no_script') }}</p></noscript>
<h2 class="unseen">{{ say('figures') }}</h2>
<dl class="figures">
<div><dt>{{ say('entries') }}</dt><dd>{{ format_count(facts.entries) }}</dd></div>
<div><dt>{{ say('actors') }}</dt><dd>{{ format_count(facts.actors | length) }}</dd></div>
<div><dt>{{ say('addresses') }}</dt><dd>{{ format_count(facts.addresses) }}</dd></div>
{% for name in ['sensitive', 'outside_hours', 'staff'] %}
<div{{ ' class="alarm"' | safe if name != 'outside_hours' and facts.findings[name].total }}><dt>{{ say(name) }}</dt>
<dd>{{ format_count(facts.findings[name].total) }}</dd></div>
{% endfor %}
</dl>
{% if facts.entries %}
<section class="card chart-card">
<div class="head"><h2>{{ say('activity') }}</h2>
<ul class="legend"><li>{{ say('entries') }}</li><li class="risk">{{ say('sensitive') }}</li></ul></div>
{% if facts.slots %}
<p class="hint">{{ say('activity_hint') }}</p>
<div class="controls span">
<label>{{ say('from') }}<input type="date" id="from" min="{{ days[0][0] }}" max="{{ days[-1][0] }}"></label>
<label>{{ say('to') }}<input type="date" id="to" min="{{ days[0][0] }}" max="{{ days[-1][0] }}"></label>
<button type="button" id="whole">{{ say('whole_range') }}</button>
</div>
<div class="chart tall" id="activity" role="img" aria-label="{{ say('activity_label', n=facts.entries, first=facts.first, last=facts.last) }}"></div>
<details class="numbers"><summary>{{ say('by_day') }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ say('by_day') }}"><table class="log">
<thead><tr><th scope="col">{{ say('day') }}</th><th scope="col" class="number">{{ say('entries') }}</th>
<th scope="col" class="number">{{ say('sensitive') }}</th></tr></thead><tbody>
{% for day, entries, sensitive in days %}
<tr><th scope="row">{{ day }}</th><td class="number">{{ format_count(entries) }}</td><td class="number">{{ format_count(sensitive) }}</td></tr>
{% endfor %}
</tbody></table></div></details>
{% endif %}
</section>
<div class="columns">
{{ bars(say('who'), facts.actors, say('who')) }}
{{ bars(say('actions'), facts.actions, say('action')) }}
{{ bars(say('where'), facts.networks, say('networks')) }}
</div>
<section class="card">
<h2>{{ say('first_seen') }}</h2>
{% if facts.has_baseline %}
<p class="hint">{{ say('first_seen_hint') }}</p>
<div class="firsts">
{% for name, found in facts.firsts.items() %}
<div><h3>{{ say(name) }}<span class="count">{{ format_count(found | length) }}</span></h3>
{% if found %}<ul>{% for first in found[:listed] %}
<li><bdi>{{ first.name }}</bdi><small>{{ first.time }}{% if first.by != first.name %}, {{ say('by', who=first.by) }}{% endif %}</small></li>
{% endfor %}{% if found | length > listed %}<li class="rest">{{ say('more', n=found | length - listed) }}</li>{% endif %}</ul>
{% else %}<p class="rest">{{ say('none') }}</p>{% endif %}</div>
{% endfor %}
</div>
{% else %}
<p class="hint">{{ say('no_baseline') }}</p>
{% endif %}
</section>
{% for name, found in facts.findings.items() if found.total %}
<section class="card">
<div class="head"><h2>{{ say(name) }}<span class="count">
{%- if found.total > listed %}{{ say('newest_of', n=listed, all=found.total) }}{% else %}{{ format_count(found.total) }}{% endif -%}
</span></h2><button type="button" hidden data-only="{{ flags[name] }}">{{ say('show_all') }}<span class="unseen">: {{ say(name) }}</span></button></div>
<p class="hint">{{ hints[name] }}</p>
{{ log(say(name), found.rows[:listed]) }}
</section>
{% endfor %}
{% set empty = facts.findings.items() | rejectattr('1.total') | list %}
{% if empty %}
<section class="card"><h2>{{ say('nothing_of') }}</h2>
<p class="hint">{% for name, found in empty %}{{ say(name) }}{{ ' \u00b7 ' if not loop.last }}{% endfor %}</p></section>
{% endif %}
{% if facts.slots %}
<section class="card chart-card"><h2>{{ say('rhythm') }}</h2>
<div class="chart" id="rhythm" role="img" aria-label="{{ say('rhythm_label', day=busiest[0], hour=busiest[1]) }}"></div>
<details class="numbers"><summary>{{ say('by_hour') }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ say('by_hour') }}"><table class="log">
<thead><tr><th scope="col">{{ say('weekday') }}</th>{% for hour in range(24) %}<th scope="col" class="number">{{ hour }}</th>{% endfor %}</tr></thead>
<tbody>{% for hours in facts.heat %}
<tr><th scope="row">{{ weekdays[loop.index0] }}</th>{% for entries in hours %}<td class="number">{{ format_count(entries) }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div></details>
</section>
{% endif %}
{% else %}
<p class="card">{{ say('nothing' if facts.is_complete else 'nothing_known') }}</p>
{% endif %}
{{ coverage(facts.coverage) }}
{% if facts.entries %}
<section class="card" id="all">
<h2>{{ say('all_entries') }}</h2>
{% if facts.entries > most %}<p class="hint">{{ say('newest_rows', n=most, all=facts.entries) }}</p>{% endif %}
<form id="filters" class="controls" hidden>
<label class="wide">{{ say('search') }}<input type="search" id="search" autocomplete="off"></label>
<label>{{ say('who') }}<select id="by-actor"><option value="">{{ say('anybody') }}</option></select></label>
<label>{{ say('action') }}<select id="by-action"><option value="">{{ say('any') }}</option></select></label>
{% if columns | length > 5 %}<label>{{ say('project') }}<select id="by-project"><option value="">{{ say('any') }}</option></select></label>{% endif %}
<label>{{ say('only') }}<select id="only"><option value="0">{{ say('everything') }}</option>
{% for name, flag in flags.items() %}<option value="{{ flag }}">{{ say(name) }}</option>{% endfor %}</select></label>
<button type="button" id="clear">{{ say('reset') }}</button>
</form>
<p id="loading" class="hint">{{ say('loading') }}</p>
<table id="entries" class="log"><caption class="unseen">{{ say('all_entries') }}</caption></table>
</section>
{% endif %}
{%- endblock -%}
{%- block scripts -%}
{% if facts.entries %}
<script type="application/json" id="facts">{{ data }}</script>
<script type="application/gzip" id="packed">{{ packed }}</script>
<script>{{ library }}</script>
<script>{{ script }}</script>
{% endif %}
{%- endblock -%}
"""


def page(facts: Facts, records: Iterable[Record], rows: Rows) -> str:
    """The page. ``records`` are the entries of its table, the newest first."""
    from markupsafe import Markup

    say = Words(facts.heading.language)
    library = _library() if facts.entries else ""
    columns = _columns(facts, say)
    data = {
        "words": {"kinds": kind_words(say), "table": _table_words(say), "time": _time_words(say)},
        "charts": {"activity": charts.activity(facts.slots, say), "rhythm": charts.rhythm(facts.heat, say)},
        "columns": columns,
    }
    return render(
        TEMPLATE,
        facts,
        scripts=(library, SCRIPT),
        columns=columns,
        days=local_days(facts.slots),
        weekdays=say("weekdays").split(),
        busiest=_busiest(facts, say),
        hints=_hints(facts, say),
        flags=FLAGS,
        listed=_LISTED,
        most=MOST_ROWS,
        data=Markup(_json(data)),
        packed=Markup(_packed(facts, records, rows)),
        library=Markup(library),
        script=Markup(SCRIPT),
    )


def _library() -> str:
    """The JavaScript of the charts and of the table, as one classic script."""
    import vl_convert
    from itables.utils import read_package_file

    drawing = vl_convert.javascript_bundle("window.embed = (place, spec, options) => vegaEmbed(place, spec, options);")
    # A module, of which only the table's class is wanted: in a function of its own it needs no other file.
    table = _EXPORT.sub(r"window.DataTable = \1;", read_package_file("html/dt_bundle.js"))
    return "\n".join((drawing, "(() => {", table, "})();")).replace("</script", "<\\/script")


def _columns(facts: Facts, say: Words) -> List[Dict[str, Any]]:
    found = [{"index": index, "name": name, "label": say(text)} for index, (name, text) in enumerate(_COLUMNS)]
    if len(facts.projects) > 1:
        found.append({"index": 5, "name": "project", "label": say("project")})
    return found


def _table_words(say: Words) -> Dict[str, Any]:
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


def _time_words(say: Words) -> Dict[str, Any]:
    """How the charts write times: the names of days and months, Sunday and January first."""
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


def _hints(facts: Facts, say: Words) -> Dict[str, str]:
    working = say("outside_hours_hint", hours=facts.hours.text)
    return {**{name: say(f"{name}_hint") for name in ("sensitive", "staff", "system")}, "outside_hours": working}


def _busiest(facts: Facts, say: Words) -> Tuple[str, str]:
    _most, day, hour = max(
        (entries, -day, -hour) for day, hours in enumerate(facts.heat) for hour, entries in enumerate(hours)
    )
    return say("weekdays").split()[-day], _clock(-hour * 60)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _packed(facts: Facts, records: Iterable[Record], rows: Rows) -> str:
    """The table's rows, each text that repeats only once, compressed: a page of a busy month stays small."""
    lists: Dict[str, Dict[Any, int]] = {name: {} for name in ("actors", "actions", "addresses", "projects")}

    def place(name: str, value: Any) -> int:
        return lists[name].setdefault(value, len(lists[name]))

    packed = []
    for record in records:
        row = rows.row(record)
        packed.append(
            [
                row["time"],
                place("actors", (row["actor"], row["actor_kind"])),
                place("actions", row["action"]),
                row["message"],
                place("addresses", row["ip_address"]),
                place("projects", row["project"]),
                _flags(facts, record, row, rows),
            ]
        )
    body = json.dumps({**{name: list(found) for name, found in lists.items()}, "rows": packed}, separators=(",", ":"))
    return base64.b64encode(gzip.compress(body.encode(), mtime=0)).decode()


def _flags(facts: Facts, record: Record, row: Dict[str, str], rows: Rows) -> int:
    flags = FLAGS["sensitive"] if record["action"] in facts.sensitive else 0
    if row["actor_kind"] == "admin":
        return flags | FLAGS["staff"]
    if row["actor_kind"] == "system":
        return flags | FLAGS["system"]
    if row["actor_kind"] != "api_token" and _is_outside(facts, record["moment"], rows):
        flags |= FLAGS["outside_hours"]
    return flags


def _is_outside(facts: Facts, moment: Any, rows: Rows) -> bool:
    return isinstance(moment, datetime) and not facts.hours.hold(rows.local(moment))


def _json(value: Any) -> str:
    """JSON that ends no script element."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
