# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The contract of GET /v1/project-logs."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Dict, List, Union
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator, bulk
from ansible_collections.auditops.cloudscale.tests.simulator.log import write_time
from ansible_collections.auditops.cloudscale.tests.simulator.testing import Client, Clock


def number(sim: Simulator, count: int, clock: Clock, first: int = 0) -> List[str]:
    """Entries named by number, an hour apart, the last one an hour ago."""
    names = [str(index) for index in range(first, first + count)]
    for position, name in enumerate(names):
        sim.project("main").log.append(message=name, timestamp=clock.ago(hours=count - position))
    return names


def test_an_empty_log_has_a_poll_more_and_no_next(client: Client) -> None:
    page = client.page()
    assert page["results"] == []
    assert page["next"] is None
    assert client.page(page["poll_more"])["poll_more"] == page["poll_more"]


def test_a_chain_of_pages_holds_every_entry_once_in_visible_order(sim: Simulator, client: Client, clock: Clock) -> None:
    names = number(sim, 25, clock)
    sim.set(page_size=10)
    chain = client.pages()
    assert [len(page["results"]) for page in chain] == [10, 10, 5]
    assert [entry["message"] for page in chain for entry in page["results"]] == names
    assert all(page["next"] == page["poll_more"] for page in chain[:-1])
    assert chain[-1]["next"] is None


def test_a_full_last_page_has_no_next(sim: Simulator, client: Client, clock: Clock) -> None:
    number(sim, 10, clock)
    sim.set(page_size=10)
    assert client.page()["next"] is None


def test_poll_more_returns_only_entries_visible_since(sim: Simulator, client: Client, clock: Clock) -> None:
    number(sim, 3, clock)
    poll_more = client.page()["poll_more"]
    assert client.messages(poll_more) == []
    sim.project("main").log.append(message="overtaken", timestamp=clock.ago(hours=2, milliseconds=5))
    assert client.messages(poll_more) == ["overtaken"]
    assert client.messages()[-1] == "overtaken"


def test_cursors_are_integers_but_no_indices(sim: Simulator, client: Client, clock: Clock) -> None:
    number(sim, 3, clock)
    sim.set(page_size=1)
    cursors = [int(parse_qs(urlsplit(page["poll_more"]).query)["cursor"][0]) for page in client.pages()]
    assert cursors == sorted(set(cursors))
    assert not set(cursors) & set(range(10))


def test_cursors_of_projects_interleave(sim: Simulator, client: Client) -> None:
    others = sim.add_project("other")
    cursors = []
    with Client(sim, "other") as neighbor:
        for requested, project in [(client, sim.project("main")), (neighbor, others)] * 3:
            project.log.append()
            cursors.append(int(parse_qs(urlsplit(requested.pages()[-1]["poll_more"]).query)["cursor"][0]))
    assert cursors == sorted(set(cursors))


def test_a_page_holds_200_entries(sim: Simulator, client: Client, clock: Clock) -> None:
    sim.project("main").log.extend(bulk(450, clock.ago(days=1), clock.now))
    assert [len(page["results"]) for page in client.pages()] == [200, 200, 50]


def test_an_entry_is_what_the_vendor_shows(sim: Simulator, client: Client, clock: Clock) -> None:
    project = sim.project("main")
    clock.now = datetime(2026, 11, 22, 12, 23, 17, 460366, tzinfo=timezone.utc)
    appended = project.log.append(action="server_create", message="Server 'hello' has been created", new_key=[1])
    [entry] = client.page()["results"]
    assert entry == appended
    assert entry == {
        "timestamp": "2026-11-22T12:23:17.460366Z",
        "action": "server_create",
        "message": "Server 'hello' has been created",
        "ip_address": "192.0.2.10",
        "actor": {"user": {"email": "johanna@example.com"}},
        "subject": {"project": {"uuid": project.uuid, "name": "main"}},
        "new_key": [1],
    }


def test_staff_and_automated_tasks_have_no_address(sim: Simulator) -> None:
    log = sim.project("main").log
    assert log.append(actor={"system": {}})["ip_address"] is None
    assert log.append(actor={"admin": {}})["ip_address"] is None
    assert log.append(actor={"admin": {}}, ip_address="2001:db8::1")["ip_address"] == "2001:db8::1"


def test_equal_entries_and_raw_json_are_kept_as_given(sim: Simulator, client: Client) -> None:
    log = sim.project("main").log
    odd = '{"b": 1.10,  "a": 1e400, "timestamp": "2026-11-22T11:00:00Z", "text": "\\ud800"}'
    same = {"timestamp": "2026-11-22T11:00:00Z", "message": "{{ 7*7 }} \u00e9"}
    log.extend([same, same, odd, odd.encode()])
    text = client.ask("GET", "/project-logs").content
    assert text.count(odd.encode()) == 2
    assert text.count('"message":"{{ 7*7 }} \u00e9"'.encode()) == 2


def test_lone_surrogates_survive(sim: Simulator, client: Client) -> None:
    sim.project("main").log.append(message="a\ud800b")
    assert client.messages() == ["a\ud800b"]


class TestRanges:
    @pytest.mark.parametrize("mode", ["cursor", "kept"])
    def test_start_is_inclusive_and_end_exclusive_on_every_page(
        self, sim: Simulator, client: Client, clock: Clock, mode: str
    ) -> None:
        names = number(sim, 24, clock)
        sim.set(page_size=5, range_in_urls=mode)
        bounds = {"start": write_time(clock.ago(hours=20)), "end": write_time(clock.ago(hours=4))}
        assert client.messages(**bounds) == names[4:20]

    def test_dropped_ranges_are_unknown_to_later_pages(self, sim: Simulator, client: Client, clock: Clock) -> None:
        names = number(sim, 24, clock)
        sim.set(page_size=5, range_in_urls="dropped")
        bounds = {"start": write_time(clock.ago(hours=20)), "end": write_time(clock.ago(hours=4))}
        chain = client.pages(**bounds)
        assert [entry["message"] for page in chain for entry in page["results"]] == names[4:]
        assert all(set(parse_qs(urlsplit(page["poll_more"]).query)) == {"cursor"} for page in chain)

    def test_kept_ranges_are_in_the_urls(self, sim: Simulator, client: Client, clock: Clock) -> None:
        number(sim, 3, clock)
        sim.set(range_in_urls="kept")
        start = "2026-11-22T01:00:00+01:00"
        assert parse_qs(urlsplit(client.page(start=start)["poll_more"]).query)["start"] == [start]

    @pytest.mark.parametrize("mode", ["cursor", "kept", "end"])
    def test_a_poll_stays_in_a_range_that_is_kept(
        self, sim: Simulator, client: Client, clock: Clock, mode: str
    ) -> None:
        sim.set(range_in_urls=mode)
        poll_more = client.page(end=write_time(clock.ago(hours=1)))["poll_more"]
        log = sim.project("main").log
        log.append(message="late", timestamp=clock.ago(hours=2))
        log.append(message="now")
        assert client.messages(poll_more) == ["late"]

    def test_a_poll_of_a_dropped_range_returns_all_after_its_last_entry(
        self, sim: Simulator, client: Client, clock: Clock
    ) -> None:
        names = number(sim, 5, clock)
        bounds = {"start": write_time(clock.ago(hours=4)), "end": write_time(clock.ago(hours=2))}
        page = client.page(**bounds)
        assert [entry["message"] for entry in page["results"]] == names[1:3]
        assert client.messages(page["poll_more"]) == names[3:]

    def test_only_the_end_can_be_kept(self, sim: Simulator, client: Client, clock: Clock) -> None:
        names = number(sim, 24, clock)
        sim.set(page_size=5, range_in_urls="end")
        bounds = {"start": write_time(clock.ago(hours=20)), "end": write_time(clock.ago(hours=4))}
        chain = client.pages(**bounds)
        assert [entry["message"] for page in chain for entry in page["results"]] == names[4:20]
        assert all(set(parse_qs(urlsplit(page["next"]).query)) == {"cursor", "end"} for page in chain[:-1])

    def test_poll_more_advances_past_entries_of_others(self, sim: Simulator, client: Client, clock: Clock) -> None:
        sim.set(range_in_urls="kept")
        end = write_time(clock.ago(hours=1))
        before = client.page(end=end)
        sim.project("main").log.append(message="out of range")
        after = client.page(before["poll_more"])
        assert after["results"] == []
        assert after["next"] is None
        assert after["poll_more"] != before["poll_more"]

    def test_entries_of_others_advance_the_cursor(self, sim: Simulator, client: Client) -> None:
        before = client.page()
        sim.project("main").log.hide(3)
        after = client.page(before["poll_more"])
        assert (after["results"], after["next"]) == ([], None)
        assert after["poll_more"] != before["poll_more"]
        assert sim.project("main").log.entries == []

    @pytest.mark.parametrize("name", ["start", "end"])
    @pytest.mark.parametrize("text", ["2026-11-22T12:00:00", "2026-11-22", "yesterday", "", "2026-13-45T00:00:00Z"])
    def test_invalid_times_are_refused(self, client: Client, name: str, text: str) -> None:
        response = client.ask("GET", "/project-logs", params={name: text})
        assert response.status_code == 400
        assert list(response.json()) == [name]

    def test_a_bare_plus_is_a_space_and_refused(self, client: Client) -> None:
        assert client.ask("GET", "/project-logs?start=2026-11-22T12:00:00+01:00").status_code == 400
        assert client.ask("GET", "/project-logs?start=2026-11-22T12:00:00%2B01:00").status_code == 200

    def test_ranges_are_found_across_many_blocks(self, sim: Simulator, client: Client, clock: Clock) -> None:
        sim.set(range_in_urls="kept")
        sim.project("main").log.extend(bulk(5000, clock.ago(days=50), clock.now))
        bounds = {"start": write_time(clock.ago(days=20)), "end": write_time(clock.ago(days=10))}
        assert len(client.messages(**bounds)) == 1000
        late = sim.project("main").log.append(message="late", timestamp=clock.ago(days=15))
        assert client.messages(**bounds)[-1] == late["message"]


class TestPageSizes:
    def test_scripted_sizes_come_first(self, sim: Simulator, client: Client, clock: Clock) -> None:
        names = number(sim, 12, clock)
        sim.set(page_size=5)
        sim.page_sizes([3, 1, 0, 0, 7])
        chain = client.pages()
        assert [len(page["results"]) for page in chain] == [3, 1, 0, 0, 7, 1]
        assert [entry["message"] for page in chain for entry in page["results"]] == names

    def test_an_empty_page_in_the_middle_still_moves_on(self, sim: Simulator, client: Client, clock: Clock) -> None:
        number(sim, 2, clock)
        sim.page_sizes([0, 1, 0, 0])
        urls = [page["next"] for page in client.pages()]
        assert len(set(urls)) == len(urls) == 5

    def test_a_hook_runs_before_each_page(self, sim: Simulator, client: Client, clock: Clock) -> None:
        number(sim, 2, clock)
        sim.set(page_size=2)
        late = iter(["late", "later"])

        def overtake() -> None:
            for message in list(late)[:1]:
                sim.project("main").log.append(message=message, timestamp=clock.ago(hours=9))

        sim.before_page(overtake)
        assert client.messages() == ["0", "1", "late"]
        sim.before_page(None)


class TestRetention:
    def test_older_entries_are_gone(self, sim: Simulator, client: Client, clock: Clock) -> None:
        log = sim.project("main").log
        log.append(message="old", timestamp=clock.ago(days=90, seconds=1))
        log.append(message="kept", timestamp=clock.ago(days=90))
        assert client.messages() == ["kept"]
        sim.set(retention=None)
        assert client.messages() == ["old", "kept"]
        assert len(log.entries) == 2

    def expire(self, sim: Simulator, client: Client, clock: Clock) -> str:
        """A cursor whose next entries retention has taken."""
        poll_more: str = client.page()["poll_more"]
        sim.project("main").log.append(message="lost")
        clock.now += timedelta(days=91)
        sim.project("main").log.append(message="left")
        return poll_more

    def test_an_expired_cursor_continues_at_the_oldest_available_entry(
        self, sim: Simulator, client: Client, clock: Clock
    ) -> None:
        assert client.messages(self.expire(sim, client, clock)) == ["left"]

    @pytest.mark.parametrize(("mode", "status"), [("refuse", 404), (410, 410), (400, 400)])
    def test_or_is_refused(
        self, sim: Simulator, client: Client, clock: Clock, mode: Union[str, int], status: int
    ) -> None:
        poll_more = self.expire(sim, client, clock)
        sim.set(expired_cursor=mode)
        assert client.ask("GET", poll_more).status_code == status
        assert client.messages() == ["left"]

    def test_a_cursor_of_a_quiet_project_never_expires(self, sim: Simulator, client: Client, clock: Clock) -> None:
        sim.set(expired_cursor="refuse")
        sim.project("main").log.append(message="read")
        poll_more = client.page()["poll_more"]
        clock.now += timedelta(days=400)
        sim.project("main").log.append(message="new")
        assert client.messages(poll_more) == ["new"]

    def test_entries_of_others_expire_no_cursor(self, sim: Simulator, client: Client) -> None:
        sim.set(expired_cursor="refuse")
        poll_more = client.page()["poll_more"]
        sim.project("main").log.hide(3)
        sim.project("main").log.append(message="new")
        assert client.messages(poll_more) == ["new"]

    def test_the_date_header_is_the_servers_clock(self, sim: Simulator, client: Client, clock: Clock) -> None:
        assert parsedate_to_datetime(client.ask("GET", "/project-logs").headers["Date"]) == clock.now
        sim.set(clock_offset=timedelta(days=-3))
        assert parsedate_to_datetime(client.ask("GET", "/project-logs").headers["Date"]) == clock.ago(days=3)


class TestRefusals:
    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Token x"}])
    def test_a_wrong_or_missing_token(self, sim: Simulator, header: Dict[str, str]) -> None:
        response = requests.get(sim.url + "/project-logs", headers=header, timeout=10)
        assert (response.status_code, response.json()) == (401, {"detail": "Invalid token."})

    def test_a_token_belongs_to_one_project_until_it_is_rotated(self, sim: Simulator, client: Client) -> None:
        other = sim.add_project("other")
        other.log.append(message="theirs")
        sim.project("main").log.append(message="ours")
        assert client.messages() == ["ours"]
        with Client(sim, "other") as others:
            assert others.messages() == ["theirs"]
        old = other.token
        assert other.rotate_token() != old
        header = {"Authorization": f"Bearer {old}"}
        assert requests.get(sim.url + "/project-logs", headers=header, timeout=10).status_code == 401

    @pytest.mark.parametrize("cursor", ["", "abc", "-1", "99999999", "10025-x-", "1" * 30])
    def test_a_cursor_that_the_api_never_returned(self, client: Client, cursor: str) -> None:
        assert client.ask("GET", "/project-logs", params={"cursor": cursor}).status_code == 400

    def test_a_cursor_before_the_first_row_begins_at_the_oldest_left(self, sim: Simulator, client: Client) -> None:
        sim.project("main").log.append(message="oldest")
        assert client.messages("/project-logs?cursor=7") == ["oldest"]

    def test_other_methods_and_paths(self, client: Client) -> None:
        assert client.ask("POST", "/project-logs").status_code == 405
        assert client.ask("GET", "/nothing").json() == {"detail": "Not found."}
        assert client.ask("GET", client.page()["poll_more"].split("/v1")[0]).json() == {"detail": "Not Found"}

    def test_meaningless_settings_change_nothing(self, sim: Simulator) -> None:
        for wrong in ({"range_in_urls": "maybe"}, {"expired_cursor": "soon"}, {"page_seize": 3}):
            with pytest.raises(ValueError, match=next(iter(wrong))):
                sim.set(**wrong)
        assert sim.state.settings.range_in_urls == "dropped"


class TestServer:
    def test_requests_are_recorded(self, sim: Simulator, client: Client) -> None:
        client.page(start="2026-11-22T12:00:00+00:00")
        client.ask("GET", "/project-logs?cursor=abc")
        first, second = sim.requests
        assert (first.method, first.path, first.status, first.project) == ("GET", "/v1/project-logs", 200, "main")
        assert first.query == {"start": "2026-11-22T12:00:00+00:00"}
        assert first.raw_query == "start=2026-11-22T12%3A00%3A00%2B00%3A00"
        assert first.headers["authorization"] == f"Bearer {sim.project('main').token}"
        assert first.began <= first.ended <= second.began
        assert second.status == 400
        sim.clear_requests()
        assert sim.requests == []

    def test_tls_by_its_own_ca(self) -> None:
        with Simulator(tls=True) as sim, Client(sim) as client:
            assert sim.url.startswith("https://localhost:")
            assert client.page()["poll_more"].startswith(sim.url)
            with pytest.raises(requests.exceptions.SSLError):
                requests.get(sim.url, timeout=10)

    def test_other_addresses(self) -> None:
        assert Simulator(host="::1", port=80).url == "http://[::1]:80/v1"
        with Simulator(host="127.0.0.2", tls=True) as sim, Client(sim) as client:
            assert client.page()["poll_more"].startswith("https://127.0.0.2:")

    def test_stopped_and_started_again_it_keeps_port_and_log(self, sim: Simulator) -> None:
        sim.project("main").log.append(message="before")
        url = sim.url
        sim.stop()
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url, timeout=10)
        sim.start()
        assert sim.url == url
        with Client(sim) as client:
            assert client.messages() == ["before"]

    def test_a_port_in_use_is_reported(self, sim: Simulator) -> None:
        with pytest.raises(OSError, match="in use"), Simulator(port=sim.port):
            pass

    def test_latency_delays_each_response(self, sim: Simulator, client: Client) -> None:
        sim.set(latency=0.05)
        client.page()
        assert sim.requests[0].ended - sim.requests[0].began >= 0.05


def test_a_page_is_one_compact_json_object(client: Client) -> None:
    page: Dict[str, Any] = json.loads(client.ask("GET", "/project-logs").content)
    assert list(page) == ["next", "poll_more", "results"]
