# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each scripted fault, as a client meets it."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Dict, Iterator, Optional

import pytest
import requests
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client

LOG = "/project-logs"


@pytest.fixture(params=[False, True], ids=["http", "tls"])
def sim(request: pytest.FixtureRequest) -> Iterator[Simulator]:
    with Simulator(tls=request.param) as simulator:
        for _ask in range(5):
            simulator.project("main").log.append()
        yield simulator


def test_faults_hit_one_matching_request_each_and_in_order(sim: Simulator, client: Client) -> None:
    sim.script(Fault("status", status=503), Fault("status", status=429, times=2), Fault("pass"), Fault("html"))
    assert [client.ask("GET", LOG).status_code for _ask in range(6)] == [503, 429, 429, 200, 502, 200]
    assert [recorded.status for recorded in sim.requests] == [503, 429, 429, 200, 502, 200]


def test_faults_wait_for_requests_that_match(sim: Simulator, client: Client) -> None:
    sim.add_project("other")
    sim.script(
        Fault("status", status=404, cursor=True),
        Fault("status", status=500, path="/servers*", method="POST"),
        Fault("status", status=403, project="other"),
    )
    poll_more = client.page()["poll_more"]
    assert client.ask("GET", poll_more).status_code == 404
    assert client.ask("GET", poll_more).status_code == 200
    assert client.ask("GET", "/servers").status_code == 200
    assert client.ask("POST", "/servers", json={}).status_code == 500
    with Client(sim, "other") as other:
        assert other.ask("GET", LOG).status_code == 403
    sim.script(Fault("reset"))
    sim.clear_script()
    assert client.ask("GET", LOG).status_code == 200


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 429, 500, 502, 503, 504])
def test_status_has_a_detail(sim: Simulator, client: Client, status: int) -> None:
    sim.script(Fault("status", status=status))
    response = client.ask("GET", LOG)
    assert response.status_code == status
    assert response.json()["detail"]
    assert "Retry-After" not in response.headers


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (2, "2"),
        ("-5", "-5"),
        ("soon", "soon"),
        (10**12, "1000000000000"),
        (datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc), "Sun, 22 Nov 2026 12:00:00 GMT"),
    ],
)
def test_retry_after_in_any_form(sim: Simulator, client: Client, given: Any, sent: str) -> None:
    sim.script(Fault("status", status=429, retry_after=given))
    assert client.ask("GET", LOG).headers["Retry-After"] == sent


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"\xff\x00\xfe", b"\xff\x00\xfe"), ("text", b"text"), ({"field": ["wrong"]}, b'{"field":["wrong"]}')],
)
def test_bodies_are_the_ones_given(sim: Simulator, client: Client, body: Any, expected: bytes) -> None:
    sim.script(Fault("raw", body=body), Fault("status", status=400, body=body))
    for status in (200, 400):
        response = client.ask("GET", LOG)
        assert (response.status_code, response.content) == (status, expected)


@pytest.mark.parametrize("status", [None, 200])
def test_html_where_json_is_expected(sim: Simulator, client: Client, status: Optional[int]) -> None:
    sim.script(Fault("html", status=status))
    response = client.ask("GET", LOG)
    assert response.status_code == (status or 502)
    assert response.headers["Content-Type"].startswith("text/html")
    assert "<html>" in response.text


def test_reset_precedes_any_response(sim: Simulator, client: Client) -> None:
    sim.script(Fault("reset"))
    with pytest.raises(requests.exceptions.ConnectionError):
        client.ask("GET", LOG)
    assert client.ask("GET", LOG).status_code == 200
    assert [recorded.status for recorded in sim.requests] == [0, 200]


@pytest.mark.parametrize("kind", ["reset_body", "truncated"])
def test_bodies_are_truncated(sim: Simulator, client: Client, kind: str) -> None:
    whole = client.ask("GET", LOG).content
    sim.script(Fault(kind))
    response = client.ask("GET", LOG, stream=True)
    assert response.headers["Content-Length"] == str(len(whole))
    # urllib3 before version 2 accepts a truncated body and uses its connection again.
    with suppress(requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError):
        assert len(response.content) < len(whole)
    with Client(sim) as another:
        assert another.ask("GET", LOG).content == whole


def test_empty_and_no_object(sim: Simulator, client: Client) -> None:
    sim.script(Fault("empty"), Fault("not_object"))
    assert client.ask("GET", LOG).content == b""
    assert isinstance(client.ask("GET", LOG).json(), list)


@pytest.mark.parametrize(("kind", "key"), [("no_results", "results"), ("no_poll_more", "poll_more")])
def test_a_key_is_missing(sim: Simulator, client: Client, kind: str, key: str) -> None:
    sim.script(Fault(kind))
    assert {"next", "poll_more", "results"} - set(client.page()) == {key}


@pytest.mark.parametrize(("kind", "key"), [("foreign_next", "next"), ("foreign_poll_more", "poll_more")])
def test_urls_lead_elsewhere(sim: Simulator, client: Client, kind: str, key: str) -> None:
    sim.script(Fault(kind), Fault(kind, to="http://127.0.0.1:1/v1/project-logs?cursor=1"))
    assert client.page()[key].startswith("https://api.foreign.example/")
    page = client.page()
    assert page[key] == "http://127.0.0.1:1/v1/project-logs?cursor=1"
    assert len(page["results"]) == 5


def test_redirects(sim: Simulator, client: Client) -> None:
    sim.script(Fault("redirect"), Fault("redirect", status=307, to="https://api.foreign.example/v1/project-logs"))
    response = client.ask("GET", LOG + "?start=2026-01-01T00:00:00Z")
    assert (response.status_code, response.headers["Location"]) == (302, "/v1/project-logs?start=2026-01-01T00:00:00Z")
    response = client.ask("GET", LOG)
    assert (response.status_code, response.headers["Location"]) == (307, "https://api.foreign.example/v1/project-logs")


def test_loop_links_to_the_requested_page(sim: Simulator, client: Client) -> None:
    sim.script(Fault("loop"))
    url = sim.url + LOG + "?start=2026-01-01T00:00:00Z"
    assert client.page(url)["next"] == url


def test_slow_delays_the_response(sim: Simulator, client: Client) -> None:
    sim.script(Fault("slow", seconds=0.2))
    began = time.monotonic()
    response = client.ask("GET", LOG, stream=True)
    assert time.monotonic() - began >= 0.2
    assert len(response.json()["results"]) == 5


def test_drip_begins_at_once_and_takes_its_time(sim: Simulator, client: Client) -> None:
    sim.script(Fault("drip", seconds=0.02))
    began = time.monotonic()
    response: Dict[str, Any] = client.ask("GET", LOG).json()
    assert time.monotonic() - began >= 0.2
    assert len(response["results"]) == 5


def test_an_unknown_kind_is_reported() -> None:
    with pytest.raises(ValueError, match="not a valid kind of fault"):
        Fault("earthquake")
