# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trustme
from ansible_collections.auditops.cloudscale.plugins.module_utils import errors
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api, Page
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.simulator import Fault, Simulator

from ..conftest import Waits, connect

TOKEN = "s3cret-Token.0123456789_abcdefghijkl"


@pytest.fixture
def make(simulator: Simulator, waits: Waits) -> Callable[..., Api]:
    def make_api(**options: Any) -> Api:
        return Api(connect(simulator, **options), clock=waits.clock, wait=waits.wait, jitter=lambda: 0.5)

    return make_api


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_page_has_entries_and_the_next_url(simulator: Simulator, api: Api) -> None:
    expected = [simulator.project("main").log.append(action="server_create", message=f"m{n}") for n in range(4)]
    first = api.page(api.first_url())
    assert first.entries == expected[:3]
    assert first.next is not None
    last = api.page(first.next)
    assert last.entries == expected[3:]
    assert last.next is None
    assert api.page(last.poll_more).entries == []
    assert last.server_date is not None
    assert abs(last.server_date - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_each_page_is_passed_to_a_callback(simulator: Simulator) -> None:
    simulator.project("main").log.append(action="server_create", message="m")
    pages: list[Page] = []
    with Api(connect(simulator), on_page=pages.append) as api:
        page = api.page(api.first_url())
    assert pages == [page]


def test_requests_are_reads_that_name_the_client_and_keep_the_connection(simulator: Simulator, api: Api) -> None:
    for _attempt in range(3):
        api.page(api.first_url())
    for request in simulator.requests:
        assert request.method == "GET"
        assert request.headers["Authorization"] == f"Bearer {simulator.project('main').token}"
        assert request.headers["User-Agent"].startswith("auditops.cloudscale/")


def test_times_are_sent_percent_encoded(simulator: Simulator, api: Api) -> None:
    start = datetime(2026, 11, 22, 8, tzinfo=timezone(timedelta(hours=2)))
    api.page(api.first_url(start, start + timedelta(days=1)))
    assert simulator.requests[-1].raw_query == "start=2026-11-22T06%3A00%3A00Z&end=2026-11-23T06%3A00%3A00Z"


PASSING = [
    Fault("status", status=429),
    Fault("status", status=429, retry_after=7),
    Fault("status", status=500),
    Fault("status", status=502),
    Fault("status", status=503),
    Fault("status", status=504),
    Fault("html"),
    Fault("html", status=200),
    Fault("reset"),
    Fault("reset_body"),
    Fault("truncated"),
    Fault("empty"),
    Fault("not_object"),
    Fault("no_results"),
    Fault("no_poll_more"),
    Fault("raw", body=b'{"results": [5], "next": null, "poll_more": "x"}'),
    Fault("raw", body=b'{"results": [], "next": 5, "poll_more": "x"}'),
    Fault("raw", body=b"[" * 100_000),
    Fault("raw", body=b"\xff\xfe\x00"),
]


@pytest.mark.parametrize(
    "fault", PASSING, ids=lambda fault: f"{fault.kind}-{fault.status}-{(fault.body or b'')[-9:]!r}"
)
def test_a_transient_error_is_retried_and_loses_no_entry(
    simulator: Simulator, api: Api, fault: Fault, waits: Waits
) -> None:
    expected = [simulator.project("main").log.append(action="server_create", message="m")]
    simulator.script(fault, fault)
    assert api.page(api.first_url()).entries == expected
    assert len(waits.seconds) == 2
    assert len(simulator.requests) == 3


@pytest.mark.parametrize("fault", [Fault("html", status=200, times=99), Fault("raw", body=b"[]", times=99)])
def test_a_server_that_is_not_an_api_is_reported_within_seconds(
    simulator: Simulator, api: Api, fault: Fault, waits: Waits
) -> None:
    simulator.script(fault)
    with pytest.raises(errors.InvalidResponse, match="check api_url"):
        api.page(api.first_url())
    assert len(waits.seconds) == 2
    assert sum(waits.seconds) <= 5
    simulator.clear_script()
    api.page(api.first_url())
    simulator.script(fault)
    waits.seconds.clear()
    with pytest.raises(errors.InvalidResponse):
        api.page(api.first_url())
    assert len(waits.seconds) == 8  # it is an API that is unavailable for a while


@pytest.mark.parametrize(
    ("fault", "error", "code", "status"),
    [
        (Fault("status", status=503, times=99), errors.ServiceUnavailable, "service_unavailable", 503),
        (Fault("status", status=429, times=99), errors.ServiceUnavailable, "service_unavailable", 429),
        (Fault("html", times=99), errors.ServiceUnavailable, "service_unavailable", 502),
        (Fault("truncated", times=99), errors.Unreachable, "unreachable", None),
        (Fault("reset", times=99), errors.Unreachable, "unreachable", None),
    ],
)
def test_the_last_error_is_reported_when_retries_are_used_up(
    simulator: Simulator, make: Callable[..., Api], fault: Fault, error: Any, code: str | None, status: int | None
) -> None:
    simulator.script(fault)
    with make(api_retries=3) as api, pytest.raises(error) as caught:
        api.page(api.first_url())
    assert len(simulator.requests) == 4
    assert caught.value.retryable
    assert caught.value.failure == {"code": code, "http_status": status, "retryable": True}


def test_waits_grow_with_jitter_and_stay_within_the_budget(
    simulator: Simulator, make: Callable[..., Api], waits: Waits
) -> None:
    simulator.script(Fault("status", status=503, times=99))
    with make(api_retries=50, api_retry_budget=100) as api, pytest.raises(errors.ServiceUnavailable):
        api.page(api.first_url())
    assert waits.seconds[:4] == [0.375, 0.75, 1.5, 3.0]
    assert waits.seconds == sorted(waits.seconds[:-1]) + waits.seconds[-1:]
    assert sum(waits.seconds) == pytest.approx(100)


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        (7, 7),
        ("0", 0.375),
        ("soon", 0.375),
        ("-5", 0.375),
        (600, 600),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.375),
    ],
)
def test_retry_after_is_honored(simulator: Simulator, api: Api, waits: Waits, retry_after: Any, seconds: float) -> None:
    simulator.script(Fault("status", status=429, retry_after=retry_after))
    api.page(api.first_url())
    assert waits.seconds == [seconds]


@pytest.mark.parametrize("retry_after", [601, "99999999999999999999", datetime(2100, 1, 1, tzinfo=timezone.utc)])
def test_a_retry_after_beyond_the_budget_fails_at_once(
    simulator: Simulator, api: Api, waits: Waits, retry_after: Any
) -> None:
    simulator.script(Fault("status", status=503, retry_after=retry_after))
    with pytest.raises(errors.ServiceUnavailable):
        api.page(api.first_url())
    assert (waits.seconds, len(simulator.requests)) == ([], 1)


def test_the_budget_left_counts_for_a_retry_after(simulator: Simulator, api: Api, waits: Waits) -> None:
    simulator.script(*[Fault("status", status=503, retry_after=400)] * 2)
    with pytest.raises(errors.ServiceUnavailable):
        api.page(api.first_url())
    assert waits.seconds == [400]


def test_a_shorter_request_to_slow_down_does_not_end_a_longer_one(
    simulator: Simulator, make: Callable[..., Api]
) -> None:
    with make() as api, api.clone(threading.Event()) as other:
        for client, seconds in ((api, 30), (other, 5)):
            client.throttle.block_until(seconds)
        assert [client.throttle.seconds_left(10) for client in (api, other)] == [20, 20]


def test_retry_after_may_be_a_date(simulator: Simulator, api: Api, waits: Waits) -> None:
    simulator.script(Fault("status", status=503, retry_after=datetime.now(timezone.utc) + timedelta(seconds=30)))
    api.page(api.first_url())
    assert waits.seconds[0] == pytest.approx(30, abs=2)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (401, errors.Unauthorized, "does not accept the token .*check api_token"),
        (403, errors.Forbidden, "does not allow this token to read the project log .*permission"),
        (404, errors.RequestRejected, "check api_url"),
        (400, errors.RequestRejected, "Bad request"),
    ],
)
def test_refusals_are_reported_at_once(simulator: Simulator, api: Api, status: int, error: Any, message: str) -> None:
    simulator.script(Fault("status", status=status))
    with pytest.raises(error, match=message) as caught:
        api.page(api.first_url())
    assert caught.value.failure["http_status"] == status
    assert not caught.value.retryable
    assert len(simulator.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_refused_cursor_is_reported_as_such(simulator: Simulator, api: Api, status: int) -> None:
    cursor = api.page(api.first_url()).poll_more
    simulator.script(Fault("status", status=status))
    with pytest.raises(errors.CursorRejected, match="rejects the cursor") as caught:
        api.page(cursor)
    assert caught.value.status == status


def test_a_wrong_token_is_not_repeated(simulator: Simulator, make: Callable[..., Api]) -> None:
    with make(api_token=TOKEN) as api, pytest.raises(errors.Unauthorized) as caught:
        api.page(api.first_url())
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("kind", ["foreign_next", "foreign_poll_more", "redirect"])
@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/v1/project-logs?cursor=1",
        "http://127.0.0.1:1/v1/project-logs?cursor=1",
        "{origin}/other/project-logs?cursor=1",
        "{origin}/v1/../other?cursor=1",
        "{origin}/v1/%2e%2e/other?cursor=1",
        "{origin}/v11/project-logs?cursor=1",
        "{origin}/v1/..\\other?cursor=1",
        "{origin}/v1/%2e%2e%5cother?cursor=1",
        "//evil.example/v1/project-logs",
        "http://[::1/v1/project-logs",
    ],
)
def test_the_token_goes_nowhere_else(simulator: Simulator, api: Api, kind: str, target: str) -> None:
    simulator.project("main").log.append(action="a", message="m")
    simulator.script(Fault(kind, to=target.format(origin=simulator.url[: -len("/v1")])))
    with pytest.raises(errors.UntrustedURL, match="nothing was sent there"):
        api.page(api.first_url())
    assert len(simulator.requests) == 1


@pytest.mark.parametrize("login", ["x:y@", "x@", ":y@"])
def test_user_and_password_in_a_next_url_are_refused(simulator: Simulator, api: Api, login: str) -> None:
    simulator.project("main").log.append(action="a", message="m")
    simulator.script(Fault("foreign_next", to=simulator.url.replace("://", f"://{login}") + "/project-logs?cursor=1"))
    with pytest.raises(errors.UntrustedURL):
        api.page(api.first_url())


def test_a_redirect_within_the_api_is_followed_but_not_for_ever(simulator: Simulator, make: Callable[..., Api]) -> None:
    with make(api_retries=0) as api:
        simulator.script(Fault("redirect"))
        assert api.page(api.first_url()).entries == []
        simulator.script(Fault("redirect", times=99))
        with pytest.raises(errors.InvalidResponse, match="redirected more than 5 times"):
            api.page(api.first_url())


@pytest.mark.parametrize(
    ("cursor", "error", "message"),
    [
        ("https://evil.example/v1/project-logs?cursor=1", errors.UntrustedURL, "evil.example"),
        ("{url}/servers?cursor=1", errors.InvalidInput, "is not a poll_more URL"),
        ("{url}/project-logs", errors.InvalidInput, "is not a poll_more URL"),
        ("{url}/project-logs?start=-1d&end=-1h", errors.InvalidInput, "is not a poll_more URL"),
        ("{url}/project-logs?start=2026-11-22T12:00:00Z", None, None),
        ("{url}/project-logs?cursor=1", None, None),
    ],
)
def test_a_cursor_of_a_user_is_checked(simulator: Simulator, api: Api, cursor: str, error: Any, message: str) -> None:
    url = cursor.format(url=simulator.url)
    if error is None:
        assert api.cursor_url(url) == url
        return
    with pytest.raises(error, match=message):
        api.cursor_url(url)
    assert simulator.requests == []


def test_a_refused_connection_is_reported_within_seconds(waits: Waits) -> None:
    connection = Connection.from_mapping({"api_token": TOKEN, "api_url": f"http://127.0.0.1:{refused_port()}/v1"})
    with Api(connection, clock=waits.clock, wait=waits.wait) as api:
        with pytest.raises(
            errors.Unreachable, match="No connection to 127.0.0.1:.*[Rr]efused.*check api_url"
        ) as caught:
            api.page(api.first_url())
    assert caught.value.retryable
    assert len(waits.seconds) == 2
    assert round(sum(waits.seconds), 3) <= 5


def test_an_unknown_host_is_reported_within_seconds(waits: Waits) -> None:
    connection = Connection.from_mapping({"api_token": TOKEN, "api_url": "https://api.cloudscale.invalid/v1"})
    with Api(connection, clock=waits.clock, wait=waits.wait) as api:
        with pytest.raises(errors.Unreachable, match="No connection to api.cloudscale.invalid"):
            api.page(api.first_url())
    assert round(sum(waits.seconds), 3) <= 5


def test_a_host_that_answered_before_is_waited_for(simulator: Simulator, waits: Waits) -> None:
    with Api(connect(simulator, api_retries=5), clock=waits.clock, wait=waits.wait) as api:
        api.page(api.first_url())
        simulator.stop()
        with pytest.raises(errors.Unreachable):
            api.page(api.first_url())
    assert len(waits.seconds) == 5


def test_a_client_of_another_thread_waits_for_a_host_that_answered_the_first(
    simulator: Simulator, make: Callable[..., Api], waits: Waits
) -> None:
    with make(api_retries=5) as api, api.clone(threading.Event()) as early:
        api.page(api.first_url())
        simulator.stop()
        for client, retries in ((early, 2), (api.clone(threading.Event()), 5)):
            waits.seconds.clear()
            with client, pytest.raises(errors.Unreachable):
                client.page(client.first_url())
            assert len(waits.seconds) == retries


@contextmanager
def deaf() -> Iterator[str]:
    """The address of a server whose queue is full, so that every further connection waits."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for queued in (first, second):
            queued.setblocking(False)
            queued.connect_ex(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(("retries", "tries"), [(8, 2), (0, 1)])
def test_a_first_connection_that_times_out_is_tried_once_more(waits: Waits, retries: int, tries: int) -> None:
    # The clock advances by 6 seconds per call, which exceeds the budget of a refused connection.
    seconds = count(step=6.0)
    with deaf() as address:
        connection = Connection(TOKEN, f"http://{address}/v1", timeout=0.1, retries=retries)
        with Api(connection, clock=lambda: next(seconds), wait=waits.wait) as api:
            with pytest.raises(errors.Unreachable, match="could not be reached in time"):
                api.page(api.first_url())
    assert len(waits.seconds) == tries - 1


def test_a_certificate_is_verified_and_never_retried(waits: Waits, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.pem"
    trustme.CA().cert_pem.write_to_path(foreign)
    with Simulator(tls=True) as simulator:
        trusting = connect(simulator, ca_path=simulator.ca_path)
        with Api(trusting) as api:
            assert api.page(api.first_url()).entries == []
        with Api(connect(simulator), clock=waits.clock, wait=waits.wait) as api:
            with pytest.raises(errors.CertificateRejected, match="cannot be verified; check"):
                api.page(api.first_url())
        for other in (None, str(foreign)):
            with Api(connect(simulator, validate_certs=False, ca_path=other)) as api:
                with pytest.warns(Warning, match="Unverified"):
                    assert api.page(api.first_url()).entries == []
        broken = tmp_path / "ca.pem"
        broken.write_text("no certificate")
        with Api(connect(simulator, ca_path=str(broken))) as api:
            with pytest.raises(errors.AuditError, match="ca_path"):
                api.page(api.first_url())
    assert waits.seconds == []


@contextmanager
def responding_server(response: bytes, seconds: float = 0) -> Iterator[str]:
    """The address of a server that responds to each request with these bytes and closes the connection."""
    ended = threading.Event()

    def respond(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                taken, _address = listening.accept()
                with taken:
                    taken.recv(1 << 16)
                    taken.sendall(response)
                    ended.wait(seconds)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=respond, args=(listening,))
        server.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            listening.shutdown(socket.SHUT_RDWR)
            server.join()


@pytest.mark.parametrize("response", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"], ids=["hung up", "no TLS"])
def test_a_broken_handshake_says_nothing_of_certificates_and_is_tried_again(waits: Waits, response: bytes) -> None:
    with responding_server(response) as address:
        with Api(Connection(TOKEN, f"https://{address}/v1"), clock=waits.clock, wait=waits.wait) as api:
            with pytest.raises(errors.Unreachable, match=f"No connection to {address}: .*; check api_url") as caught:
                api.page(api.first_url())
    assert caught.value.retryable
    assert len(waits.seconds) == 2


def test_a_server_that_closes_the_connection_is_reported_as_such() -> None:
    with responding_server(b"") as address:
        with Api(Connection(TOKEN, f"http://{address}/v1", retries=0)) as api:
            with pytest.raises(errors.Unreachable, match="RemoteDisconnected|Connection reset by peer"):
                api.page(api.first_url())


def test_an_answer_that_stalls_ends_with_the_time_out() -> None:
    with responding_server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", seconds=30) as address:
        with Api(Connection(TOKEN, f"http://{address}/v1", timeout=1, retries=0)) as api:
            with pytest.raises(errors.Unreachable, match="did not respond within 1 s"):
                api.page(api.first_url())


def test_an_odd_retry_after_is_none(waits: Waits) -> None:
    with responding_server(
        b"HTTP/1.1 503 X\r\nRetry-After: \xb2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    ) as address:
        with Api(Connection(TOKEN, f"http://{address}/v1", retries=1), wait=waits.wait, jitter=lambda: 0.5) as api:
            with pytest.raises(errors.ServiceUnavailable):
                api.page(api.first_url())
    assert waits.seconds == [0.375]


def test_what_the_api_says_of_an_error_is_one_line_and_no_token(simulator: Simulator, api: Api) -> None:
    detail = f"\x1b[31mNo\nright for {simulator.project('main').token}"
    simulator.script(Fault("raw", status=403, body=json.dumps({"detail": detail}).encode()))
    with pytest.raises(errors.Forbidden) as caught:
        api.page(api.first_url())
    assert caught.value.message.endswith("(HTTP 403): \ufffd[31mNo\ufffdright for ***; use another token.")


def test_the_fields_that_the_api_refuses_are_named(simulator: Simulator, api: Api) -> None:
    body = {"start": ["Not a time.", "Too early."], "end": "Too late."}
    simulator.script(Fault("raw", status=400, body=json.dumps(body).encode()))
    with pytest.raises(errors.RequestRejected, match=r"\(HTTP 400\): start: Not a time.; end: Too late; check api_url"):
        api.page(api.first_url())


@pytest.mark.parametrize("before", range(280, 300, 5))
def test_no_part_of_the_token_is_left_where_a_long_detail_is_cut(simulator: Simulator, api: Api, before: int) -> None:
    token = simulator.project("main").token
    detail = "x" * before + token
    simulator.script(Fault("raw", status=403, body=json.dumps({"detail": detail}).encode()))
    with pytest.raises(errors.Forbidden) as caught:
        api.page(api.first_url())
    assert token[:3] not in caught.value.message


def test_an_answer_that_drips_in_ends_with_the_time_out(simulator: Simulator) -> None:
    simulator.project("main").log.append(action="a", message="m" * 2000)
    simulator.script(Fault("slow", seconds=30))
    with Api(connect(simulator, api_timeout=1, api_retries=0)) as api:
        with pytest.raises(errors.Unreachable, match="did not respond within 1 s"):
            api.page(api.first_url())


def bomb(size: int) -> bytes:
    """This number of spaces, compressed to a thousandth; equal blocks are compressed only once."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head, block = (packer.compress(b" " * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH) for _time in range(2))
    return head + block * ((size >> 20) - 1)


@pytest.mark.parametrize(
    ("body", "encoding"), [(b" " * (65 << 20), None), (bomb(1 << 30), "gzip")], ids=["plain", "packed"]
)
def test_an_answer_without_an_end_is_refused_in_bounded_memory(
    simulator: Simulator, api: Api, waits: Waits, body: bytes, encoding: str | None
) -> None:
    simulator.script(Fault("raw", body=body, encoding=encoding, times=9))
    tracemalloc.start()
    try:
        with pytest.raises(errors.InvalidResponse, match="is larger than 64 MiB; check api_url"):
            api.page(api.first_url())
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()
    assert waits.seconds == []


def test_a_stop_ends_a_wait_at_once(simulator: Simulator) -> None:
    stop = threading.Event()
    stop.set()
    simulator.script(Fault("status", status=503, retry_after=500))
    with Api(connect(simulator), stop=stop) as api, pytest.raises(errors.Cancelled):
        api.page(api.first_url())


def test_a_stop_ends_a_response_that_still_arrives(simulator: Simulator) -> None:
    stop = threading.Event()
    simulator.before_page(stop.set)
    with Api(connect(simulator), stop=stop) as api, pytest.raises(errors.Cancelled, match="The read was stopped"):
        api.page(api.first_url())


def test_a_netrc_entry_does_not_replace_the_token(
    simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Api(connect(simulator)) as api:
        assert api.page(api.first_url()).entries == []


def test_a_proxy_never_sees_the_traffic_of_this_machine(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{refused_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Api(connect(simulator)) as api:
        assert api.page(api.first_url()).entries == []


def test_a_missing_library_is_named(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "requests", None)
    with pytest.raises(errors.MissingDependency, match="requests") as caught:
        Api(connect(simulator))
    assert caught.value.library == "requests"
