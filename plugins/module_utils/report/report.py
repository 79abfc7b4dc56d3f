# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A report from its options to a file: what it reads, what it asks, and the form that the file's suffix names."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from heapq import nlargest
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ..errors import InvalidInput
from ..files import content_sha256, write_lines
from ..project_log.entry import parse, timestamp, to_printable
from ..project_log.selection import Selection, parse_list
from ..settings import Range
from ..times import is_relative, parse_time, utc_now
from ..working_hours import time_zone
from .access_review import Review, access_review, preceding_range, span_of
from .access_review_page import LIBRARIES as REVIEW_LIBRARIES
from .access_review_page import access_review_page
from .access_review_text import access_review_markdown, write_access_review_csv
from .alerts import Alerts, Rules, Watch, text_of
from .coverage import Period, coverage_of
from .facts import MOST_ROWS, Facts, Heading, Inquiry, Rows
from .markdown import MOST_ROWS as MOST_LISTED
from .markdown import markdown
from .metadata import NAME as METADATA
from .metadata import companion, metadata, with_companion, without_made
from .page import LIBRARIES as PAGE_LIBRARIES
from .page import page
from .query.dataset import Log
from .query.engine import COLUMNS, ENGINES, connected
from .query.engine import LIBRARIES as ENGINE_LIBRARIES
from .query.libraries import require
from .query.sources import Sources
from .tabular import write_csv, write_parquet
from .translations import BASELINE, FORMS, LANGUAGES, REPORTS, Words

_DISTANCE = re.compile(r"\d{1,9}[smhdw]")
_MADE = re.compile("|".join(Words(language)("made", time=r"[0-9.:\- ]{16}") for language in LANGUAGES).encode())
_MINUTE = "%Y-%m-%d %H:%M"
_SECOND = "%Y-%m-%d %H:%M:%S"
_FILTERS = ("actions", "actors", "ip_networks", "resources")
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Written:
    """What was reported: how many entries, the figures, and what the user should know."""

    entries: int
    summary: Dict[str, Any]
    warnings: List[str]


class Report:
    """Options, read and checked before anything is asked.

    :raises InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Mapping[str, Any], now: Optional[datetime] = None) -> None:
        self._options = options
        self._now = now or utc_now()
        self._selection = Selection.from_mapping(options)
        self._kind = _one_of("form", options.get("form"), REPORTS)
        if self._is_review:
            _check_review(options)
        self._language = _one_of("language", options.get("language"), LANGUAGES)
        self._engine = _one_of("engine", options.get("engine"), ENGINES)
        self._zone_name = str(options.get("time_zone") or "UTC")
        self._zone = time_zone(self._zone_name, "time_zone")
        self._rules = Rules(options, self._zone_name)
        self._baseline = _baseline(str(options.get("baseline") or BASELINE), self._now)

    def write(self, paths: Mapping[str, str]) -> Written:
        """Read all there is to read, once, and write the report in each form to the path given for it.

        :raises MissingDependency: a library that reports need is not installed.
        :raises AuditError: something cannot be read or written.
        """
        page_libraries = REVIEW_LIBRARIES if self._is_review else PAGE_LIBRARIES
        require({**ENGINE_LIBRARIES[self._engine], **(page_libraries if "html" in paths else {})})
        with tempfile.TemporaryDirectory(prefix="cloudscale-report-") as folder:
            # The engine comes first: what it lacks should be told before anything is read.
            with connected(self._engine, os.path.join(folder, "spill")) as engine:
                preceding = self._preceding
                sources = Sources(self._options, folder, self._now, self._before(preceding), self._zone)
                log = Log(engine, sources, self._selection, self._baseline, preceding)
                rows = Rows(self._zone, Words(self._language).day)
                facts: Union[Facts, Review]
                if self._is_review:
                    facts = self._review(log, rows, sources, preceding)
                else:
                    facts = self._activity(log, rows, sources, preceding)
                about = self._about(sources.asked, facts)
                for form, path in paths.items():
                    if form == METADATA:
                        _write(path, companion(about, paths))
                    elif form == "parquet":
                        write_parquet(path, log.ordered(), rows, about)
                    else:
                        self._write(form, path, sources, log, rows, facts)
            return Written(facts.entries, facts.summary, sources.warnings)

    def _before(self, preceding: Optional[Range]) -> timedelta:
        """How much of the time before the range is read."""
        span = span_of(self._range, preceding)
        return span if self._is_review else max(span, self._baseline)

    def _activity(self, log: Log, rows: Rows, sources: Sources, preceding: Optional[Range]) -> Facts:
        compared = None if preceding is None else self._period(sources, preceding, rows)
        alerts = self._alerts(log, sources, preceding, compared is not None and compared.is_complete)
        inquiry = Inquiry(log, rows, self._rules.facts.own_actors)
        heading = self._heading(sources.asked)
        return inquiry.facts(heading, sources.origins(), sources.asked, self._now, alerts, compared)

    def _alerts(self, log: Log, sources: Sources, preceding: Optional[Range], is_compared: bool) -> Alerts:
        asked = sources.asked
        if self._selection.limit is not None:
            # Of entries that are left out there are no alerts.
            asked = asked.intersect(start=log.extent()[0])
        watch = Watch(self._rules, self._selection, asked, preceding)
        for project, entries in sources.entries():
            watch.read(project, entries)
        return watch.alerts(is_compared)

    def _review(self, log: Log, rows: Rows, sources: Sources, preceding: Optional[Range]) -> Review:
        return access_review(
            log,
            rows,
            self._heading(sources.asked),
            self._period(sources, sources.asked, rows),
            None if preceding is None else self._period(sources, preceding, rows),
            self._filters,
        )

    def _period(self, sources: Sources, asked: Range, rows: Rows) -> Period:
        coverage = coverage_of(sources.origins(asked), asked, self._now, rows.told)
        return Period(self._heading(asked).asked, coverage)

    def _write(self, form: str, path: str, sources: Sources, log: Log, rows: Rows, facts: Union[Facts, Review]) -> None:
        if form == "jsonl":
            write_lines(self._selected(sources.lines()), path)
        elif isinstance(facts, Review):
            _write_review(form, path, facts)
        elif form == "html":
            _write(path, page(facts, log.newest(log.table, MOST_ROWS)[1], rows, sources.data_file))
        elif form == "md":
            _write(path, markdown(facts, [rows.row(record) for record in log.newest(log.table, MOST_LISTED)[1]], rows))
        else:
            write_csv(path, log.ordered(), rows)

    def _selected(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of selected entries as they were received, in order."""
        chosen = (line for line in lines if self._selection.matches(parse(line)))
        if self._selection.limit is None:
            return chosen
        numbered = nlargest(self._selection.limit, enumerate(chosen), key=_age)
        return iter([line for _number, line in sorted(numbered)])

    def _about(self, asked: Range, facts: Union[Facts, Review]) -> Dict[str, Any]:
        title = facts.heading.title
        return metadata(title, asked, self._now, self._zone, self._zone_name, facts.projects, facts.summary)

    def _heading(self, asked: Range) -> Heading:
        title = self._options.get("title")
        say = Words(self._language)
        made = self._now.astimezone(self._zone).strftime(_form(_MINUTE, say))
        return Heading(
            title=say("access_review" if self._is_review else "audit_report") if title in (None, "") else str(title),
            asked=self._asked(asked, made, say),
            made=made,
            zone=self._zone_name,
            language=self._language,
        )

    def _asked(self, asked: Range, made: str, say: Words) -> str:
        """The range in words: dates and times in the display's zone."""
        if self._options.get("cursor"):
            return say("since_cursor")
        if asked.start is None and asked.end is None:
            return say("all_kept")
        start, end = (self._shown(moment, say) for moment in (asked.start, asked.end))
        return say("from_to", start=start or say("oldest_kept"), end=end or made)

    def _shown(self, moment: Optional[datetime], say: Words) -> str:
        """A time to the minute, or to the second where it has seconds that somebody wrote; a midnight as its date."""
        if moment is None:
            return ""
        local = moment.astimezone(self._zone)
        if local.time() == time():
            return local.strftime(say.day)
        return local.strftime(_form(_SECOND if local.second and not self._is_relative else _MINUTE, say))

    @property
    def _is_review(self) -> bool:
        return self._kind == "access_review"

    @property
    def _range(self) -> Range:
        return Range.from_mapping(self._options, self._now, self._zone)

    @property
    def _preceding(self) -> Optional[Range]:
        """The period that the report compares with; None if it compares with none."""
        is_compared = self._is_review or (self._options.get("compare") is not False and self._selection.limit is None)
        return preceding_range(self._range, self._now, self._zone) if is_compared else None

    @property
    def _filters(self) -> Dict[str, List[str]]:
        """The options that leave out entries, with their values."""
        found = {name: list(parse_list(self._options.get(name), name)) for name in _FILTERS}
        found["message_pattern"] = list(filter(None, [str(self._options.get("message_pattern") or "")]))
        return {name: list(map(to_printable, values)) for name, values in found.items() if values}

    @property
    def _is_relative(self) -> bool:
        return any(is_relative(self._options.get(name) or "") for name in ("start", "end"))


def is_same_report(form: str, draft: str, path: str) -> bool:
    """Whether two files say the same in a form of a report; when each was made is no difference."""
    if form in ("csv", "jsonl") or not os.path.exists(path):
        return content_sha256(draft) == content_sha256(path)
    return _without_made(form, draft) == _without_made(form, path)


def _without_made(form: str, path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read()
    if form not in ("html", "md"):
        return without_made(content)
    # Only the first one: what entries say comes later.
    return _MADE.sub(b"", content, count=1)


def destinations(dest: str, also: Iterable[str]) -> Dict[str, str]:
    """The path of each form that is asked for: ``dest``, and beside it the same name with other suffixes.

    Tables of entries get a companion file with their metadata.

    :raises InvalidInput: a suffix names no form.
    """
    stem, first = os.path.splitext(dest)[0], form_of(dest)
    others = [form_of(f"{stem}.{form}") for form in also]
    return with_companion({first: dest, **{form: f"{stem}.{form}" for form in others if form != first}}, stem)


def form_of(path: str) -> str:
    """The form of a report by the suffix of its file.

    :raises InvalidInput: it has none of the suffixes known.
    """
    form = os.path.splitext(path)[1][1:].lower()
    if form not in FORMS:
        raise InvalidInput(f"dest: {path!r} names no form of a report; end it with .{', .'.join(FORMS)}.")
    return form


def _form(form: str, say: Words) -> str:
    """A form of a time, with the day as the language writes it."""
    return form.replace("%Y-%m-%d", say.day)


def _one_of(option: str, value: Any, choices: Sequence[str]) -> str:
    """The value, the first of the choices without one."""
    if value in (None, ""):
        return choices[0]
    if value not in choices:
        raise InvalidInput(f"{option}: {value!r} is none of {', '.join(choices)}.")
    return str(value)


def _check_review(options: Mapping[str, Any]) -> None:
    """An access review is about a period, and about everything in it."""
    for name in ("cursor", "limit"):
        if options.get(name) not in (None, ""):
            raise InvalidInput(
                f"{name}: an access review needs all entries of a period; remove {name}, and set start and end."
            )


def _baseline(text: str, now: datetime) -> timedelta:
    if not _DISTANCE.fullmatch(text):
        raise InvalidInput(f"baseline: {text!r} is no length of time; write it as 30d, 12w or 0d.")
    return now - parse_time(f"-{text}", now, "baseline")


def _age(numbered: Tuple[int, bytes]) -> Tuple[datetime, List[str], int]:
    """What orders entries by time; those of the same time by their texts, as the log does for the other forms."""
    number, line = numbered
    entry = parse(line)
    return timestamp(entry) or _NEVER, [text_of(entry.get(name)) for name in COLUMNS], number


def _write_review(form: str, path: str, review: Review) -> None:
    if form == "html":
        _write(path, access_review_page(review))
    elif form == "md":
        _write(path, access_review_markdown(review))
    else:
        write_access_review_csv(path, review)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
