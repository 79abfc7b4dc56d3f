# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report as one HTML page that needs nothing else: charts by Vega-Lite, the table of entries by DataTables.

Both come out of Python packages (vl-convert-python, itables), so that nothing is fetched and nothing is copied here.
What entries say is text wherever it stands: the template escapes it, the script escapes it, and the page's policy runs
no script but those it was written with. The libraries are packed: that is less than half of their size, and those of
the charts are not read before the table can be used. What all pages have is in ``layout``.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, Iterable, List, Tuple

from ..detections.detection import SEVERITIES
from . import charts
from .entry_table import DataFile, compressed, packed
from .facts import FIGURES, MAX_MESSAGES, MOST_ROWS, Count, Facts, Hole, Rows, local_days
from .layout import kind_words, render
from .query.dataset import Record
from .script import SCRIPT
from .tabular import COLUMNS
from .translations import Words, reason

LIBRARIES = {"jinja2": "jinja2", "vl_convert": "vl-convert-python", "itables": "itables"}
"""What brings the modules for the template, the charts and the table."""

MAX_PRINTED = 1_000
"""Number of rows of the table that are printed."""

_LISTED = 10
_ALERTS_LISTED = {"critical": 10, "high": 10, "medium": 5}
_MAX_RANKED = 500
_MAX_RESOURCES = 50
_LONG_NAME = 12
"""More characters of a project's name get a wider column."""

_EXPORT = re.compile(r"export\s*\{(?:[^}]*[,{\s])?(\S+) as default[^}]*\};?")

TEMPLATE = """
{%- extends "layout" -%}
{%- from "parts" import coverage, kind with context -%}
{%- macro only(state) -%}
<a class="only" href="#{{ state | urlencode }}" title="{{ say('show_only') }}">{{ caller() }}</a>
{%- endmacro -%}
{%- macro severity(name) -%}
<span class="severity {{ name }}">{{ say('severity_' ~ name) }}</span>
{%- endmacro -%}
{%- macro alerts(group, found) -%}
<table class="log alerts{{ ' long-names' if has_long_names }}">
<caption class="unseen">{{ say.detection(group.detection.title) }}</caption>
<thead><tr><th scope="col" class="time">{{ say('when') }}</th>{% if many %}<th scope="col" class="project">{{ say('project') }}</th>{% endif %}
<th scope="col" class="actor">{{ say('who') }}</th><th scope="col">{{ say('what') }}</th>
<th scope="col" class="address">{{ say('where') }}</th></tr></thead>
<tbody>
{% for row in found %}
<tr><td class="time">{% call only({'alert': group.detection.name, 'at': row.time}) %}
{%- for part in row.time.split(' ', 1) %}<span>{{ part }}</span>{{ ' ' if not loop.last }}{% endfor %}{% endcall %}</td>
{% if many %}<td class="project">{% call only({'project': row.project}) %}{{ row.project or say('unnamed') }}{% endcall %}</td>{% endif %}
<td class="actor">{% call only({'actor': (row.actor_kind if row.actor_kind in kinds else 'unknown') ~ ':' ~ row.actor}) %}
{{- breakable(row.actor) }}{% endcall %} {{ kind(row.actor_kind) }}</td>
<td class="what">{{ row.message }} <small>{{ row.action }}</small></td>
<td class="address">{% if row.ip_address %}{% call only({'address': row.ip_address}) %}{{ breakable(row.ip_address) }}{% endcall %}{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
{%- endmacro -%}
{%- macro group_heading(group) -%}
{{ severity(group.detection.severity) }} <span class="title">{{ say.detection(group.detection.title) }}</span>
<span class="count">{{ format_count(group.total) }}</span>
{%- if group.before is not none %} <small>({{ say('before', n=group.before) }})</small>{% endif %}
{%- endmacro -%}
{%- macro show_all(group) -%}
<p class="all">{% call only({'alert': group.detection.name}) %}
{{- say('show_alerts', n=group.total) if group.total > 1 else say('show_alert') }}{% endcall %}</p>
{%- endmacro -%}
{%- macro group_body(group, rows, most) -%}
{% if group.detection.check %}<p class="hint">{{ say.detection(group.detection.check) }}</p>{% endif %}
{{ alerts(group, rows[:most]) }}
{% if rows | length > most %}
<details class="more"><summary>{{ say('more', n=rows | length - most) }}</summary>
{{ alerts(group, rows[most:]) }}
{% if group.total > rows | length %}<p class="rest">{{ say('unlisted_rows', n=group.total - rows | length) }}</p>{% endif %}
</details>
{% endif %}
{%- endmacro -%}
{%- macro bar(count, most, key) -%}
<tr><th scope="row">
{%- call only(filter_of(key, count)) %}<bdi>{{ breakable(count.name) }}</bdi>{% endcall %} {% if key == 'resource' -%}
<small>{{ count.kind.replace('_', ' ') }}{{ ', ' if count.kind and many }}{% if many %}<bdi>{{ count.project or say('unnamed') }}</bdi>{% endif %}</small>
{%- else %}{{ kind(count.kind) }}{% endif %}
{%- if count.of > 1 %} <small>{{ say('of_addresses', n=count.of) }}</small>{% endif %}</th>
<td class="size"><meter aria-label="{{ say('share', n=count.entries, all=facts.entries) }}" min="0"
max="{{ most }}" value="{{ count.entries }}"></meter></td>
<td class="number">{{ format_count(count.entries) }}</td></tr>
{%- endmacro -%}
{%- macro ranking(heading, counts, most, column, key) -%}
<table class="bars">
<caption class="unseen">{{ heading }}</caption>
<thead class="flat"><tr><th scope="col">{{ column }}</th><th scope="col" class="size">{{ say('share_of') }}</th>
<th scope="col" class="number">{{ say('entries') }}</th></tr></thead>
<tbody>
{% for count in counts %}{{ bar(count, most, key) }}
{% endfor %}
</tbody>
</table>
{%- endmacro -%}
{%- macro bars(heading, counts, column, key, limit=ranked) -%}
<div class="ranking">
<h2>{{ heading }}<span class="count">{{ format_count(counts | length) }}</span></h2>
{% if counts %}
{{ ranking(heading, counts[:listed], counts[0].entries, column, key) }}
{% if counts | length > listed %}
<details class="more"><summary>{{ say('more', n=[counts | length, limit] | min - listed) }}</summary>
{{ ranking(heading, counts[listed:limit], counts[0].entries, column, key) }}
{% if counts | length > limit %}<p class="rest">{{ say('unlisted_rows', n=counts | length - limit) }}</p>{% endif %}
</details>
{% endif %}
{% else %}<p class="rest">{{ say('none') }}</p>{% endif %}
</div>
{%- endmacro -%}
{%- block skip -%}<a class="skip" href="#all">{{ say('jump') }}</a>{%- endblock -%}
{%- block main -%}
<noscript><p class="card">{{ say('no_script') }}</p></noscript>
<nav class="contents" aria-label="{{ say('contents') }}"><ul>
{% for id, name in sections %}<li><a href="#{{ id }}">{{ say(name) }}</a></li>
{% endfor %}
</ul></nav>
<section class="card" id="attention">
<div class="head"><h2>{{ say('attention') }}</h2>
{% if facts.alerts.groups %}<ul class="tally">{% for name, number in facts.alerts.by_severity.items() if number %}
<li>{% call only({'severity': name}) %}{{ severity(name) }} {{ format_count(number) }}{% endcall %}</li>{% endfor %}</ul>{% endif %}</div>
{% for group, rows in groups %}
{% set most = alerts_listed.get(group.detection.severity, 0) %}
{% if most %}
<div class="group"><div class="head"><h3>{{ group_heading(group) }}</h3>{{ show_all(group) }}</div>
{{ group_body(group, rows, most) }}</div>
{% else %}
<details class="group more"><summary><h3>{{ group_heading(group) }}</h3></summary>
{{ group_body(group, rows, listed) }}
{{ show_all(group) }}</details>
{% endif %}
{% else %}
<p class="hint">{{ say('no_alerts' if facts.entries else ('nothing' if facts.is_complete else 'nothing_known')) }}</p>
{% endfor %}
{% if inactive %}<p class="hint">{{ say('inactive', names=inactive) }}</p>{% endif %}
</section>
{% if facts.entries %}
<section class="card" id="first-seen">
<h2>{{ say('first_seen') }}{% if facts.has_baseline and not any_first %}<span class="count">{{ say('none') }}</span>{% endif %}</h2>
{% if not facts.has_baseline %}<p class="hint">{{ say('no_baseline') }}</p>
{% elif any_first %}
<p class="hint">{{ say('first_seen_hint') }}</p>
<div class="firsts">
{% for name, found in facts.firsts.items() %}
<div><h3>{{ say(name) }}<span class="count">{{ format_count(found | length) }}</span></h3>
{% if found %}{% for part in [found[:listed], found[listed:ranked]] if part %}
{% if not loop.first %}<details class="more"><summary>{{ say('more', n=part | length) }}</summary>{% endif %}
<ul>{% for first in part %}
<li>{% call only({first.key: first.value}) %}<bdi>{{ breakable(first.name) }}</bdi>{% endcall %}
<small>{{ [first.time, say('by', who=first.by) if first.by not in ("", first.name)] | select | join(', ') }}</small></li>
{% endfor %}</ul>
{% if not loop.first %}</details>{% endif %}
{% endfor %}{% else %}<p class="rest">{{ say('none') }}</p>{% endif %}</div>
{% endfor %}
</div>
{% endif %}
</section>
{% endif %}
<section id="totals">
<h2 class="unseen">{{ say('totals') }}</h2>
{% if compared %}<p class="hint compared">{{ compared }}</p>{% endif %}
<dl class="figures">
{% for figure in facts.figures %}
<div><dt>{{ say(figure_words[figure.name]) }}</dt><dd>{{ format_count(figure.value) if facts.entries or facts.is_complete else say('no_data') }}
{%- if facts.preceding %}<small>{{ say('before_no_data') if figure.before is none else say('before', n=figure.before) }}</small>{% endif %}</dd></div>
{% endfor %}
</dl>
</section>
{% if facts.entries %}
<section class="card chart-card" id="over-time">
<div class="head"><h2>{{ say('activity') }}</h2>
<ul class="legend"><li>{{ say('entries') }}</li>{% if facts.own %}<li class="own">{{ say('own') }}</li>{% endif %}
{% if has_severe %}<li class="risk">{{ say('alerts') }}</li>{% endif %}
{% for why in reasons %}<li class="missing">{{ why }}</li>{% endfor %}</ul></div>
{% if facts.slots %}
<p class="hint for-mice">{{ say('activity_hint') }}</p>
<div class="controls span">
<label>{{ say('from') }}<input type="text" id="from" inputmode="numeric" placeholder="{{ say('iso_day') }}"
pattern="\\d{4}-\\d\\d-\\d\\d" maxlength="10" autocomplete="off"></label>
<label>{{ say('to') }}<input type="text" id="to" inputmode="numeric" placeholder="{{ say('iso_day') }}"
pattern="\\d{4}-\\d\\d-\\d\\d" maxlength="10" autocomplete="off"></label>
<button type="button" id="whole">{{ say('whole_range') }}</button>
</div>
<div class="chart tall" id="activity" role="img" aria-label="{{ say('activity_label', n=facts.entries, first=facts.first, last=facts.last) }}"></div>
<details class="numbers"><summary>{{ say('by_day') }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ say('by_day') }}"><table class="log">
<thead><tr><th scope="col">{{ say('day') }}</th><th scope="col" class="number">{{ say('entries') }}</th>
{% if facts.own %}<th scope="col" class="number">{{ say('own') }}</th>{% endif %}</tr></thead><tbody>
{% for day, entries, own in days %}
<tr><th scope="row">{% call only({'from': day, 'to': day}) %}{{ day }}{% endcall %}</th><td class="number">{{ format_count(entries) }}</td>
{%- if facts.own %}<td class="number">{{ format_count(own) }}</td>{% endif %}</tr>
{% endfor %}
</tbody></table></div></details>
{% endif %}
</section>
<section class="card" id="who-and-what">
<h2 class="unseen">{{ say('who_and_what') }}</h2>
{% if not facts.own_is_known %}<p class="hint">{{ say('no_own') }}</p>{% endif %}
{% if facts.are_resources_partial %}<p class="hint">{{ say('partial_resources', n=max_messages) }}</p>{% endif %}
<div class="columns">
{{ bars(say('who'), facts.actors, say('who'), 'actor') }}
{% if facts.own %}{{ bars(say('own'), facts.own, say('own'), 'actor') }}{% endif %}
{{ bars(say('actions'), facts.actions, say('action'), 'action') }}
{{ bars(say('where'), facts.networks, say('networks'), 'network') }}
{{ bars(say('resources'), facts.resources, say('resource'), 'resource', ranked_resources) }}
{% if many %}{{ bars(say('projects'), facts.by_project, say('project'), 'project') }}{% endif %}
</div>
</section>
{% if facts.slots %}
<section class="card chart-card" id="rhythm-of-work"><h2>{{ say('rhythm') }}</h2>
<div class="chart" id="rhythm" role="img" aria-label="{{ say('rhythm_label', day=busiest[0], hour=busiest[1]) }}"></div>
<details class="numbers"><summary>{{ say('by_hour') }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ say('by_hour') }}"><table class="log">
<thead><tr><th scope="col">{{ say('weekday') }}</th>{% for hour in range(24) %}<th scope="col" class="number">{{ hour }}</th>{% endfor %}</tr></thead>
<tbody>{% for hours in facts.heat %}{% set day = loop.index0 %}
<tr><th scope="row">{{ weekdays[day] }}</th>{% for entries in hours %}<td class="number">
{%- if entries %}{% call only({'hour': day ~ '-' ~ loop.index0}) %}{{ format_count(entries) }}{% endcall %}{% else %}0{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div></details>
</section>
{% endif %}
{% endif %}
{{ coverage(facts.coverage) }}
{% if facts.entries %}
<section class="card" id="all">
<h2>{{ say('all_entries') }}</h2>
{% if facts.entries > most_rows %}<p class="hint">{{ say('newest_rows', n=most_rows, all=facts.entries) }}</p>{% endif %}
{% if facts.entries > printed %}<p class="hint in-print">{{ say('print_bound', n=printed) }}</p>{% endif %}
<form id="filters" class="controls" hidden>
<label class="wide">{{ say('search') }}<input type="search" id="search" autocomplete="off" aria-describedby="search-hint"></label>
<label>{{ say('who') }}<select id="by-actor"><option value="">{{ say('anybody') }}</option></select></label>
<label>{{ say('action') }}<select id="by-action"><option value="">{{ say('any') }}</option></select></label>
{% if many %}<label>{{ say('project') }}<select id="by-project"><option value="">{{ say('any') }}</option></select></label>{% endif %}
<label>{{ say('kind') }}<select id="by-kind"><option value="">{{ say('any') }}</option>
{% if facts.own %}<option value="own">{{ say('own') }}</option><option value="others">{{ say('others_than_own') }}</option>{% endif %}
{% for name, word in kinds.items() %}<option value="{{ name }}">{{ word }}</option>{% endfor %}</select></label>
{% if groups %}<label>{{ say('alert') }}<select id="by-alert"><option value="">{{ say('everything') }}</option><option value="*">{{ say('any_alert') }}</option>
{% for group, rows in groups %}<option value="{{ group.detection.name }}">{{ say.detection(group.detection.title) }}</option>
{% endfor %}</select></label>{% endif %}
<button type="button" id="clear">{{ say('reset') }}</button>
<span id="search-hint" class="hint">{{ say('search_hint') }}</span>
</form>
<ul id="chips" aria-label="{{ say('filters') }}" hidden></ul>
<p id="loading" class="hint">{{ say('loading') }}</p>
<table id="entries" class="log{{ ' long-names' if has_long_names }}"><caption class="unseen">{{ say('all_entries') }}</caption></table>
<p class="unseen" id="told" role="status"></p>
</section>
<svg class="unseen" aria-hidden="true" focusable="false"><defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6" class="hatch"/></pattern></defs></svg>
{% endif %}
{%- endblock -%}
{%- block scripts -%}
{% if facts.entries %}
<script type="application/json" id="facts">{{ data }}</script>
<script type="application/gzip" id="packed">{{ packed }}</script>
<script type="application/gzip" id="table-library">{{ table_library }}</script>
<script type="application/gzip" id="chart-library">{{ chart_library }}</script>
<script>{{ script }}</script>
{% endif %}
{%- endblock -%}
"""


def page(facts: Facts, records: Iterable[Record], rows: Rows, data_file: DataFile) -> str:
    """The page. ``records`` are the entries of its table, the newest first."""
    from markupsafe import Markup

    say = Words(facts.heading.language)
    libraries = (_table_library(), _chart_library()) if facts.entries else ()
    holes = [(hole, _reason(facts, hole, say)) for hole in facts.holes]
    severe = [group for group in facts.alerts.groups if group.detection.severity in ("critical", "high")]
    many = len(facts.projects) > 1
    data = {
        "words": _words(say),
        "charts": {
            "activity": charts.activity(facts, severe, holes, rows, say),
            "rhythm": charts.rhythm(facts.heat, say),
        },
        "columns": _columns(many, say),
        "alerts": [
            {
                "name": group.detection.name,
                "title": say.detection(group.detection.title),
                "check": say.detection(group.detection.check),
                "severity": group.detection.severity,
            }
            for group in facts.alerts.groups
        ],
        "zone": facts.heading.zone,
        "printed": MAX_PRINTED,
    }
    return render(
        TEMPLATE,
        facts,
        scripts=(*libraries, SCRIPT),
        sections=_sections(facts),
        groups=[(group, [rows.alert(alert) for alert in group.newest]) for group in facts.alerts.groups],
        alerts_listed=_ALERTS_LISTED,
        inactive=_inactive(facts, say),
        any_first=any(facts.firsts.values()),
        compared=_compared(facts, say),
        figure_words=FIGURES,
        has_severe=bool(severe),
        reasons=list(dict.fromkeys(told for _hole, told in holes)),
        many=many,
        has_long_names=any(len(name) > _LONG_NAME for name in facts.projects),
        days=local_days(facts.slots),
        weekdays=say("weekdays").split(),
        busiest=_busiest(facts, say),
        filter_of=lambda key, count: _filter_of(key, count, many),
        max_messages=MAX_MESSAGES,
        listed=_LISTED,
        ranked=_MAX_RANKED,
        ranked_resources=_MAX_RESOURCES,
        most_rows=MOST_ROWS,
        printed=MAX_PRINTED,
        data=Markup(_json(data)),
        packed=Markup(packed(facts, records, rows, data_file)),
        table_library=Markup(compressed(libraries[0]) if libraries else ""),
        chart_library=Markup(compressed(libraries[1]) if libraries else ""),
        script=Markup(SCRIPT),
    )


def _filter_of(key: str, count: Count, many: bool) -> Dict[str, str]:
    """The filter that shows the entries of a line in a ranking."""
    if key == "resource":
        project = {"project": count.project} if many else {}
        return {key: f"{count.kind}:{count.name}", **project}
    return {key: f"{count.kind}:{count.name}" if count.kind else count.name}


def _sections(facts: Facts) -> List[Tuple[str, str]]:
    """The contents: the id of each section, and its name."""
    found = [("attention", "attention"), ("first-seen", "first_seen"), ("totals", "totals"), ("over-time", "activity")]
    found += [("who-and-what", "who_and_what"), ("rhythm-of-work", "rhythm")]
    found += [("coverage", "coverage"), ("all", "all_entries")]
    if facts.entries:
        return [section for section in found if section[0] != "rhythm-of-work" or facts.slots]
    return [section for section in found if section[0] in ("attention", "totals", "coverage")]


def _reason(facts: Facts, hole: Hole, say: Words) -> str:
    """Why a part is missing, and of which project where it is not missing of all."""
    told = reason(hole.why, say)
    of = {other.project for other in facts.holes if (other.why, other.start) == (hole.why, hole.start)}
    return told if of >= set(facts.projects) or not hole.project else f"{hole.project}: {told}"


def _inactive(facts: Facts, say: Words) -> str:
    return ", ".join(say("needs", name=name, option=fact) for name, fact in facts.alerts.inactive.items())


def _compared(facts: Facts, say: Words) -> str:
    if facts.preceding is None:
        return ""
    return say("compared_with" if facts.preceding.is_complete else "not_compared", range=facts.preceding.name)


def _words(say: Words) -> Dict[str, Any]:
    names = [
        *("when", "who", "action", "what", "where", "project", "network", "resource", "subject", "kind", "alert"),
        *(
            "severity",
            "from",
            "to",
            "hour",
            "search",
            "exact_time",
            "details",
            "raw",
            "digest",
            "data_file",
            "copy",
            "copied",
        ),
        *("download", "remove_filter", "unnamed", "any_alert", "own", "others_than_own"),
    ]
    return {
        "kinds": kind_words(say),
        "severities": {name: say(f"severity_{name}") for name in SEVERITIES},
        "table": _table_words(say),
        "time": _time_words(say),
        "weekdays": say("weekdays").split(),
        "say": {name: say(name) for name in names},
    }


def _table_library() -> str:
    """The JavaScript of the table: a module, of which only the table's class is wanted.

    In a function of its own it needs no other file.
    """
    from itables.utils import read_package_file

    return "(() => {" + _EXPORT.sub(r"window.DataTable = \1;", read_package_file("html/dt_bundle.js")) + "})();"


def _chart_library() -> str:
    """The JavaScript of the charts."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(
        "window.embed = (place, spec, options) => vegaEmbed(place, spec, options);"
    )
    return bundle


def _columns(many: bool, say: Words) -> List[Dict[str, Any]]:
    """The columns of the table; those that are not shown are in the CSV file."""
    shown = {"time": "when", "project": "project", "actor": "who", "action": "action", "message": "what"}
    shown["ip_address"] = "where"
    if not many:
        del shown["project"]
    return [
        {"name": name, "label": say(shown[name]) if name in shown else name, "visible": name in shown}
        for name in COLUMNS
    ]


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


def _busiest(facts: Facts, say: Words) -> Tuple[str, str]:
    _most, day, hour = max(
        (entries, -day, -hour) for day, hours in enumerate(facts.heat) for hour, entries in enumerate(hours)
    )
    return say("weekdays").split()[-day], _clock(-hour * 60)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _json(value: Any) -> str:
    """JSON that ends no script element."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
