# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Assigns entries to rules: an incremental maximum bipartite matching."""

from __future__ import annotations

from collections import deque
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple


class Bounds(Protocol):
    """The number of entries that a rule needs, and the number that it accepts (None: any number)."""

    @property
    def minimum(self) -> int:
        """The number of entries that it needs."""

    @property
    def maximum(self) -> Optional[int]:
        """The number of entries that it accepts."""


_Group = Tuple[int, bool]
"""Interchangeable entries: the rules that they match, as a bit mask, and whether they can be ignored."""


class Matching:
    """Assigns entries to rules, one at a time, so that at any time as few entries as possible are missing.

    A new entry is assigned to one of its rules with room. Otherwise it replaces an entry there that moves to another
    of its own rules, and so on (an augmenting path). If there is no such path, no later entry can open one from the
    rules that were searched, so they are not searched again.
    """

    def __init__(self, rules: Sequence[Bounds]) -> None:
        self._rules = rules
        self.counts = [0] * len(rules)
        self.missing_count = sum(rule.minimum for rule in rules)
        self._assigned: List[Dict[_Group, List[int]]] = [{} for _rule in rules]
        # Rules without a path to a rule that needs entries, and to one that has room.
        self._no_path_to_need = 0
        self._no_path_to_room = 0

    def add(self, number: int, rules: int, ignored: bool) -> bool:
        """Assign an entry to one of its rules; False if they are all full and the entry cannot be ignored."""
        path, self._no_path_to_need = self._find_path(rules, self._no_path_to_need, self._needs)
        if path:
            self.missing_count -= 1
        elif ignored:
            return True
        else:
            path, self._no_path_to_room = self._find_path(rules, self._no_path_to_room, self._has_room)
        if not path:
            return False
        self._assign_along(path, (rules, ignored), number)
        return True

    def assignments(self) -> Dict[int, int]:
        """The index of the rule that each entry is assigned to, by the entry's number."""
        return {
            number: index
            for index, groups in enumerate(self._assigned)
            for numbers in groups.values()
            for number in numbers
        }

    def _needs(self, index: int) -> bool:
        return self.counts[index] < self._rules[index].minimum

    def _has_room(self, index: int) -> bool:
        """True if a rule accepts another entry, if necessary by removing one that can be ignored."""
        maximum = self._rules[index].maximum
        if maximum is None or self.counts[index] < maximum:
            return True
        return any(ignored for _rules, ignored in self._assigned[index])

    def _find_path(self, rules: int, searched: int, is_end: Callable[[int], bool]) -> Tuple[List[int], int]:
        """The shortest path from one of the rules to an end, and the rules known to have no path to any end."""
        came_from: Dict[int, Optional[int]] = dict.fromkeys(bit_positions(rules & ~searched))
        seen = rules | searched
        queue = deque(came_from)
        while queue:
            index = queue.popleft()
            if is_end(index):
                return _trace_back(came_from, index), searched
            for group_rules, _ignored in self._assigned[index]:
                for neighbor in bit_positions(group_rules & ~seen):
                    came_from[neighbor] = index
                    queue.append(neighbor)
                seen |= group_rules
        return [], seen

    def _assign_along(self, path: List[int], group: _Group, number: int) -> None:
        """Assign an entry to the first rule of a path; one entry of each rule moves to the next rule."""
        for index, next_index in zip(path, path[1:]):
            moved_group = next(one for one in self._assigned[index] if one[0] >> next_index & 1)
            moved_number = self._remove(index, moved_group)
            self._assign(index, group, number)
            group, number = moved_group, moved_number
        last = path[-1]
        maximum = self._rules[last].maximum
        if maximum is not None and self.counts[last] == maximum:
            self._remove(last, next(one for one in self._assigned[last] if one[1]))
        self._assign(last, group, number)

    def _assign(self, index: int, group: _Group, number: int) -> None:
        self._assigned[index].setdefault(group, []).append(number)
        self.counts[index] += 1

    def _remove(self, index: int, group: _Group) -> int:
        numbers = self._assigned[index][group]
        number = numbers.pop()
        if not numbers:
            del self._assigned[index][group]
        self.counts[index] -= 1
        return number


def _trace_back(came_from: Mapping[int, Optional[int]], end: int) -> List[int]:
    path: List[int] = []
    index: Optional[int] = end
    while index is not None:
        path.append(index)
        index = came_from[index]
    return path[::-1]


def bit_positions(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, the lowest first."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest
