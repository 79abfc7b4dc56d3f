# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An access review as a page to fill in and sign: it runs no script, and prints on A4 in landscape."""

from __future__ import annotations

from .access_review import Review
from .access_review_text import count_before, figure, formerly, shorten
from .layout import render
from .translations import Translator

LIBRARIES = {"jinja2": "jinja2"}
"""The module for the template, with the library that provides it."""

MAX_ACCOUNTS = 2_000
"""Maximum number of accounts in one table, in the order of attention."""

_MAX_VALUES = 6
_BLANK_ROWS = 4

STYLE = r"""
.review, .signing { font-size: .85rem; margin-top: .4rem; }
.review thead th, .signing thead th { color: var(--soft); font-size: .78rem; border-bottom: 1px solid var(--line);
  padding: .35rem 1rem .35rem 0; vertical-align: bottom; }
.review tbody th, .review td, .signing tbody th, .signing td { vertical-align: top; border-bottom: 1px solid var(--line);
  padding: .55rem 1rem .6rem 0; overflow-wrap: anywhere; line-height: 1.4; font-weight: 400; }
.review tr > :last-child, .signing tr > :last-child { padding-right: 0; }
.review tbody tr:last-child > *, .signing tbody tr:last-child > * { border-bottom: 0; }
.review .name { font-weight: 600; }
.review small, .review code { display: block; color: var(--soft); }
.review small { font-size: .78rem; }
.review code { font-size: .74rem; }
.review .risk { color: var(--alarm); }
.review p { margin: 0; }
.review p + p { margin-top: .2rem; }
.review .inline { display: inline; margin-left: .3rem; }
.review .value { font-variant-numeric: tabular-nums; }
.review .value small span { white-space: nowrap; }
.missing, .filters { list-style: none; margin: 0 0 .9rem; padding: 0; font-size: .88rem; }
.missing li { color: var(--alarm); }
.filters code { margin-right: .35rem; }
.review .new, .review .dormant { color: var(--alarm); border-color: currentColor; }
.review .no_data { border-style: dashed; border-color: currentColor; }
.choice { display: flex; gap: .4rem; align-items: center; min-height: 1.5rem; white-space: nowrap; }
.choice input { margin: 0; width: 1rem; height: 1rem; flex: none; }
.line { width: 100%; min-height: 1.8rem; border: 0; border-bottom: 1px solid var(--soft); border-radius: 0; background: none;
  padding: .1rem 0; font-size: .85rem; }
.sign { border-bottom: 1px solid var(--soft); min-height: 1.8rem; }
.figures dd.words { font-size: 1.15rem; padding: .35rem 0 .2rem; }
@media (min-width: 60rem) {
  .review, .signing { table-layout: fixed; }
  .review .who { width: 17%; }
  .review .activity { width: 19%; }
  .review .decision, .signing .decision { width: 6.6rem; }
  .review .reviewer { width: 8.5rem; }
  .review .date { width: 6rem; }
  .review .signature { width: 8.5rem; }
  .signing .what { width: 24%; }
  .signing .date { width: 9rem; }
}
@media (max-width: 60rem) {
  .review thead, .signing thead { display: block; position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  .review tbody tr, .review tbody th, .review tbody td, .signing tbody tr, .signing tbody th, .signing tbody td { display: block;
    border: 0; padding: .15rem 0; }
  .review tbody tr, .signing tbody tr { border-bottom: 1px solid var(--line); padding: .7rem 0; }
  .review td[data-label]::before, .signing td[data-label]::before { content: attr(data-label); display: block;
    color: var(--soft); font-size: .78rem; }
}
@media print {
  @page { size: A4 landscape; margin: 11mm; }
  .review, .signing { table-layout: fixed; font-size: 8pt; }
  .review tbody tr, .signing tbody tr { display: table-row; padding: 0; }
  .review thead, .signing thead { display: table-header-group; position: static; overflow: visible; clip-path: none; }
  .review tbody th, .review tbody td, .signing tbody th, .signing tbody td { display: table-cell; }
  .review td[data-label]::before, .signing td[data-label]::before { content: none; }
  .review thead th, .signing thead th { font-size: 7.5pt; padding: 0 2mm 1mm 0; border-bottom: 1px solid #7b8794; }
  .review tbody th, .review tbody td, .signing tbody th, .signing tbody td { padding: 1mm 2.5mm 1mm 0;
    border-bottom: 1px solid #b4bcc5; }
  .review tbody tr, .signing tbody tr { height: 13mm; }
  .hint, .missing, .filters { font-size: 8.5pt; margin-bottom: 1.5mm; }
  .review small { font-size: 7pt; line-height: 1.3; }
  .review code { font-size: 6.5pt; }
  .review .who { width: 52mm; }
  .review .activity { width: 52mm; }
  .review .decision, .signing .decision { width: 21mm; }
  .review .reviewer { width: 31mm; }
  .review .date { width: 20mm; }
  .review .signature { width: 38mm; }
  .review thead .decision ~ *, .review .decision ~ td, .signing thead .decision ~ *, .signing td ~ td,
  .signing th ~ td, .signing td ~ th { border-left: 1px solid #d3d9df;
    padding-left: 1.5mm; }
  .line, .sign { border-bottom: 0; min-height: 0; font-size: 8pt; }
  .choice { min-height: 0; gap: 1.2mm; line-height: 1.6; }
  .choice input { width: 3mm; height: 3mm; }
  .screen { display: none; }
  .figures dd.words { font-size: 11pt; padding: 0; }
  .signing-card { break-inside: avoid; }
}
"""

TEMPLATE = """
{%- extends "layout" -%}
{%- from "parts" import coverage, kind with context -%}
{%- macro values(counts, risky=[]) -%}
{%- for count in counts[:most_values] -%}
<span{{ ' class="risk"' | safe if count.name in risky }}>{{ breakable(short(count.name)) }}
{%- if count.of > 1 %} ({{ say('of_addresses', n=count.of) }}){% elif not count.of %}\u00a0{{ format_count(count.entries) }}{% endif %}
{{- ', ' if not loop.last or counts | length > most_values }}</span>
{%- endfor %}
{%- if counts | length > most_values %}{{ say('more', n=counts | length - most_values) }}{% endif %}
{%- endmacro -%}
{%- macro decide(id, who) -%}
<td class="decision" data-label="{{ say('decision') }}"><label class="choice"><input type="radio" name="{{ id }}"> {{ say('keep') }}
<span class="unseen">: {{ who }}</span></label>
<label class="choice"><input type="radio" name="{{ id }}"> {{ say('remove') }} <span class="unseen">: {{ who }}</span></label></td>
{{ sign(who) }}
{%- endmacro -%}
{%- macro sign(who) -%}
{%- for field in ['reviewer', 'date'] %}
<td class="{{ field }}" data-label="{{ say(field) }}"><input class="line" autocomplete="off" aria-label="{{ say(field) }}: {{ who }}"></td>
{%- endfor %}
<td class="signature" data-label="{{ say('signature') }}"><div class="sign"></div></td>
{%- endmacro -%}
{%- macro time(text) -%}{{ text[:16] }}{%- endmacro -%}
{%- macro account(row, id) -%}
<tr><th scope="row" class="who"><bdi class="name">{{ breakable(short(row.name)) }}</bdi>
{% if row.kind not in ['user', 'api_token'] %} {{ kind(row.kind) }}{% endif %}
{% if row.former_names %}<small>{{ say('former_names', names=formerly(row.former_names)) }}</small>{% endif %}
{% if row.uuid and row.uuid != row.name %}<code>{{ short(row.uuid) }}</code>{% endif %}
{% if data.projects | length > 1 %}<small>{{ say('project') }}: <bdi>{{ short(row.project) or say('unnamed') }}</bdi></small>{% endif %}</th>
<td class="activity" data-label="{{ say('activity') }}"><p><span class="kind {{ row.standing }}">{{ say('standing_' ~ row.standing) }}</span>
<small class="inline">{{ say('before', n=before(row)) }}</small>
{% for why in row.reasons %}<small>{{ short(reason(why)) }}</small>{% endfor %}</p>
<p class="value">{{ say('changes') }}: {{ say('no_data') if row.entries is none else format_count(row.entries) }}
{%- if row.sensitive %}, <span class="risk">{{ say('sensitive_of', n=row.sensitive) }}</span>{% endif %}
{% if row.first %}<small><span>{{ time(row.first) }}</span>
{%- if row.last != row.first %} \u2013 <span>{{ time(row.last) }}</span>{% endif %}</small>
{% elif row.last_before %}<small>{{ say('last_before', time=time(row.last_before)) }}</small>{% endif %}</p></td>
<td data-label="{{ say('kinds_of_changes') }}">{% if row.actions %}<p>{{ values(row.actions, data.sensitive) }}</p>{% endif %}
{% if row.networks %}<p><small>{{ values(row.networks) }}</small></p>{% endif %}</td>
{% if row.needs_decision %}
{{ decide(id, short(row.name)) }}</tr>
{% else %}
<td class="decision" data-label="{{ say('decision') }}"><small>{{ say('no_decision') }}</small></td><td></td><td></td><td></td></tr>
{% endif %}
{%- endmacro -%}
{%- macro accounts(name, rows) -%}
<section class="card" id="{{ name }}">
<h2>{{ say(name) }}<span class="count">{{ format_count(rows | length) }}</span></h2>
<p class="hint">{{ say(name ~ '_hint') }}
{%- if rows | length > most %} {{ say('accounts_of', n=most, all=rows | length) }}{% endif %}</p>
{% if rows %}
<table class="review">
<caption class="unseen">{{ say(name) }}</caption>
<thead><tr><th scope="col" class="who">{{ say('who') }}</th><th scope="col" class="activity">{{ say('activity') }}</th>
<th scope="col">{{ say('kinds_of_changes') }}</th>
<th scope="col" class="decision">{{ say('decision') }}</th><th scope="col" class="reviewer">{{ say('reviewer') }}</th>
<th scope="col" class="date">{{ say('date') }}</th><th scope="col" class="signature">{{ say('signature') }}</th></tr></thead>
<tbody>
{% for row in rows[:most] %}
{{ account(row, name ~ '-' ~ loop.index) }}
{% endfor %}
</tbody>
</table>
{% else %}
<p class="rest">{{ say('nobody') }}</p>
{% endif %}
</section>
{%- endmacro -%}
{%- block skip -%}<a class="skip" href="#people">{{ say('jump_review') }}</a>{%- endblock -%}
{%- block main -%}
<h2 class="unseen">{{ say('figures') }}</h2>
<dl class="figures">
<div><dt>{{ say('active_people') }}</dt><dd>{{ format_count(data.active('people')) }}</dd></div>
<div><dt>{{ say('active_tokens') }}</dt><dd>{{ format_count(data.active('tokens')) }}</dd></div>
{% for name in ['new', 'dormant'] %}
<div{{ ' class="alarm"' | safe if figure_texts[name][0].isdigit() and figure_texts[name] != '0' }}><dt>{{ say(name) }}</dt>
<dd{{ ' class="words"' | safe if not figure_texts[name][0].isdigit() }}>{{ figure_texts[name] }}</dd></div>
{% endfor %}
<div><dt>{{ say('changes') }}</dt><dd>{{ format_count(data.entries) }}</dd></div>
<div{{ ' class="alarm"' | safe if data.sensitive_entries }}><dt>{{ say('sensitive') }}</dt><dd>{{ format_count(data.sensitive_entries) }}</dd></div>
</dl>
<section class="card" id="comparison">
<h2>{{ say('compared_with', range=data.preceding.name) if data.preceding else say('comparison') }}</h2>
<p class="hint">{{ say('comparison_hint') }}</p>
{% if data.is_compared %}
<p class="hint">{{ say('comparison_complete') }}</p>
{% else %}
<p class="hint">{{ say('comparison_missing') }}</p>
<ul class="missing">
{% for source in data.preceding.coverage if data.preceding %}{% for start, end, why in source.missing %}
<li><bdi>{{ source.origin.project or say('unnamed') }}</bdi>: {{ say('from_to', start=start, end=end or say('now')) }}, {{ short(reason(why)) }}</li>
{% endfor %}{% else %}
<li>{{ reason('no_period') }}</li>
{% endfor %}
</ul>
{% endif %}
{% if data.filters %}
<p class="hint">{{ say('filtered') }}</p>
<ul class="filters">{% for name, chosen in data.filters.items() %}
<li>{{ name }}: {% for value in chosen %}<code>{{ value }}</code>{% endfor %}</li>{% endfor %}</ul>
{% endif %}
<p class="hint screen">{{ say('fill_in') }}</p>
</section>
{% for name, rows in data.groups.items() if rows or name != 'others' %}
{{ accounts(name, rows) }}
{% endfor %}
<section class="card signing-card">
<h2>{{ say('unlisted') }}</h2>
<p class="hint">{{ say('unlisted_hint') }}</p>
<table class="signing">
<caption class="unseen">{{ say('unlisted') }}</caption>
<thead><tr><th scope="col" class="what">{{ say('who') }}</th><th scope="col" class="decision">{{ say('decision') }}</th>
<th scope="col">{{ say('reviewer') }}</th><th scope="col" class="date">{{ say('date') }}</th>
<th scope="col">{{ say('signature') }}</th></tr></thead>
<tbody>
{% for number in range(1, blank_rows + 1) %}
<tr><td data-label="{{ say('who') }}"><input class="line" autocomplete="off" aria-label="{{ say('who') }}: {{ number }}"></td>
{{ decide('unlisted-' ~ number, number) }}</tr>
{% endfor %}
</tbody>
</table>
</section>
<section class="card signing-card">
<h2>{{ say('sign_off') }}</h2>
<table class="signing">
<caption class="unseen">{{ say('sign_off') }}</caption>
<thead><tr><td class="what"></td><th scope="col">{{ say('who') }}</th><th scope="col">{{ say('role') }}</th>
<th scope="col" class="date">{{ say('date') }}</th><th scope="col">{{ say('signature') }}</th></tr></thead>
<tbody>
{% for by in ['reviewed_by', 'approved_by'] %}
<tr><th scope="row">{{ say(by) }}</th>
{% for field in ['who', 'role', 'date'] %}
<td data-label="{{ say(field) }}"><input class="line" autocomplete="off" aria-label="{{ say(by) }}: {{ say(field) }}"></td>
{% endfor %}
<td data-label="{{ say('signature') }}"><div class="sign"></div></td></tr>
{% endfor %}
</tbody>
</table>
</section>
{{ coverage(data.coverage) }}
{%- endblock -%}
"""


def access_review_page(review: Review) -> str:
    """The page. It has no script, because its tables are for signing, not for searching."""
    say = Translator(review.heading.language)
    return render(
        TEMPLATE,
        review,
        style=STYLE,
        figure_texts={name: figure(review, name, say) for name in ("new", "dormant")},
        short=shorten,
        before=lambda account: count_before(account, say),
        formerly=formerly,
        most=MAX_ACCOUNTS,
        most_values=_MAX_VALUES,
        blank_rows=_BLANK_ROWS,
    )
