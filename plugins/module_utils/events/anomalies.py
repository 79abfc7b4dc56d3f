# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is usual in a project, and in what an entry departs from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Mapping, Optional, Tuple

from ..project_log.entry import Entry, timestamp
from ..project_log.selection import Network, address_matches, networks
from ..working_hours import WorkingHours

OUTSIDE_WORKING_HOURS = "outside_working_hours"
UNKNOWN_NETWORK = "unknown_network"


@dataclass(frozen=True)
class Usual:
    """When and from where a project is usually changed; what is None or empty is not looked at."""

    working_hours: Optional[WorkingHours] = None
    known_networks: Tuple[Network, ...] = ()

    @classmethod
    def from_mapping(cls, options: Mapping[str, Any]) -> Usual:
        """Build it from the options ``working_hours`` (a text) and ``known_networks`` (a list).

        :raises InvalidInput: one of them is malformed.
        """
        hours = options.get("working_hours")
        return cls(
            WorkingHours.parse(str(hours)) if hours else None,
            networks(options.get("known_networks"), "known_networks"),
        )

    def departures(self, entry: Entry) -> List[str]:
        """In what an entry departs from it: ``outside_working_hours``, ``unknown_network``, both, or neither.

        One whose time is unreadable is not outside working hours; one without an address comes from no network.
        """
        moment = timestamp(entry)
        found = []
        if self.working_hours and moment and not self.working_hours.hold(moment):
            found.append(OUTSIDE_WORKING_HOURS)
        if self.known_networks and entry.get("ip_address") and not address_matches(entry, self.known_networks):
            found.append(UNKNOWN_NETWORK)
        return found
