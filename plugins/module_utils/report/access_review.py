# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts of an access review: who used their access in a period, compared with the period of the same length before it.

An account is one person or token in one project, as access is granted by project. What the sources do not cover is
never taken for inactivity: an account is new only if the whole period before is covered, and dormant only if the whole
period itself is.
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
from .coverage import Coverage, Period
from .facts import Count, Heading, Rows, identity, networks_of
from .query.dataset import Group, Log, Seen, label

STANDINGS = ("new", "no_data", "dormant", "known")
"""How an account compares with the period before, in the order of attention that each deserves."""

SENSITIVE = ("*_delete", "*_revoke", "*_detach", "*token*", "*key*", "objects_user*", "*member*", "*permission*")
"""Actions that destroy something or give somebody access."""

_NEVER = datetime.min.replace(tzinfo=timezone.utc)
_NO_PERIOD = "no_period"


@dataclass(frozen=True)
class Account:
    """One person or token in one project. Times are local, to the second, and empty where none is readable.

    ``entries`` counts the period and ``entries_before`` the one before it; either is None without data, and a lower
    bound where ``is_before_partial``. ``reasons`` say why the comparison has no data.
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
    actions: List[Count]
    networks: List[Count]
    addresses: List[Count]
    entries_before: Optional[int]
    is_before_partial: bool
    last_before: str
    standing: str
    reasons: List[str]

    @property
    def needs_decision(self) -> bool:
        """Whether somebody granted this access: that of the provider's system and staff nobody can remove."""
        return self.kind not in ("system", "admin")


@dataclass(frozen=True)
class Review:
    """Everything that an access review shows. ``filters`` are the options that select entries, with their values."""

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
        """Accounts in the tables of a review: people, tokens, and others."""
        tables: Dict[str, List[Account]] = {"people": [], "tokens": [], "others": []}
        for account in self.accounts:
            tables[{"user": "people", "api_token": "tokens"}.get(account.kind, "others")].append(account)
        return tables

    @property
    def coverage(self) -> List[Coverage]:
        return self.period.coverage

    @property
    def is_complete(self) -> bool:
        return self.period.is_complete

    @property
    def is_compared(self) -> bool:
        """Whether the whole period before is covered."""
        return self.preceding is not None and self.preceding.is_complete

    @property
    def entries(self) -> int:
        return sum(account.entries or 0 for account in self.accounts)

    @property
    def sensitive_entries(self) -> int:
        return sum(account.sensitive for account in self.accounts)

    @property
    def new(self) -> Optional[int]:
        """Number of new accounts; None where data of the period before is missing."""
        return self.count("new") if self.is_compared else None

    @property
    def dormant(self) -> Optional[int]:
        """Number of dormant accounts; None where data of either period is missing."""
        return self.count("dormant") if self.is_compared and self.is_complete else None

    def count(self, standing: str) -> int:
        """Number of accounts of that standing about which somebody decides."""
        return sum(account.standing == standing and account.needs_decision for account in self.accounts)

    def active(self, group: str) -> int:
        """Number of different people, tokens or others with changes in the period, each once over all projects."""
        return len({account.identity for account in self.groups[group] if account.entries})

    @property
    def summary(self) -> Dict[str, Any]:
        """The figures for programs."""
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


def preceding_range(asked: Range, now: datetime, zone: tzinfo) -> Optional[Range]:
    """The range of the same length before a range; None if there is none.

    Where a range is whole days in a time zone, so is the one before: as many days, also where the clocks change. Before
    whole months are as many months.
    """
    start, end = asked.start, asked.end or now
    if start is None or end <= start:
        return None
    try:
        first, last = start.astimezone(zone).date(), end.astimezone(zone).date()
        if first_moment(first, zone) == start and first_moment(last, zone) == end:
            return Range(first_moment(_day_before(first, last), zone), start)
        return Range(start - (end - start), start)
    except (OverflowError, ValueError):
        # There is no such day in the calendar.
        return None


def _day_before(first: date, last: date) -> date:
    """The day on which the period before begins."""
    if first.day != 1 or last.day != 1:
        return first - (last - first)
    months = 2 * (first.year * 12 + first.month) - (last.year * 12 + last.month) - 1
    return date(months // 12, months % 12 + 1, 1)


def span_of(asked: Range, preceding: Optional[Range]) -> timedelta:
    """How much of the time before a range its comparison reads."""
    if preceding is None or preceding.start is None or asked.start is None:
        return timedelta(0)
    return asked.start - preceding.start


def access_review(
    log: Log,
    rows: Rows,
    heading: Heading,
    period: Period,
    preceding: Optional[Period],
    filters: Dict[str, List[str]],
) -> Review:
    """Read the facts out of a log."""
    by_action = log.groups(log.table, "project", "actor", "action")
    by_address = log.groups(log.table, "project", "actor", "ip_address")
    before = [] if preceding is None or log.preceding is None else log.groups(log.preceding, "project", "actor")
    names = {group.values["action"] for group in by_action}
    risky = frozenset(name for name in names if name is not None and action_matches({"action": name}, SENSITIVE))
    traces = _traces(by_action, by_address, before, risky)
    accounts = [_account(project, who, trace, rows, period, preceding) for (project, who), trace in traces.items()]
    first, last = log.extent()
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
    """What an account left in the log: in the period and in the one before."""

    labels: Dict[Entity, datetime] = field(default_factory=dict)
    entries: int = 0
    sensitive: int = 0
    first: Optional[datetime] = None
    last: Optional[datetime] = None
    actions: CounterOf[str] = field(default_factory=Counter)
    addresses: List[Seen] = field(default_factory=list)
    entries_before: int = 0
    last_before: Optional[datetime] = None

    def saw(self, group: Group) -> None:
        """Remember what the account was called, and when."""
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
        """Everything that it was called. Of several at the same time, the order is the same every time."""
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
        trace_of(group).addresses.append(Seen(group.values["ip_address"], group.entries, None, None))
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
    rows: Rows,
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
    """One of STANDINGS. Entries without a readable time prove nothing about either period."""
    if trace.first is not None:
        if trace.entries_before:
            return "known"
        return "new" if is_compared else "no_data"
    return "dormant" if is_complete and not trace.entries else "no_data"


def _former_names(trace: _Trace, current: Entity) -> List[str]:
    """Other descriptions of the same token; an e-mail address in other letters is no other name."""
    if current.kind != "api_token":
        return []
    names = dict.fromkeys(str(found) for found in trace.newest_first)
    return [name for name in names if name != str(current)]


def _ranked(counts: CounterOf[str]) -> List[Count]:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Count(name, entries) for name, entries in ranked]


def _attention(account: Account) -> Tuple[int, str, str, Tuple[str, str]]:
    return STANDINGS.index(account.standing), account.name.casefold(), account.project, account.identity
