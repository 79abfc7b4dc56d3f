# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Times in the output of the command."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli import output

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("distance", "since", "until"),
    [
        (timedelta(seconds=59), "just now", "in less than a minute"),
        (timedelta(minutes=3), "3 min ago", "in 3 min"),
        (timedelta(hours=1), "1 h ago", "in 1 h"),
        (timedelta(hours=2, minutes=5, seconds=50), "2 h 5 min ago", "in 2 h 5 min"),
        (timedelta(days=1, minutes=5), "1 day ago", "in 1 day"),
        (timedelta(days=89, hours=23, minutes=59), "89 days 23 h ago", "in 89 days 23 h"),
    ],
)
def test_times_since_and_until_a_moment_are_in_words(
    monkeypatch: pytest.MonkeyPatch, distance: timedelta, since: str, until: str
) -> None:
    monkeypatch.setattr(output, "utc_now", lambda: NOON)
    assert output.time_since(NOON - distance) == since
    assert output.time_until(NOON + distance) == until
    assert output.time_until(NOON - distance) == since
    assert output.time_since(NOON + distance) == ("just now" if since == "just now" else until)


def test_a_missing_time_is_never() -> None:
    assert (output.time_since(None), output.time_until(None), output.format_moment(None)) == ("never",) * 3
