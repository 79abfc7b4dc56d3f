# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compares the date of the API's responses with the host's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Callable

from ..errors import ClockSkew, InvalidResponse
from ..project_log.client import Api, Page
from ..times import format_time
from .chain.coverage import MAX_SKEW

_MAX_ATTEMPTS = 3


class ClockCheckedApi:
    """An API client that accepts a page only if the server's date is close to the host's clock."""

    def __init__(self, api: Api, now: Callable[[], datetime]) -> None:
        self._api = api
        self._now = now

    def page(self, url: str) -> Page:
        """Return a page. If its date is wrong, request it again: only one of several servers might be wrong.

        :raises ClockSkew: the date is still wrong after the last attempt.
        """
        for _attempt in range(_MAX_ATTEMPTS):
            page, clock = self._api.page(url), self._now()
            date = server_date_of(page)
            if abs(clock - date) <= MAX_SKEW:
                return page
        raise ClockSkew(
            f"The API's date is {format_time(date)}, but this host's clock says {format_time(clock)}; the maximum "
            "difference is 30 minutes. Correct the wrong clock; nothing is lost.",
            clock_skew(clock, date),
        )


def clock_skew(clock: datetime, date: datetime) -> float:
    """Return the seconds by which the host's clock is ahead of the server's date."""
    return round((clock - date).total_seconds(), 1)


def server_date_of(page: Page) -> datetime:
    """Return the date of a page's response.

    :raises InvalidResponse: the response has no date.
    """
    if page.server_date is None:
        raise InvalidResponse("The API's response has no Date, so an archive cannot record what it covers.", 200)
    return page.server_date
