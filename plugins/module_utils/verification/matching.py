# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Assigns entries to rules: an incremental maximum bipartite matching."""

from __future__ import annotations

from collections import deque
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Protocol, Sequence, Tuple


class Bounds(Protocol):
    """How many entries a rule needs, and how many it can take (None: any number)."""

    @property
    def minimum(self) -> int:
        """The number of entries that it needs."""

    @property
    def maximum(self) -> Optional[int]:
        """The number of entries that it can take."""


class Matching:
    """Deals entries out to rules, one at a time, so that at any time as few rules as possible lack entries.

    Entries that the same rules mean are interchangeable. One that comes in takes a free place in one of its rules, or
    pushes another entry from there to one of that entry's other rules, and so on (an augmenting path). Where no such
    path is found, none will ever lead out of the rules that were looked at, and they are not looked at again.
    """

    def __init__(self, rules: Sequence[Bounds]) -> None:
        self._rules = rules
        self.counts = [0] * len(rules)
        self.missing_count = sum(rule.minimum for rule in rules)
        self._assigned: List[Dict[Tuple[int, bool], List[int]]] = [{} for _rule in rules]
        self._closed_to_need = 0
        self._closed_to_room = 0

    def add(self, number: int, mask: int, ignored: bool) -> bool:
        """Give an entry to one of the rules in ``mask``; False if they are all full and it cannot be ignored."""
        path, self._closed_to_need = self._find_path(mask, self._closed_to_need, self._needs)
        if path:
            self.missing_count -= 1
        elif ignored:
            return True
        else:
            path, self._closed_to_room = self._find_path(mask, self._closed_to_room, self._has_room)
        if not path:
            return False
        self._shift_along(path, (mask, ignored), number)
        return True

    def assignments(self) -> Dict[int, int]:
        """The rule that each entry counts for, by their numbers."""
        return {
            number: index
            for index, assigned in enumerate(self._assigned)
            for numbers in assigned.values()
            for number in numbers
        }

    def _needs(self, index: int) -> bool:
        return self.counts[index] < self._rules[index].minimum

    def _has_room(self, index: int) -> bool:
        """Whether a rule can take another entry, if need be instead of one that can be ignored."""
        maximum = self._rules[index].maximum
        return (
            maximum is None or self.counts[index] < maximum or any(ignored for _mask, ignored in self._assigned[index])
        )

    def _find_path(self, mask: int, closed: int, is_end: Callable[[int], bool]) -> Tuple[List[int], int]:
        """The shortest way over rules to one that is an end, and the rules from which no way leads to any."""
        came_from: Dict[int, Optional[int]] = dict.fromkeys(bit_positions(mask & ~closed))
        seen = mask | closed
        waiting = deque(came_from)
        while waiting:
            index = waiting.popleft()
            if is_end(index):
                return _trace_back(came_from, index), closed
            for assigned, _ignored in self._assigned[index]:
                for other in bit_positions(assigned & ~seen):
                    came_from[other] = index
                    waiting.append(other)
                seen |= assigned
        return [], seen

    def _shift_along(self, path: List[int], key: Tuple[int, bool], number: int) -> None:
        """Put an entry into the first rule of a path; one of each rule moves on to the next."""
        for index, following in zip(path, path[1:]):
            moving = next(assigned for assigned in self._assigned[index] if assigned[0] >> following & 1)
            moved = self._remove(index, moving)
            self._assign(index, key, number)
            key, number = moving, moved
        last = path[-1]
        maximum = self._rules[last].maximum
        if maximum is not None and self.counts[last] == maximum:
            self._remove(last, next(assigned for assigned in self._assigned[last] if assigned[1]))
        self._assign(last, key, number)

    def _assign(self, index: int, key: Tuple[int, bool], number: int) -> None:
        self._assigned[index].setdefault(key, []).append(number)
        self.counts[index] += 1

    def _remove(self, index: int, key: Tuple[int, bool]) -> int:
        numbers = self._assigned[index][key]
        number = numbers.pop()
        if not numbers:
            del self._assigned[index][key]
        self.counts[index] -= 1
        return number


def _trace_back(came_from: Mapping[int, Optional[int]], end: int) -> List[int]:
    way: List[int] = []
    index: Optional[int] = end
    while index is not None:
        way.append(index)
        index = came_from[index]
    return way[::-1]


def bit_positions(mask: int) -> Iterator[int]:
    """The positions of the bits that are set, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
