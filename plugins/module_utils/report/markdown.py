# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report as Markdown, short enough for a ticket. Texts of entries never become markup."""

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Optional, Sequence

from ..project_log.markup import code, text
from ..project_log.resource import Resource
from ..project_log.rows import truncate
from .alerts import ALERTS_LISTED
from .coverage import SourceCoverage, state_of
from .entry_rows import EntryRows
from .report_data import FIGURES, Heading, ReportData, ValueCount
from .translations import Translator, format_count, reason

MAX_ENTRIES = 100
"""Maximum number of entries listed; the newest ones."""

_TOP = 10
_MAX_MESSAGE = 300
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)


def markdown(data: ReportData, newest: Sequence[Dict[str, str]], rows: EntryRows) -> str:
    """The report as Markdown. ``newest`` are rows of the newest entries."""
    return "\n".join(_lines(data, newest, rows, Translator(data.heading.language)))


def _lines(data: ReportData, newest: Sequence[Dict[str, str]], rows: EntryRows, say: Translator) -> Iterator[str]:
    yield from heading_lines(data.heading, data.projects, data.coverage, say)
    if not data.entries:
        yield say("nothing" if data.is_complete else "nothing_known")
        yield ""
    else:
        yield from _attention(data, rows, say)
        yield from _firsts(data, say)
        yield from _totals(data, say)
        yield from _counts(say("who"), data.actors, say)
        yield from _counts(say("own"), data.own, say)
        yield from _counts(say("action"), data.actions, say)
        yield from _counts(say("networks"), data.networks, say)
        yield from _counts(say("resource"), [_as_text(count, data) for count in data.resources], say)
        if len(data.projects) > 1:
            yield from _counts(say("project"), data.by_project, say)
    yield from coverage_lines(data.coverage, say)
    if data.entries:
        yield from _entries(say("all_entries"), newest, data, say)


def _attention(data: ReportData, rows: EntryRows, say: Translator) -> Iterator[str]:
    yield f"## {say('attention')}"
    yield ""
    if not data.alerts.groups:
        yield say("no_alerts")
        yield ""
    for group in data.alerts.groups:
        before = "" if group.before is None else f", {say('before', n=group.before)}"
        severity, title = say(f"severity_{group.detection.severity}"), say.detection(group.detection.title)
        yield f"- **{severity}**: {text(title)}: {format_count(group.total)}{before}"
        for alert in group.newest[: ALERTS_LISTED.get(group.detection.severity, 0)]:
            row = rows.alert(alert)
            cells = [
                row["time"],
                *_project(data, row),
                row["actor"],
                truncate(row["message"], _MAX_MESSAGE),
                row["ip_address"],
            ]
            yield f"  - {', '.join(_cell(cell) for cell in cells if cell)}"
    if data.alerts.groups:
        yield ""
    inactive = [say("needs", name=name, option=fact) for name, fact in data.alerts.inactive.items()]
    if inactive:
        yield text(say("inactive", names=", ".join(inactive)))
        yield ""


def heading_lines(
    heading: Heading, projects: Sequence[str], coverage: Sequence[SourceCoverage], say: Translator
) -> Iterator[str]:
    """The title, and a line with the projects, the time range and its state."""
    yield f"# {text(heading.title)}"
    yield ""
    names = ", ".join(map(code, projects)) or say("unnamed")
    sentences = [heading.range_text, say("times_in", zone=heading.zone)]
    sentences += [say("made", time=heading.made)] if heading.made else []
    sentences += [say(state_of(coverage))]
    # In bold, so that a name cannot start the line with markup.
    yield f"**{names}**: {text('. '.join(sentences))}."
    yield ""


def _totals(data: ReportData, say: Translator) -> Iterator[str]:
    yield f"**{say('entries_number', n=data.entries)}**, {data.first} \u2013 {data.last}"
    yield ""
    if data.preceding is not None:
        shown = "compared_with" if data.preceding.is_complete else "not_compared"
        yield f"{text(say(shown, range=data.preceding.name))}:"
        yield ""
    for figure in data.figures:
        before = "" if data.preceding is None else f" ({_before(figure.before, say)})"
        yield f"- {say(FIGURES[figure.name])}: {format_count(figure.value)}{before}"
    yield ""


def _before(value: Optional[int], say: Translator) -> str:
    return say("before_no_data") if value is None else say("before", n=value)


def _counts(heading: str, counts: Sequence[ValueCount], say: Translator) -> Iterator[str]:
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


def _as_text(count: ValueCount, data: ReportData) -> ValueCount:
    """A resource with its kind, and its project if there are several."""
    project = [count.project] if len(data.projects) > 1 else []
    return count._replace(name=", ".join([str(Resource(count.kind, count.name)), *project]))


def _firsts(data: ReportData, say: Translator) -> Iterator[str]:
    if not data.has_baseline or not any(data.firsts.values()):
        return
    yield f"## {say('first_seen')}"
    yield ""
    for name, found in data.firsts.items():
        if found:
            shown = ", ".join(code(first.name) + (f" ({first.time})" if first.time else "") for first in found[:_TOP])
            yield f"- {say(name)}: {shown}{', ...' if len(found) > _TOP else ''}"
    yield ""


def coverage_lines(coverage: Sequence[SourceCoverage], say: Translator) -> Iterator[str]:
    """Each source with its coverage and missing parts."""
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


def missing_lines(source: SourceCoverage, say: Translator) -> Iterator[str]:
    """The missing parts of a source, as items below the source's item in a list."""
    for start, end, why in source.missing:
        open_end = "..." if why == "future" else say("now")
        yield f"  - {say('gaps')}: {say('from_to', start=start, end=end or open_end)}, {text(reason(why, say))}"


def _entries(heading: str, rows: Sequence[Dict[str, str]], data: ReportData, say: Translator) -> Iterator[str]:
    yield f"## {heading}"
    yield ""
    if len(rows) < data.entries:
        yield f"{say('newest_of', n=len(rows), all=data.entries)}:"
        yield ""
    project = [say("project")] if len(data.projects) > 1 else []
    columns = [say("when"), *project, say("who"), say("action"), say("what"), say("where")]
    yield f"| {' | '.join(columns)} |"
    yield "| " + " | ".join(["---"] * len(columns)) + " |"
    for row in rows:
        cells = [row["time"], *_project(data, row), row["actor"], row["action"], truncate(row["message"], _MAX_MESSAGE)]
        yield "| " + " | ".join(map(_cell, [*cells, row["ip_address"]])) + " |"
    yield ""


def _project(data: ReportData, row: Dict[str, str]) -> List[str]:
    """The cell of the project if there are several projects."""
    return [row["project"]] if len(data.projects) > 1 else []


def _cell(value: str) -> str:
    return value if _TIME.fullmatch(value) else code(value)
