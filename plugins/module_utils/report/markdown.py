# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report as Markdown, short enough for a ticket; whatever entries say, it stays text there."""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Sequence

from ..project_log.markup import code, text
from ..project_log.resource import Resource
from ..project_log.rows import truncate
from .coverage import Coverage, state_of
from .facts import FIGURES, Count, Facts, Heading, Rows
from .translations import Words, format_count, reason

MOST_ROWS = 100
"""So many entries are listed; the newest ones."""

_TOP = 10
_ALERTS_LISTED = {"critical": 10, "high": 10, "medium": 5}
_LONGEST = 300
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)


def markdown(facts: Facts, newest: Sequence[Dict[str, str]], rows: Rows) -> str:
    """The text. ``newest`` are rows of the newest entries."""
    return "\n".join(_lines(facts, newest, rows, Words(facts.heading.language)))


def _lines(facts: Facts, newest: Sequence[Dict[str, str]], rows: Rows, say: Words) -> Iterator[str]:
    yield from heading_lines(facts.heading, facts.projects, facts.coverage, say)
    if not facts.entries:
        yield say("nothing" if facts.is_complete else "nothing_known")
        yield ""
    else:
        yield from _attention(facts, rows, say)
        yield from _firsts(facts, say)
        yield from _totals(facts, say)
        yield from _counts(say("who"), facts.actors, say)
        yield from _counts(say("own"), facts.own, say)
        yield from _counts(say("action"), facts.actions, say)
        yield from _counts(say("networks"), facts.networks, say)
        yield from _counts(say("resource"), [_as_text(count, facts) for count in facts.resources], say)
        if len(facts.projects) > 1:
            yield from _counts(say("project"), facts.by_project, say)
    yield from coverage_lines(facts.coverage, say)
    if facts.entries:
        yield from _entries(say("all_entries"), newest, facts, say)


def _attention(facts: Facts, rows: Rows, say: Words) -> Iterator[str]:
    yield f"## {say('attention')}"
    yield ""
    if not facts.alerts.groups:
        yield say("no_alerts")
        yield ""
    for group in facts.alerts.groups:
        before = "" if group.before is None else f", {say('before', n=group.before)}"
        severity, title = say(f"severity_{group.detection.severity}"), say.detection(group.detection.title)
        yield f"- **{severity}**: {text(title)}: {format_count(group.total)}{before}"
        for alert in group.newest[: _ALERTS_LISTED.get(group.detection.severity, 0)]:
            row = rows.alert(alert)
            cells = [
                row["time"],
                *_project(facts, row),
                row["actor"],
                truncate(row["message"], _LONGEST),
                row["ip_address"],
            ]
            yield f"  - {', '.join(_cell(cell) for cell in cells if cell)}"
    if facts.alerts.groups:
        yield ""
    inactive = [say("needs", name=name, option=fact) for name, fact in facts.alerts.inactive.items()]
    if inactive:
        yield text(say("inactive", names=", ".join(inactive)))
        yield ""


def heading_lines(heading: Heading, projects: Sequence[str], coverage: Sequence[Coverage], say: Words) -> Iterator[str]:
    """The title, and in one line the projects, the range and whether it is complete."""
    yield f"# {text(heading.title)}"
    yield ""
    names = ", ".join(map(code, projects)) or say("unnamed")
    sentences = [heading.asked, say("times_in", zone=heading.zone)]
    sentences += [say("made", time=heading.made)] if heading.made else []
    sentences += [say(state_of(coverage))]
    # In bold, because a line may begin with markup of its own, as a heading.
    yield f"**{names}**: {text('. '.join(sentences))}."
    yield ""


def _totals(facts: Facts, say: Words) -> Iterator[str]:
    yield f"**{say('entries_number', n=facts.entries)}**, {facts.first} \u2013 {facts.last}"
    yield ""
    if facts.preceding is not None:
        told = "compared_with" if facts.preceding.is_complete else "not_compared"
        yield f"{text(say(told, range=facts.preceding.name))}:"
        yield ""
    for figure in facts.figures:
        before = "" if facts.preceding is None else f" ({_before(figure.before, say)})"
        yield f"- {say(FIGURES[figure.name])}: {format_count(figure.value)}{before}"
    yield ""


def _before(value: Optional[int], say: Words) -> str:
    return say("before_no_data") if value is None else say("before", n=value)


def _counts(heading: str, counts: Sequence[Count], say: Words) -> Iterator[str]:
    if not counts:
        return
    yield f"| {heading} | {say('entries')} |"
    yield "| --- | ---: |"
    for count in counts[:_TOP]:
        yield f"| {code(count.name)} | {count.entries} |"
    rest = counts[_TOP:]
    if rest:
        yield f"| {say('more', n=len(rest))} | {sum(count.entries for count in rest)} |"
    yield ""


def _as_text(count: Count, facts: Facts) -> Count:
    """A resource with its kind, and its project if there are several."""
    project = [count.project] if len(facts.projects) > 1 else []
    return count._replace(name=", ".join([str(Resource(count.kind, count.name)), *project]))


def _firsts(facts: Facts, say: Words) -> Iterator[str]:
    if not facts.has_baseline or not any(facts.firsts.values()):
        return
    yield f"## {say('first_seen')}"
    yield ""
    for name, found in facts.firsts.items():
        if found:
            told = ", ".join(code(first.name) + (f" ({first.time})" if first.time else "") for first in found[:_TOP])
            yield f"- {say(name)}: {told}{', ...' if len(found) > _TOP else ''}"
    yield ""


def coverage_lines(coverage: Sequence[Coverage], say: Words) -> Iterator[str]:
    """Each source with what it covers and misses."""
    yield f"## {say('coverage')}"
    yield ""
    for source in coverage:
        name = code(source.origin.project) or say("unnamed")
        if source.origin.head is None:
            yield f"- **{name}**: {say('api')}. {say('api_kept')}"
        else:
            covered = say("from_to", start=source.covered_from, end=source.covered_until)
            head = f"{say('commit', n=source.origin.head.sequence)} {source.origin.head.sha256}"
            yield f"- **{name}**: {say('archive')} {covered}, {head}"
        yield from missing_lines(source, say)
    yield ""


def missing_lines(source: Coverage, say: Words) -> Iterator[str]:
    """What a source misses, below its own line of a list."""
    for start, end, why in source.missing:
        open_end = "..." if why == "future" else say("now")
        yield f"  - {say('gaps')}: {say('from_to', start=start, end=end or open_end)}, {text(reason(why, say))}"


def _entries(heading: str, rows: Sequence[Dict[str, str]], facts: Facts, say: Words) -> Iterator[str]:
    yield f"## {heading}"
    yield ""
    if len(rows) < facts.entries:
        yield f"{say('newest_of', n=len(rows), all=facts.entries)}:"
        yield ""
    project = [say("project")] if len(facts.projects) > 1 else []
    columns = [say("when"), *project, say("who"), say("action"), say("what"), say("where")]
    yield f"| {' | '.join(columns)} |"
    yield "| " + " | ".join(["---"] * len(columns)) + " |"
    for row in rows:
        cells = [row["time"], *_project(facts, row), row["actor"], row["action"], truncate(row["message"], _LONGEST)]
        yield "| " + " | ".join(map(_cell, [*cells, row["ip_address"]])) + " |"
    yield ""


def _project(facts: Facts, row: Dict[str, str]) -> List[str]:
    """The cell of the project, where there are several."""
    return [row["project"]] if len(facts.projects) > 1 else []


def _cell(value: str) -> str:
    return value if _TIME.fullmatch(value) else code(value)
