# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the command tells people of times."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli import output as words

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("distance", "ago", "ahead"),
    [
        (timedelta(seconds=59), "just now", "in less than a minute"),
        (timedelta(minutes=3), "3 min ago", "in 3 min"),
        (timedelta(hours=1), "1 h ago", "in 1 h"),
        (timedelta(hours=2, minutes=5, seconds=50), "2 h 5 min ago", "in 2 h 5 min"),
        (timedelta(days=1, minutes=5), "1 day ago", "in 1 day"),
        (timedelta(days=89, hours=23, minutes=59), "89 days 23 h ago", "in 89 days 23 h"),
    ],
)
def test_a_distance_in_time_is_told(monkeypatch: pytest.MonkeyPatch, distance: timedelta, ago: str, ahead: str) -> None:
    monkeypatch.setattr(words, "utc_now", lambda: NOON)
    assert words.ago(NOON - distance) == ago
    assert words.ahead(NOON + distance) == ahead
    assert words.ahead(NOON - distance) == ago
    assert words.ago(NOON + distance) == ("just now" if ago == "just now" else ahead)


def test_what_never_was_is_told() -> None:
    assert (words.ago(None), words.ahead(None), words.when(None)) == ("never", "never", "never")
