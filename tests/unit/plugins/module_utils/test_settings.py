# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, List
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import (
    Connection,
    Range,
    concurrency,
    describe_unknown,
)

TOKEN = "s3cret-Token.0123456789_abcdefghijkl"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
POLL_MORE = "https://api.cloudscale.ch/v1/project-logs?cursor=10025"


def connection(**options: Any) -> Connection:
    return Connection.from_mapping({"api_token": TOKEN, **options})


def test_defaults_are_the_vendors() -> None:
    settings = connection(api_url=None, api_timeout=None)
    assert settings.api_url == "https://api.cloudscale.ch/v1"
    assert (settings.timeout, settings.retries, settings.retry_budget) == (45, 8, 600)
    assert settings.validate_certs is True
    assert settings.ca_path is None


def test_a_token_is_stripped_and_never_shown() -> None:
    settings = connection(api_token=f" {TOKEN}\n")
    assert settings.api_token == TOKEN
    assert TOKEN not in repr(settings)
    assert TOKEN not in str(settings)


@pytest.mark.parametrize("token", [None, "", "  \n"])
def test_a_missing_token_is_reported_with_its_variable(token: Any) -> None:
    with pytest.raises(InvalidInput, match="api_token is missing: .*CLOUDSCALE_API_TOKEN"):
        connection(api_token=token)


@pytest.mark.parametrize("token", ["with space-secret", "line\nsecret", "Bearer:secret", "sécret"])
def test_a_malformed_token_is_reported_without_repeating_it(token: str) -> None:
    with pytest.raises(InvalidInput, match="api_token is malformed") as caught:
        connection(api_token=token)
    assert token not in caught.value.message


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("api.cloudscale.ch/v1", "is not a valid URL of an API"),
        ("ftp://api.cloudscale.ch/v1", "is not a valid URL of an API"),
        ("https://", "is not a valid URL of an API"),
        ("https://api.cloudscale.ch:port/v1", "is not a valid URL of an API"),
        ("https://[::1/v1", "is not a valid URL of an API"),
        ("http://api.cloudscale.ch/v1", "unencrypted"),
        ("http://127.0.0.1.example.com/v1", "unencrypted"),
        ("http://localhost.example.com/v1", "unencrypted"),
        ("https://user:pw@api.cloudscale.ch/v1", "must not contain a user, password"),
        ("https://api.cloudscale.ch/v1?x=1", "must not contain a user, password"),
    ],
)
def test_urls_that_could_leak_the_token_are_refused(url: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        connection(api_url=url)
    assert "pw" not in caught.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/v1", "http://localhost/v1/", "http://[::1]:1/v1"])
def test_the_machine_itself_may_be_asked_without_tls(url: str) -> None:
    assert connection(api_url=url).api_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_timeout": 0}, "api_timeout must be at least 1"),
        ({"api_timeout": "soon"}, "api_timeout: 'soon' is not a number"),
        ({"api_timeout": "nan"}, "api_timeout must be"),
        ({"api_retries": -1}, "api_retries must be at least 0"),
        ({"api_timeout": 99_999_999_999}, "api_timeout must be at least 1 and at most 1000000, not 99999999999"),
        ({"api_timeout": 10**400}, "api_timeout: 1"),
        ({"api_retry_budget": "inf"}, "api_retry_budget must be"),
        ({"ca_path": "/nowhere/ca.pem"}, "ca_path: /nowhere/ca.pem does not exist"),
    ],
)
def test_unusable_numbers_and_paths_are_named(options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        connection(**options)


@pytest.mark.parametrize(("value", "number"), [(None, 4), (1, 1), ("16", 16)])
def test_concurrency(value: Any, number: int) -> None:
    assert concurrency({"concurrency": value}) == number


@pytest.mark.parametrize("value", [0, 17, 1.5, "many"])
def test_concurrency_out_of_bounds(value: Any) -> None:
    with pytest.raises(InvalidInput, match="concurrency"):
        concurrency({"concurrency": value})


def test_a_range_holds_its_start_and_not_its_end() -> None:
    span = Range.from_mapping({"start": "2026-11-21", "end": "2026-11-22"}, NOW)
    day = timedelta(days=1)
    midnight = datetime(2026, 11, 21, tzinfo=timezone.utc)
    moments = [midnight - day / 9, midnight, midnight + day / 2, midnight + day, None]
    assert [span.contains(moment) for moment in moments] == [False, True, True, False, True]
    assert span.warnings == []


def test_an_open_range_holds_everything() -> None:
    assert Range.from_mapping({"start": None, "end": ""}, NOW).contains(NOW - timedelta(days=9999))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "2026-11-22", "end": "2026-11-21"}, "is before start"),
        ({"cursor": POLL_MORE, "start": "-1d"}, "cursor excludes start and end"),
        ({"cursor": POLL_MORE, "end": "now"}, "cursor excludes start and end"),
        ({"cursor": 10025}, "'10025' is not a URL; use the complete poll_more of an earlier result"),
        ({"end": "2026-11-22T08:00:00"}, "end: .*no offset"),
    ],
)
def test_contradictions_are_reported(options: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Range.from_mapping(options, NOW)


def test_a_start_before_the_retention_is_warned_about() -> None:
    assert "retention of 90 days" in Range.from_mapping({"start": "-91d"}, NOW).warnings[0]
    assert Range.from_mapping({"start": "-90d"}, NOW).warnings == []


def test_an_empty_range_is_warned_about() -> None:
    assert "end is exclusive" in Range.from_mapping({"start": "2026-11-22", "end": "2026-11-22"}, NOW).warnings[0]


@pytest.mark.parametrize(
    ("names", "described"),
    [
        (["start", "end"], []),
        (["stat", "zzz", "end"], ["stat (did you mean start?)", "zzz"]),
        ([], []),
    ],
)
def test_an_unknown_name_is_reported_with_the_similar_known_one(names: List[str], described: List[str]) -> None:
    assert describe_unknown(names, ["start", "end", "cursor"]) == described


def test_dates_of_a_range_begin_in_its_time_zone() -> None:
    found = Range.from_mapping({"start": "2026-07-01", "end": "today"}, NOW, ZoneInfo("Europe/Zurich"))
    assert found.start == datetime(2026, 6, 30, 22, tzinfo=timezone.utc)
    assert found.end == datetime(2026, 11, 21, 23, tzinfo=timezone.utc)


def test_a_range_in_the_future_is_warned_about() -> None:
    assert Range.from_mapping({"start": NOW + timedelta(minutes=9)}, NOW).warnings == []
    (warning,) = Range.from_mapping({"start": "2099-01-01"}, NOW).warnings
    assert warning == "start (2099-01-01T00:00:00Z) is in the future: the range has no entries yet."
