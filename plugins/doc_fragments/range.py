# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  start:
    description:
      - Start of the range, inclusive. The default is the oldest entry that the provider has.
      - A time with offset (V(2026-11-22T08:00:00Z)), a date (V(2026-11-22)), V(now), an offset before now in seconds,
        minutes, hours, days or weeks (V(-90d), V(-24h), V(-15m)), V(today), V(yesterday), V(this-week), V(last-week),
        V(this-month) or V(last-month).
      - A date or a named time means its first moment, in UTC unless there is an option O(ignore:time_zone). Weeks
        begin on Monday. V(start=last-week) with V(end=this-week) is the complete last week.
      - The provider keeps entries for 90 days.
    type: str
  end:
    description:
      - End of the range, exclusive, in the same formats. By default, the range has no end.
      - A read ends with the first page that is more than 10 minutes later than O(end). Entries that became visible more
        than 10 minutes late are returned only if the API limits its pages to the range.
    type: str
  cursor:
    description:
      - Complete RV(ignore:poll_more) URL of an earlier read. The module or plugin then reads all entries that became
        visible since that read, including late entries, and no entry twice.
      - If the earlier read had an O(end) in the past, all entries with a timestamp at or after that end are read.
      - Mutually exclusive with O(start) and O(end).
    type: str
    aliases: [poll_more]
"""
