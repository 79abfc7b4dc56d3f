# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creates a report: checks its options, reads its sources and writes its files."""

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
from .access_review import Review, access_review, duration_before, preceding_range
from .access_review_page import LIBRARIES as REVIEW_LIBRARIES
from .access_review_page import access_review_page
from .access_review_text import access_review_markdown, write_access_review_csv
from .alerts import Alerts, AlertScan, Rules, text_of
from .analysis import Analysis
from .coverage import Period, coverage_of
from .entry_rows import MAX_ROWS, EntryRows
from .markdown import MAX_ENTRIES, markdown
from .metadata import NAME as METADATA
from .metadata import companion, metadata, with_companion, without_made
from .page import LIBRARIES as PAGE_LIBRARIES
from .page import page
from .query.dataset import EntryTable
from .query.engine import COLUMNS, ENGINES, connected
from .query.engine import LIBRARIES as ENGINE_LIBRARIES
from .query.libraries import require
from .query.sources import Sources
from .report_data import Heading, ReportData
from .tabular import write_csv, write_parquet
from .translations import BASELINE, FORMS, LANGUAGES, REPORTS, Translator

_DISTANCE = re.compile(r"\d{1,9}[smhdw]")
_MADE = re.compile("|".join(Translator(language)("made", time=r"[0-9.:\- ]{16}") for language in LANGUAGES).encode())
_MINUTE = "%Y-%m-%d %H:%M"
_SECOND = "%Y-%m-%d %H:%M:%S"
_FILTERS = ("actions", "actors", "ip_networks", "resources")
_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class WriteResult:
    """Result of a report: number of entries, figures, and warnings."""

    entries: int
    summary: Dict[str, Any]
    warnings: List[str]


class Report:
    """A report. All options are checked before anything is read.

    :raises InvalidInput: an option is not valid.
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

    def write(self, paths: Mapping[str, str]) -> WriteResult:
        """Read all sources once, and write the report in each format to its path.

        :raises MissingDependency: a library for reports is not installed.
        :raises AuditError: a source cannot be read, or a file cannot be written.
        """
        page_libraries = REVIEW_LIBRARIES if self._is_review else PAGE_LIBRARIES
        require({**ENGINE_LIBRARIES[self._engine], **(page_libraries if "html" in paths else {})})
        with tempfile.TemporaryDirectory(prefix="cloudscale-report-") as directory:
            # Connect to the engine first, so that a missing engine is reported before anything is read.
            with connected(self._engine, os.path.join(directory, "spill")) as engine:
                preceding = self._preceding
                sources = Sources(self._options, directory, self._now, self._before(preceding), self._zone)
                table = EntryTable(engine, sources, self._selection, self._baseline, preceding)
                rows = EntryRows(self._zone, Translator(self._language).day)
                data: Union[ReportData, Review]
                if self._is_review:
                    data = self._review(table, rows, sources, preceding)
                else:
                    data = self._activity(table, rows, sources, preceding)
                about = self._about(sources.time_range, data)
                for form, path in paths.items():
                    if form == METADATA:
                        _write(path, companion(about, paths))
                    elif form == "parquet":
                        write_parquet(path, table.ordered(), rows, about)
                    else:
                        self._write(form, path, sources, table, rows, data)
            return WriteResult(data.entries, data.summary, sources.warnings)

    def _before(self, preceding: Optional[Range]) -> timedelta:
        """Length of the period before the range that is read."""
        duration = duration_before(self._range, preceding)
        return duration if self._is_review else max(duration, self._baseline)

    def _activity(self, table: EntryTable, rows: EntryRows, sources: Sources, preceding: Optional[Range]) -> ReportData:
        compared = None if preceding is None else self._period(sources, preceding, rows)
        alerts = self._alerts(table, sources, preceding, compared is not None and compared.is_complete)
        analysis = Analysis(table, rows, self._rules.facts.own_actors)
        heading = self._heading(sources.time_range)
        return analysis.report_data(heading, sources.origins(), sources.time_range, self._now, alerts, compared)

    def _alerts(self, table: EntryTable, sources: Sources, preceding: Optional[Range], is_compared: bool) -> Alerts:
        time_range = sources.time_range
        if self._selection.limit is not None:
            # Entries beyond the limit have no alerts.
            time_range = time_range.intersect(start=table.extent()[0])
        watch = AlertScan(self._rules, self._selection, time_range, preceding)
        for project, entries in sources.entries():
            watch.read(project, entries)
        return watch.alerts(is_compared)

    def _review(self, table: EntryTable, rows: EntryRows, sources: Sources, preceding: Optional[Range]) -> Review:
        return access_review(
            table,
            rows,
            self._heading(sources.time_range),
            self._period(sources, sources.time_range, rows),
            None if preceding is None else self._period(sources, preceding, rows),
            self._filters,
        )

    def _period(self, sources: Sources, time_range: Range, rows: EntryRows) -> Period:
        coverage = coverage_of(sources.origins(time_range), time_range, self._now, rows.in_words)
        return Period(self._heading(time_range).range_text, coverage)

    def _write(
        self,
        form: str,
        path: str,
        sources: Sources,
        table: EntryTable,
        rows: EntryRows,
        data: Union[ReportData, Review],
    ) -> None:
        if form == "jsonl":
            write_lines(self._selected(sources.lines()), path)
        elif isinstance(data, Review):
            _write_review(form, path, data)
        elif form == "html":
            _write(path, page(data, table.newest(table.selected, MAX_ROWS)[1], rows, sources.data_file))
        elif form == "md":
            _write(
                path,
                markdown(data, [rows.row(record) for record in table.newest(table.selected, MAX_ENTRIES)[1]], rows),
            )
        else:
            write_csv(path, table.ordered(), rows)

    def _selected(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines of selected entries as received, in order."""
        chosen = (line for line in lines if self._selection.matches(parse(line)))
        if self._selection.limit is None:
            return chosen
        numbered = nlargest(self._selection.limit, enumerate(chosen), key=_age)
        return iter([line for _number, line in sorted(numbered)])

    def _about(self, time_range: Range, data: Union[ReportData, Review]) -> Dict[str, Any]:
        title = data.heading.title
        return metadata(title, time_range, self._now, self._zone, self._zone_name, data.projects, data.summary)

    def _heading(self, time_range: Range) -> Heading:
        title = self._options.get("title")
        say = Translator(self._language)
        made = self._now.astimezone(self._zone).strftime(_form(_MINUTE, say))
        return Heading(
            title=say("access_review" if self._is_review else "audit_report") if title in (None, "") else str(title),
            range_text=self._range_text(time_range, made, say),
            made=made,
            zone=self._zone_name,
            language=self._language,
        )

    def _range_text(self, time_range: Range, made: str, say: Translator) -> str:
        """The time range as text, in the report's time zone."""
        if self._options.get("cursor"):
            return say("since_cursor")
        if time_range.start is None and time_range.end is None:
            return say("all_kept")
        start, end = (self._shown(moment, say) for moment in (time_range.start, time_range.end))
        return say("from_to", start=start or say("oldest_kept"), end=end or made)

    def _shown(self, moment: Optional[datetime], say: Translator) -> str:
        """A time to the minute, or to the second if the option has seconds; midnight as a date."""
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
        """The period to compare with; None without a comparison."""
        is_compared = self._is_review or (self._options.get("compare") is not False and self._selection.limit is None)
        return preceding_range(self._range, self._now, self._zone) if is_compared else None

    @property
    def _filters(self) -> Dict[str, List[str]]:
        """The options that select entries, with their values."""
        found = {name: list(parse_list(self._options.get(name), name)) for name in _FILTERS}
        found["message_pattern"] = list(filter(None, [str(self._options.get("message_pattern") or "")]))
        return {name: list(map(to_printable, values)) for name, values in found.items() if values}

    @property
    def _is_relative(self) -> bool:
        return any(is_relative(self._options.get(name) or "") for name in ("start", "end"))


def is_same_report(form: str, draft: str, path: str) -> bool:
    """Whether two files of a report have the same content, except for the time of making."""
    if form in ("csv", "jsonl") or not os.path.exists(path):
        return content_sha256(draft) == content_sha256(path)
    return _without_made(form, draft) == _without_made(form, path)


def _without_made(form: str, path: str) -> bytes:
    with open(path, "rb") as file:
        content = file.read()
    if form not in ("html", "md"):
        return without_made(content)
    # Only the first match: texts of entries come later.
    return _MADE.sub(b"", content, count=1)


def destinations(dest: str, also: Iterable[str]) -> Dict[str, str]:
    """The path of each format: ``dest``, and the same name with other suffixes next to it.

    CSV and JSON lines get a companion file with metadata.

    :raises InvalidInput: a suffix is not supported.
    """
    stem, first = os.path.splitext(dest)[0], form_of(dest)
    others = [form_of(f"{stem}.{form}") for form in also]
    return with_companion({first: dest, **{form: f"{stem}.{form}" for form in others if form != first}}, stem)


def form_of(path: str) -> str:
    """The format of a report by the suffix of its file.

    :raises InvalidInput: the suffix is not supported.
    """
    form = os.path.splitext(path)[1][1:].lower()
    if form not in FORMS:
        raise InvalidInput(f"dest: the format of {path!r} is not supported; use .{', .'.join(FORMS)}.")
    return form


def _form(form: str, say: Translator) -> str:
    """A time format with the day as the language writes it."""
    return form.replace("%Y-%m-%d", say.day)


def _one_of(option: str, value: Any, choices: Sequence[str]) -> str:
    """The value of an option; without a value, the first choice."""
    if value in (None, ""):
        return choices[0]
    if value not in choices:
        raise InvalidInput(f"{option}: {value!r} is not valid; use one of {', '.join(choices)}.")
    return str(value)


def _check_review(options: Mapping[str, Any]) -> None:
    """An access review needs all entries of a period."""
    for name in ("cursor", "limit"):
        if options.get(name) not in (None, ""):
            raise InvalidInput(
                f"{name}: an access review needs all entries of a period; remove {name}, and set start and end."
            )


def _baseline(text: str, now: datetime) -> timedelta:
    if not _DISTANCE.fullmatch(text):
        raise InvalidInput(f"baseline: {text!r} is not a valid duration; use 30d, 12w or 0d.")
    return now - parse_time(f"-{text}", now, "baseline")


def _age(numbered: Tuple[int, bytes]) -> Tuple[datetime, List[str], int]:
    """Sort key by time, then by the texts of the columns, as for the other formats."""
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
