# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  start:
    description:
      - The beginning of the range; entries of that very moment are in it. Without it the range begins with the oldest
        entry kept.
      - A time with offset (V(2026-11-22T08:00:00Z)), a date (V(2026-11-22)), V(now), a distance back from now in
        seconds, minutes, hours, days or weeks (V(-90d), V(-24h), V(-15m)), V(today), V(yesterday), V(this-week),
        V(last-week), V(this-month) or V(last-month).
      - Dates and named times mean their first moment, in UTC unless there is an option O(ignore:time_zone). Weeks begin
        on Monday. V(start=last-week) with V(end=this-week) is the complete last week.
      - The provider keeps entries for 90 days.
    type: str
  end:
    description:
      - The end of the range, in the same forms; entries of that very moment are not in it. Without it the range has
        no end.
      - A read ends with the first page that is more than 10 minutes later than O(end). Entries that became visible
        later than that are returned only if the API limits its pages to the range.
    type: str
  cursor:
    description:
      - The whole RV(ignore:poll_more) URL of an earlier read. All entries that became visible since then are read,
        late ones included, and none twice.
      - After a read with an O(end) in the past, all entries stamped at or after that end are read.
      - Excludes O(start) and O(end).
    type: str
    aliases: [poll_more]
"""
