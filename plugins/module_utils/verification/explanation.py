# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text that explains why the log is not as expected: expected, found, nearest miss."""

from __future__ import annotations

from typing import List, Sequence

from ..counts import pluralize
from ..project_log.entry import Entry, actor, to_printable
from ..project_log.rows import row, truncate
from .expectations import CONDITIONS, Missing, Nearest, Unexpected

_MAX_SHOWN = 10
_MAX_LENGTH = 200
_FIELDS = {
    "action": "action",
    "message_pattern": "message",
    "resource": "resource",
    "actor": "actor",
    "ip_network": "address",
}


def explain(missing: Sequence[Missing], unexpected: Sequence[Unexpected], expectations: int, waited: float) -> str:
    """A sentence with the counts, then a few lines for each missing or unexpected change, at most ten of each."""
    lines = [f"The project log is not as expected after {waited:.0f} s: {_counts(missing, unexpected, expectations)}."]
    for change in unexpected[:_MAX_SHOWN]:
        lines += _about_unexpected(change)
    lines += _more(unexpected, "unexpected changes")
    for expectation in missing[:_MAX_SHOWN]:
        lines += _about_missing(expectation)
    return "\n".join([*lines, *_more(missing, "missing changes")])


def _counts(missing: Sequence[Missing], unexpected: Sequence[Unexpected], expectations: int) -> str:
    counts = []
    if unexpected:
        counts.append(f"{pluralize(len(unexpected), 'change is', 'changes are')} unexpected")
    if missing:
        total = pluralize(expectations, "expectation", "expectations")
        counts.append(f"{len(missing)} of {total} {'is' if len(missing) == 1 else 'are'} not met")
    return ", ".join(counts)


def _about_unexpected(found: Unexpected) -> List[str]:
    return [f"Unexpected: {_line(found.entry)}", f"  {found.reason}"]


def _about_missing(missing: Missing) -> List[str]:
    rule = missing.rule
    conditions = ", ".join(_condition(key, rule.given[key]) for key in CONDITIONS if key in rule.given)
    lines = [f"Missing: {rule.name}: {conditions}", f"  expected {rule.wanted}, found {missing.found}"]
    if missing.nearest is not None:
        lines += [f"  nearest: {_line(missing.nearest.entry)},", f"  but {_difference(missing.nearest)}"]
    return lines


def _condition(key: str, value: object) -> str:
    text = truncate(to_printable(value), _MAX_LENGTH)
    return f"message /{text}/" if key == "message_pattern" else f"{key} {text}"


def _difference(nearest: Nearest) -> str:
    if nearest.differs == ["actor"]:
        return f"it was made by {actor(nearest.entry)}"
    if nearest.differs:
        names = " and ".join(_FIELDS[name] for name in nearest.differs)
        return f"its {names} {'differs' if len(nearest.differs) == 1 else 'differ'}"
    return f"it already counts for {nearest.counted_for}" if nearest.counted_for else "it is forbidden"


def _more(items: Sequence[object], noun: str) -> List[str]:
    more = len(items) - _MAX_SHOWN
    return [f"... and {more} more {noun}."] if more > 0 else []


def _line(entry: Entry) -> str:
    texts = row(entry)
    address = f" from {texts['ip_address']}" if texts["ip_address"] else ""
    message = truncate(texts["message"], _MAX_LENGTH)
    return f"{texts['time']} {texts['actor']}{address}: {message} ({texts['action']})"
