# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Content of an access review: who used their access in a period, compared with the period of the same length before.

An account is one person or token in one project, because access is granted by project. Missing data is never treated as
inactivity: an account is new only if the complete period before is covered, and dormant only if the complete period
itself is covered as well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, Dict, FrozenSet, Iterable, List, Optional, Tuple
from typing import Counter as CounterOf

from ..project_log.entry import ACTOR_KINDS, Entity, to_printable
from ..project_log.selection import action_matches
from ..settings import Range
from ..times import first_moment
from .analysis import identity, networks_of
from .coverage import Period, SourceCoverage
from .entry_rows import EntryRows
from .query.dataset import DistinctValue, EntryTable, Group, label
from .report_data import Heading, ValueCount

STANDINGS = ("new", "no_data", "dormant", "known")
"""Results of the comparison with the period before, in the order of attention."""

SENSITIVE = ("*_delete", "*_revoke", "*_detach", "*token*", "*key*", "objects_user*", "*member*", "*permission*")
"""Actions that destroy something or give somebody access."""

_NEVER = datetime.min.replace(tzinfo=timezone.utc)
_NO_PERIOD = "no_period"


@dataclass(frozen=True)
class Account:
    """One person or token in one project. Times are local, to the second, and empty if none is readable.

    ``entries`` is the number of entries in the period, ``entries_before`` in the period before. Both are None without
    data; with ``is_before_partial``, ``entries_before`` is a lower bound. ``reasons`` explain missing data.
    """

    project: str
    identity: Tuple[str, str]
    kind: str
    name: str
    uuid: str
    former_names: List[str]
    entries: Optional[int]
    sensitive: int
    first: str
    last: str
    actions: List[ValueCount]
    networks: List[ValueCount]
    addresses: List[ValueCount]
    entries_before: Optional[int]
    is_before_partial: bool
    last_before: str
    standing: str
    reasons: List[str]

    @property
    def needs_decision(self) -> bool:
        """Whether the access can be removed; False for the provider's system and staff."""
        return self.kind not in ("system", "admin")


@dataclass(frozen=True)
class Review:
    """The content of an access review. ``filters`` are the options that select entries, with their values."""

    heading: Heading
    projects: List[str]
    period: Period
    preceding: Optional[Period]
    accounts: List[Account]
    extent: Tuple[str, str]
    filters: Dict[str, List[str]]
    sensitive: FrozenSet[str]

    @property
    def groups(self) -> Dict[str, List[Account]]:
        """Accounts by table: people, tokens, and others."""
        tables: Dict[str, List[Account]] = {"people": [], "tokens": [], "others": []}
        for account in self.accounts:
            tables[{"user": "people", "api_token": "tokens"}.get(account.kind, "others")].append(account)
        return tables

    @property
    def coverage(self) -> List[SourceCoverage]:
        return self.period.coverage

    @property
    def is_complete(self) -> bool:
        return self.period.is_complete

    @property
    def is_compared(self) -> bool:
        """Whether the period before is completely covered."""
        return self.preceding is not None and self.preceding.is_complete

    @property
    def entries(self) -> int:
        return sum(account.entries or 0 for account in self.accounts)

    @property
    def sensitive_entries(self) -> int:
        return sum(account.sensitive for account in self.accounts)

    @property
    def new(self) -> Optional[int]:
        """Number of new accounts; None if data of the period before is missing."""
        return self.count("new") if self.is_compared else None

    @property
    def dormant(self) -> Optional[int]:
        """Number of dormant accounts; None if data of either period is missing."""
        return self.count("dormant") if self.is_compared and self.is_complete else None

    def count(self, standing: str) -> int:
        """Number of accounts with a standing that need a decision."""
        return sum(account.standing == standing and account.needs_decision for account in self.accounts)

    def active(self, group: str) -> int:
        """Number of distinct people, tokens or others with changes in the period, over all projects."""
        return len({account.identity for account in self.groups[group] if account.entries})

    @property
    def summary(self) -> Dict[str, Any]:
        """The figures that the module returns."""
        return {
            "entries": self.entries,
            "first": self.extent[0],
            "last": self.extent[1],
            "people": self.active("people"),
            "tokens": self.active("tokens"),
            "new": self.new,
            "dormant": self.dormant,
            "no_data": self.count("no_data"),
            "sensitive": self.sensitive_entries,
            "complete": self.is_complete,
            "compared": self.is_compared,
        }


def preceding_range(time_range: Range, now: datetime, zone: tzinfo) -> Optional[Range]:
    """The range of the same length before a range; None if there is none.

    The period before complete days has as many complete days, also if the clocks change. The period before complete
    months has as many months.
    """
    start, end = time_range.start, time_range.end or now
    if start is None or end <= start:
        return None
    try:
        first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
        if first_moment(first, zone) == start and first_moment(last, zone) == end:
            return Range(first_moment(_day_before(first, last), zone), start)
        return Range(start - (end - start), start)
    except (OverflowError, ValueError):
        # The calendar has no such day.
        return None


def _day_before(first: date, last: date) -> date:
    """First day of the period before."""
    if first.day != 1 or last.day != 1:
        return first - (last - first)
    months = 2 * (first.year * 12 + first.month) - (last.year * 12 + last.month) - 1
    return date(months // 12, months % 12 + 1, 1)


def duration_before(time_range: Range, preceding: Optional[Range]) -> timedelta:
    """Length of the period before a range that the comparison reads."""
    if preceding is None or preceding.start is None or time_range.start is None:
        return timedelta(0)
    return time_range.start - preceding.start


def access_review(
    table: EntryTable,
    rows: EntryRows,
    heading: Heading,
    period: Period,
    preceding: Optional[Period],
    filters: Dict[str, List[str]],
) -> Review:
    """Read the facts out of a table."""
    by_action = table.groups(table.selected, "project", "actor", "action")
    by_address = table.groups(table.selected, "project", "actor", "ip_address")
    before = [] if preceding is None or table.preceding is None else table.groups(table.preceding, "project", "actor")
    names = {group.values["action"] for group in by_action}
    risky = frozenset(name for name in names if name is not None and action_matches({"action": name}, SENSITIVE))
    traces = _traces(by_action, by_address, before, risky)
    accounts = [_account(project, who, trace, rows, period, preceding) for (project, who), trace in traces.items()]
    first, last = table.extent()
    return Review(
        heading=heading,
        projects=sorted({source.origin.project for source in period.coverage if source.origin.project}),
        period=period,
        preceding=preceding,
        accounts=sorted(accounts, key=_attention),
        extent=(rows.iso(first), rows.iso(last)),
        filters=filters,
        sensitive=frozenset(map(to_printable, risky)),
    )


@dataclass
class _Trace:
    """Entries of an account in the period and in the period before."""

    labels: Dict[Entity, datetime] = field(default_factory=dict)
    entries: int = 0
    sensitive: int = 0
    first: Optional[datetime] = None
    last: Optional[datetime] = None
    actions: CounterOf[str] = field(default_factory=Counter)
    addresses: List[DistinctValue] = field(default_factory=list)
    entries_before: int = 0
    last_before: Optional[datetime] = None

    def saw(self, group: Group) -> None:
        """Note the account's name and its time."""
        found = label(group.values["actor"])
        self.labels[found] = max(self.labels.get(found, _NEVER), group.last or _NEVER)

    @property
    def addresses_used(self) -> CounterOf[str]:
        used: CounterOf[str] = Counter()
        for seen in self.addresses:
            used[to_printable(seen.value)] += seen.entries
        del used[""]
        return used

    @property
    def newest_first(self) -> List[Entity]:
        """All names of the account, newest first, in a stable order."""
        return sorted(self.labels, key=lambda found: (self.labels[found], tuple(map(str, found))), reverse=True)


_Key = Tuple[str, Tuple[str, str]]


def _traces(
    by_action: Iterable[Group], by_address: Iterable[Group], before: Iterable[Group], risky: FrozenSet[str]
) -> Dict[_Key, _Trace]:
    traces: Dict[_Key, _Trace] = {}

    def trace_of(group: Group) -> _Trace:
        key = (group.values["project"] or "", identity(group.values["actor"]))
        return traces.setdefault(key, _Trace())

    for group in by_action:
        trace, action = trace_of(group), group.values["action"]
        trace.saw(group)
        trace.entries += group.entries
        trace.sensitive += group.entries if action in risky else 0
        trace.actions[to_printable(action)] += group.entries
        trace.first = min(filter(None, (trace.first, group.first)), default=None)
        trace.last = max(filter(None, (trace.last, group.last)), default=None)
    for group in by_address:
        trace_of(group).addresses.append(DistinctValue(group.values["ip_address"], group.entries, None, None))
    for group in before:
        trace = trace_of(group)
        trace.saw(group)
        trace.entries_before += group.entries
        trace.last_before = max(filter(None, (trace.last_before, group.last)), default=None)
    return traces


def _account(
    project: str,
    who: Tuple[str, str],
    trace: _Trace,
    rows: EntryRows,
    period: Period,
    preceding: Optional[Period],
) -> Account:
    current = trace.newest_first[0]
    missing = period.reasons(project)
    missing_before = [_NO_PERIOD] if preceding is None else preceding.reasons(project)
    standing = _standing(trace, not missing, not missing_before)
    reasons = missing if trace.first is None else missing_before
    return Account(
        project=project,
        identity=who,
        kind=current.kind if current.kind in ACTOR_KINDS else "unknown",
        name=str(current),
        uuid=to_printable(current.uuid),
        former_names=_former_names(trace, current),
        entries=None if missing and not trace.entries else trace.entries,
        sensitive=trace.sensitive,
        first=rows.at(trace.first),
        last=rows.at(trace.last),
        actions=_ranked(trace.actions),
        networks=networks_of(trace.addresses),
        addresses=_ranked(trace.addresses_used),
        entries_before=None if missing_before and not trace.entries_before else trace.entries_before,
        is_before_partial=bool(missing_before),
        last_before=rows.at(trace.last_before),
        standing=standing,
        reasons=(reasons or ["unreadable"]) if standing == "no_data" else [],
    )


def _standing(trace: _Trace, is_complete: bool, is_compared: bool) -> str:
    """One of STANDINGS. Entries without a readable time belong to neither period."""
    if trace.first is not None:
        if trace.entries_before:
            return "known"
        return "new" if is_compared else "no_data"
    return "dormant" if is_complete and not trace.entries else "no_data"


def _former_names(trace: _Trace, current: Entity) -> List[str]:
    """Earlier descriptions of a token. E-mail addresses in another case are not different names."""
    if current.kind != "api_token":
        return []
    names = dict.fromkeys(str(found) for found in trace.newest_first)
    return [name for name in names if name != str(current)]


def _ranked(counts: CounterOf[str]) -> List[ValueCount]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ValueCount(name, entries) for name, entries in ranked]


def _attention(account: Account) -> Tuple[int, str, str, Tuple[str, str]]:
    return STANDINGS.index(account.standing), account.name.casefold(), account.project, account.identity
