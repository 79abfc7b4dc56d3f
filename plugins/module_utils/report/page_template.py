# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The template of a report's page, in Jinja."""

from __future__ import annotations

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
<td class="address">
{%- if row.ip_address %}{% call only({'address': row.ip_address}) %}{{ breakable(row.ip_address) }}{% endcall %}
{%- else %}<small>{{ say('not_recorded') }}</small>{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
{%- endmacro -%}
{%- macro group_heading(group) -%}
{{ severity(group.detection.severity) }} <span class="title">{{ say.detection(group.detection.title) }}</span>
<span class="count">{{ format_count(group.total) }}</span>
{%- if group.before is not none %} <small>({{ say('before', n=group.before) }})</small>{% endif %}
{%- endmacro -%}
{%- macro show_all(group, newest) -%}
<p class="all">
{%- if group.total == 1 and group.detection.count > 1 %}
{%- set day = newest.time[:10] %}{% set name = (newest.actor_kind if newest.actor_kind in kinds else 'unknown') ~ ':' ~ newest.actor %}
{%- call only({'actor': name, 'from': day, 'to': day}) %}
{{- say('show_day') }}{% endcall %}
{%- else %}{% call only({'alert': group.detection.name}) %}
{{- say('show_alerts', n=group.total) if group.total > 1 else say('show_alert') }}{% endcall %}{% endif %}</p>
{%- endmacro -%}
{%- macro group_body(group, rows, most) -%}
{% if group.detection.check %}<p class="hint">{{ say.detection(group.detection.check) }}</p>{% endif %}
{{ alerts(group, rows[:most]) }}
{% if rows | length > most %}
<details class="more"><summary>{{ say('more_of', n=rows | length - most, all=group.total) }}</summary>
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
<td class="size"><meter aria-label="{{ say('share', n=count.entries, all=data.entries) }}" min="0"
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
{% if data.alerts.groups %}<ul class="tally">{% for name, number in data.alerts.by_severity.items() if number %}
<li>{% call only({'severity': name}) %}{{ severity(name) }} {{ format_count(number) }}{% endcall %}</li>{% endfor %}</ul>{% endif %}</div>
{% for group, rows in groups %}
{% set most = alerts_listed.get(group.detection.severity, 0) %}
{% if most %}
<div class="group"><div class="head"><h3>{{ group_heading(group) }}</h3>{{ show_all(group, rows[0]) }}</div>
{{ group_body(group, rows, most) }}</div>
{% else %}
<details class="group more"><summary><h3>{{ group_heading(group) }}</h3></summary>
{{ group_body(group, rows, listed) }}
{{ show_all(group, rows[0]) }}</details>
{% endif %}
{% else %}
<p class="hint">{{ say('no_alerts' if data.entries else ('nothing' if data.is_complete else 'nothing_known')) }}</p>
{% endfor %}
{% if inactive %}<p class="hint">{{ say('inactive', names=inactive) }}</p>{% endif %}
</section>
{% if data.entries %}
<section class="card" id="first-seen">
<h2>{{ say('first_seen') }}{% if data.has_baseline and not any_first %}<span class="count">{{ say('none') }}</span>{% endif %}</h2>
{% if not data.has_baseline %}<p class="hint">{{ say('no_baseline') }}</p>
{% elif any_first %}
<p class="hint">{{ say('first_seen_hint') }}</p>
<div class="firsts">
{% for name, found in data.firsts.items() %}
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
{% for figure in data.figures %}
<div><dt>{{ say(figure_words[figure.name]) }}</dt><dd>{{ format_count(figure.value) if data.entries or data.is_complete else say('no_data') }}
{%- if data.preceding %}<small>{{ say('before_no_data') if figure.before is none else say('before', n=figure.before) }}</small>{% endif %}</dd></div>
{% endfor %}
</dl>
</section>
{% if data.entries %}
<section class="card chart-card" id="over-time">
<div class="head"><h2>{{ say('activity') }}</h2>
<ul class="legend"><li>{{ say('entries') }}</li>{% if data.own %}<li class="own">{{ say('own') }}</li>{% endif %}
{% if has_severe %}<li class="risk">{{ say('alerts') }}</li>{% endif %}
{% for why in reasons %}<li class="missing">{{ why }}</li>{% endfor %}</ul></div>
{% if data.slots %}
<p class="hint for-mice">{{ say('activity_hint') }}</p>
<div class="controls span">
<label>{{ say('from') }}<input type="text" id="from" inputmode="numeric" placeholder="{{ say('iso_day') }}"
pattern="\\d{4}-\\d\\d-\\d\\d" maxlength="10" autocomplete="off"></label>
<label>{{ say('to') }}<input type="text" id="to" inputmode="numeric" placeholder="{{ say('iso_day') }}"
pattern="\\d{4}-\\d\\d-\\d\\d" maxlength="10" autocomplete="off"></label>
<button type="button" id="whole">{{ say('whole_range') }}</button>
</div>
<div class="chart tall" id="activity" role="img" aria-label="{{ say('activity_label', n=data.entries, first=data.first, last=data.last) }}"></div>
<details class="numbers"><summary>{{ say('by_day') }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ say('by_day') }}"><table class="log">
<thead><tr><th scope="col">{{ say('day') }}</th><th scope="col" class="number">{{ say('entries') }}</th>
{% if data.own %}<th scope="col" class="number">{{ say('own') }}</th>{% endif %}</tr></thead><tbody>
{% for day, entries, own in days %}
<tr><th scope="row">{% call only({'from': day, 'to': day}) %}{{ day }}{% endcall %}</th><td class="number">{{ format_count(entries) }}</td>
{%- if data.own %}<td class="number">{{ format_count(own) }}</td>{% endif %}</tr>
{% endfor %}
</tbody></table></div></details>
{% endif %}
</section>
<section class="card" id="who-and-what">
<h2 class="unseen">{{ say('who_and_what') }}</h2>
{% if not data.own_is_known %}<p class="hint">{{ say('no_own') }}</p>{% endif %}
{% if data.are_resources_partial %}<p class="hint">{{ say('partial_resources', n=max_messages) }}</p>{% endif %}
<div class="columns">
{{ bars(say('who'), data.actors, say('who'), 'actor') }}
{% if data.own %}{{ bars(say('own'), data.own, say('own'), 'actor') }}{% endif %}
{{ bars(say('actions'), data.actions, say('action'), 'action') }}
{{ bars(say('where'), data.networks, say('networks'), 'network') }}
{{ bars(say('resources'), data.resources, say('resource'), 'resource', ranked_resources) }}
{% if many %}{{ bars(say('projects'), data.by_project, say('project'), 'project') }}{% endif %}
</div>
</section>
{% if data.slots %}
<section class="card chart-card" id="rhythm-of-work"><h2>{{ say('rhythm') }}</h2>
<div class="chart" id="rhythm" role="img" aria-label="{{ say('rhythm_label', day=busiest[0], hour=busiest[1]) }}"></div>
<details class="numbers"><summary>{{ say('by_hour') }}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="{{ say('by_hour') }}"><table class="log">
<thead><tr><th scope="col">{{ say('weekday') }}</th>{% for hour in range(24) %}<th scope="col" class="number">{{ hour }}</th>{% endfor %}</tr></thead>
<tbody>{% for hours in data.heat %}{% set day = loop.index0 %}
<tr><th scope="row">{{ weekdays[day] }}</th>{% for entries in hours %}<td class="number">
{%- if entries %}{% call only({'hour': day ~ '-' ~ loop.index0}) %}{{ format_count(entries) }}{% endcall %}{% else %}0{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div></details>
</section>
{% endif %}
{% endif %}
{{ coverage(data.coverage) }}
{% if data.entries %}
<section class="card" id="all">
<h2>{{ say('all_entries') }}</h2>
{% if data.entries > most_rows %}<p class="hint">{{ say('newest_rows', n=most_rows, all=data.entries) }}</p>{% endif %}
{% if data.entries > printed %}<p class="hint in-print">{{ say('print_bound', n=printed) }}</p>{% endif %}
<form id="filters" class="controls" hidden>
<label class="wide">{{ say('search') }}<input type="search" id="search" autocomplete="off" aria-describedby="search-hint"></label>
<label>{{ say('who') }}<select id="by-actor"><option value="">{{ say('anybody') }}</option></select></label>
<label>{{ say('action') }}<select id="by-action"><option value="">{{ say('any') }}</option></select></label>
{% if many %}<label>{{ say('project') }}<select id="by-project"><option value="">{{ say('any') }}</option></select></label>{% endif %}
<label>{{ say('kind') }}<select id="by-kind"><option value="">{{ say('any') }}</option>
{% if data.own %}<option value="own">{{ say('own') }}</option><option value="others_than_own">{{ say('others_than_own') }}</option>{% endif %}
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
<p class="unseen" id="announcement" role="status"></p>
</section>
<svg class="unseen" aria-hidden="true" focusable="false"><defs>
<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6" class="hatch"/></pattern></defs></svg>
{% endif %}
{%- endblock -%}
{%- block scripts -%}
{% if data.entries %}
<script type="application/json" id="page-data">{{ page_data }}</script>
<script type="application/gzip" id="packed">{{ packed }}</script>
<script type="application/gzip" id="table-library">{{ table_library }}</script>
<script type="application/gzip" id="chart-library">{{ chart_library }}</script>
<script>{{ script }}</script>
{% endif %}
{%- endblock -%}
"""
