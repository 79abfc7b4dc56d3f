# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layout of all pages: head, Content Security Policy, heading, coverage and footer.

Entries stay text: the templates escape everything, and the policy of a page allows only the page's own scripts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any, Dict, Sequence

from ..project_log.entry import ACTOR_KINDS
from .coverage import state_of
from .style import STYLE
from .translations import Translator, format_count, reason

_MOMENT = re.compile(r"\d[\d.-]+\d [\d:]+\d", re.ASCII)
_BREAKS = re.compile("[_@]|:(?!:)")
_KINDS = (*ACTOR_KINDS, "unknown")

PARTS = """
{%- macro kind(name) -%}
{%- if name -%}{%- set known = name if name in kinds else 'unknown' -%}
<span class="kind {{ known }}">{{ kinds[known] }}</span>{%- endif -%}
{%- endmacro -%}
{%- macro coverage(sources) -%}
<section class="card" id="coverage">
<h2>{{ say('coverage') }}</h2>
<p class="hint">{{ say('coverage_hint') }}</p>
<table class="sources">
<caption class="unseen">{{ say('coverage') }}</caption>
<thead><tr><th scope="col">{{ say('project') }}</th><th scope="col">{{ say('source') }}</th><th scope="col">{{ say('covered') }}</th>
<th scope="col">{{ say('gaps') }}</th></tr></thead>
<tbody>
{% for source in sources %}
<tr><th scope="row"><bdi>{{ source.origin.project or say('unnamed') }}</bdi></th>
<td>{% if source.origin.archive %}{{ say('archive') }}<code>{{ source.origin.archive }}</code>
<code title="{{ say('head') }}">{{ say('commit', n=source.origin.head.sequence) }} {{ source.origin.head.sha256 }}</code>
{% else %}{{ say('api') }}{% endif %}</td>
<td data-label="{{ say('covered') }}">
{%- if source.origin.archive %}{{ unbroken(say('from_to', start=source.covered_from, end=source.covered_until)) }}
{%- else %}{{ say('api_kept') }}{% endif %}</td>
<td data-label="{{ say('gaps') }}">{% if source.missing %}<ul>{% for start, end, why in source.missing %}
{% set until = end or ('...' if why == 'future' else say('now')) %}
<li{% if why == 'future' %} class="future"{% endif %}>{{ unbroken(say('from_to', start=start, end=until)) }}: {{ reason(why) }}</li>
{%- endfor %}</ul>{% else %}{{ say('none') }}{% endif %}</td></tr>
{% endfor %}
</tbody>
</table>
</section>
{%- endmacro -%}
"""

LAYOUT = """
<!DOCTYPE html>
<html lang="{{ say.language }}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{{ data.heading.title }}</title>
<style>{{ style }}</style>
</head>
<body>
{% block skip %}{% endblock +%}
<header>
<div class="top">
<div>
<p class="projects">{% for project in data.projects or [say('unnamed')] %}<bdi>{{ project }}</bdi>{{ ', ' if not loop.last }}{% endfor %}</p>
<h1><bdi>{{ data.heading.title }}</bdi></h1>
<p class="range"><span>{{ data.heading.range_text }}</span> <span>{{ say('times_in', zone=data.heading.zone) }}</span>
{% if data.heading.made %}<span>{{ say('made', time=data.heading.made) }}</span>{% endif %}</p>
</div>
<a class="state {{ state }}" href="#coverage">{{ say(state) }}
<span class="unseen">{{ say('to_coverage') }}</span></a>
</div>
</header>
<main>
{% block main %}{% endblock %}
</main>
<footer><p>{{ say('made_by') }}</p></footer>
{% block scripts %}{% endblock %}
</body>
</html>
"""


def render(template: str, data: Any, style: str = "", scripts: Sequence[str] = (), **values: Any) -> str:
    """Fill in a template that extends ``layout``.

    ``data`` has ``heading``, ``projects`` and ``coverage``. ``style`` is added to the shared style sheet. The page's
    policy allows ``scripts`` and nothing else.
    """
    from jinja2 import DictLoader, Environment
    from markupsafe import Markup

    say = Translator(data.heading.language)
    templates = {"layout": LAYOUT.lstrip(), "parts": PARTS.lstrip(), "page": template.lstrip()}
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=DictLoader(templates))
    return environment.get_template("page").render(
        data=data,
        say=say,
        format_count=format_count,
        state=state_of(data.coverage),
        breakable=_breakable,
        unbroken=_unbroken,
        kinds=kind_words(say),
        reason=lambda why: reason(why, say),
        policy=_policy(STYLE + style, scripts),
        style=Markup(STYLE + style),
        **values,
    )


def kind_words(say: Translator) -> Dict[str, str]:
    """The label of each kind of actor."""
    return {name: say(f"kind_{name}") for name in _KINDS}


def _breakable(text: str) -> Any:
    """A name with line breaks allowed after ``_``, ``@`` and ``:``."""
    from markupsafe import Markup, escape

    # No escaped text has one of these characters of its own.
    return Markup(_BREAKS.sub(r"\g<0><wbr>", str(escape(text))))


def _unbroken(text: str) -> Any:
    """A text without line breaks inside its times."""
    from markupsafe import Markup, escape

    return Markup(_MOMENT.sub(r'<span class="moment">\g<0></span>', str(escape(text))))


def _policy(style: str, scripts: Sequence[str]) -> str:
    allowed = " ".join(f"'sha256-{_hash(script)}'" for script in scripts) or "'none'"
    return f"default-src 'none'; script-src {allowed}; style-src 'sha256-{_hash(style)}'; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
