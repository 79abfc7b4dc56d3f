# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why the log is not as expected, in words: expected, found, nearest miss."""

from __future__ import annotations

from typing import Iterator, List, Sequence

from ..entry import Entry, actor, visible
from ..expectation import CONDITIONS, Missing, Nearest, Rule, Unexpected
from .rows import row

_MOST = 10
_LONGEST = 200


def explain(missing: Sequence[Missing], unexpected: Sequence[Unexpected], expectations: int, waited: float) -> str:
    """A sentence that counts, then a line for each finding; the first ten of each kind."""
    lines = [f"The project log is not as expected: {_counts(missing, unexpected, expectations, waited)}."]
    lines += _some([line for item in unexpected[:_MOST] for line in _about_unexpected(item)], unexpected)
    lines += _some([line for item in missing[:_MOST] for line in _about_missing(item)], missing)
    return "\n".join(lines)


def describe(rule: Rule) -> str:
    """A rule on one line."""
    return ", ".join(f"{key} {_quoted(rule.given[key])}" for key in CONDITIONS if key in rule.given)


def _counts(missing: Sequence[Missing], unexpected: Sequence[Unexpected], expectations: int, waited: float) -> str:
    found = []
    if unexpected:
        found.append("1 change is unexpected" if len(unexpected) == 1 else f"{len(unexpected)} changes are unexpected")
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        found.append(f"{len(missing)} of {expectations} expectations {verb} not met")
    return f"{' and '.join(found)} after {waited:.0f} s"


def _about_unexpected(found: Unexpected) -> Iterator[str]:
    yield f"Unexpected: {_line(found.entry)}"
    yield f"  reason:   {found.reason}"


def _about_missing(missing: Missing) -> Iterator[str]:
    yield f"Missing: {missing.rule.name}"
    yield f"  expected: {missing.rule.wanted} with {describe(missing.rule)}"
    yield f"  found:    {missing.found or 'none'}"
    if missing.nearest is not None:
        yield f"  nearest:  {_line(missing.nearest.entry)}"
        yield f"            {_difference(missing.nearest)}"


def _difference(nearest: Nearest) -> str:
    if nearest.differs == ["actor"]:
        return f"but it was made by {actor(nearest.entry)}"
    if nearest.differs:
        return f"but its {' and '.join(name.replace('_', ' ') for name in nearest.differs)} differ" + (
            "s" if len(nearest.differs) == 1 else ""
        )
    return f"but it counts for {nearest.counted_for}" if nearest.counted_for else "but it is forbidden"


def _some(lines: List[str], all_of_them: Sequence[object]) -> List[str]:
    more = len(all_of_them) - _MOST
    return [*lines, f"... and {more} more."] if more > 0 else lines


def _line(entry: Entry) -> str:
    told = row(entry)
    address = f" from {told['ip_address']}" if told["ip_address"] else ""
    return f"{told['time']} {told['actor']}{address}: {_cut(told['message'])} ({told['action']})"


def _quoted(value: object) -> str:
    return f"'{_cut(visible(value))}'"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
