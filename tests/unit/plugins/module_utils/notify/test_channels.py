# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways out of the host: what arrives, and what is said when it does not, which never shows a secret."""

from __future__ import annotations

import email
import email.policy
import json
import os
import select
import socket
from collections.abc import Iterator
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import AuditError, Cancelled, NotDelivered
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify import channels
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.channels import Command, Mail, Webhook
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.message import Message
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.notify.hook import Hook, NoWait

MESSAGE = Message("0123", "[high] Subject", "text", "body", [{"id": "0123", "severity": "high"}])


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as running:
        yield running


def webhook(hook: Hook, **more: Any) -> Webhook:
    return Webhook(**{"url": hook.url, "jitter": lambda: 0.0, **more})


def test_a_webhook_gets_json_under_the_id_of_the_message(hook: Hook) -> None:
    webhook(hook).send(MESSAGE, NoWait())
    (taken,) = hook.taken
    assert taken.body == {"text": "text", "alerts": MESSAGE.alerts}
    assert taken.path == "/hooks/s3cret"
    assert (taken.headers["Idempotency-Key"], taken.headers["Content-Type"]) == ("0123", "application/json")
    assert taken.headers["User-Agent"].startswith("auditops.cloudscale")
    assert "Authorization" not in taken.headers


def test_the_token_comes_from_a_file_and_no_netrc_replaces_it(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    webhook(hook).send(MESSAGE, NoWait())
    webhook(hook, token_file=str(tmp_path / "token")).send(MESSAGE, NoWait())
    assert [taken.headers.get("Authorization") for taken in hook.taken] == [None, "Bearer t0ken"]


@pytest.mark.parametrize("content", [None, b"", b"two words", b"\xff"])
def test_a_token_file_without_a_token_is_an_error(hook: Hook, tmp_path: Path, content: Any) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(
        AuditError, match=r"The token_file /.*/token (cannot be read|does not contain a valid token)"
    ) as refused:
        webhook(hook, token_file=str(tmp_path / "token")).send(MESSAGE, NoWait())
    assert "words" not in refused.value.message
    assert hook.seen == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_transient_errors_are_retried_with_the_same_id(hook: Hook, status: int) -> None:
    hook.answers = [(status, {})] * 3
    stop = NoWait()
    webhook(hook).send(MESSAGE, stop)
    assert stop.waits == [0.5, 1.0, 2.0]
    assert {taken.headers["Idempotency-Key"] for taken in hook.seen} == {"0123"}


def test_retries_are_limited(hook: Hook) -> None:
    hook.answer = (503, {})
    with pytest.raises(NotDelivered, match=rf"^127\.0\.0\.1:{hook.port} did not accept an alert \(HTTP 503\)$"):
        webhook(hook).send(MESSAGE, NoWait())
    assert len(hook.seen) == 4


def test_retry_after_is_honoured_within_the_time_limit(hook: Hook) -> None:
    hook.answers = [(429, {"Retry-After": "7"})]
    stop = NoWait()
    webhook(hook).send(MESSAGE, stop)
    assert stop.waits == [7.0]
    hook.answers = [(429, {"Retry-After": "3600"})]
    with pytest.raises(NotDelivered, match="HTTP 429"):
        webhook(hook).send(MESSAGE, stop)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_a_rejection_is_not_retried(hook: Hook, status: int) -> None:
    hook.answer = (status, {})
    with pytest.raises(NotDelivered, match=f"HTTP {status}") as refused:
        webhook(hook).send(MESSAGE, NoWait())
    assert (len(hook.seen), "s3cret" in refused.value.message) == (1, False)


def test_a_redirect_on_the_same_server_is_followed(hook: Hook) -> None:
    hook.answers = [(308, {"Location": "/elsewhere"}), (307, {"Location": hook.url})]
    webhook(hook).send(MESSAGE, NoWait())
    assert [taken.path for taken in hook.seen] == ["/hooks/s3cret", "/elsewhere", "/hooks/s3cret"]


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (307, "http://localhost:{port}/"),
        (308, "https://127.0.0.1:{port}/"),
        (307, "//evil.example/"),
        (308, "http://x@127.0.0.1:{port}/"),
        (307, "http://[/"),
        (301, "/"),
        (302, "/"),
        (303, "/"),
        (307, ""),
    ],
)
def test_no_other_redirect_is_followed(hook: Hook, tmp_path: Path, status: int, location: str) -> None:
    (tmp_path / "token").write_text("t0ken")
    hook.answer = (status, {"Location": location.format(port=hook.port)})
    with pytest.raises(NotDelivered, match="redirects|No request to|No connection"):
        webhook(hook, token_file=str(tmp_path / "token")).send(MESSAGE, NoWait())
    assert {taken.path for taken in hook.seen} == {"/hooks/s3cret"}


def test_redirect_loops_end(hook: Hook) -> None:
    hook.answer = (307, {"Location": hook.url})
    with pytest.raises(NotDelivered, match="HTTP 307"):
        webhook(hook).send(MESSAGE, NoWait())
    assert len(hook.seen) == 4


def test_an_unreachable_server_is_reported_without_its_path() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(NotDelivered) as refused:
            Webhook(f"http://127.0.0.1:{port}/s3cret").send(MESSAGE, NoWait())
    assert refused.value.message == f"No connection to 127.0.0.1:{port}: Connection refused"


def test_tls_is_verified(hook: Hook, tmp_path: Path) -> None:
    with pytest.raises(NotDelivered, match="No request to .* is possible; check its url and ca_path"):
        Webhook("https://127.0.0.1:1/s3cret", ca_path=str(tmp_path / "missing")).send(MESSAGE, NoWait())
    with pytest.raises(NotDelivered, match="No TLS connection to|No connection to"):
        Webhook(hook.url.replace("http:", "https:")).send(MESSAGE, NoWait())
    assert hook.seen == []


def test_a_stop_ends_the_wait(hook: Hook) -> None:
    hook.answer = (503, {})
    stop = NoWait()
    stop.set()
    with pytest.raises(Cancelled):
        webhook(hook).send(MESSAGE, stop)
    assert len(hook.seen) == 1


@pytest.fixture
def sendmail(tmp_path: Path) -> Path:
    """Stands in for the host's: stores what it is called with, and fails while there is a file ``fail``."""
    path = tmp_path / "sendmail"
    path.write_text(
        f'#!/bin/sh\ncd "{tmp_path}"\nif [ -e fail ]; then echo "queue is full" >&2; exit 75; fi\n'
        'echo "$@" > arguments\ncat > mail\n'
    )
    path.chmod(0o755)
    return path


def received(sendmail: Path) -> EmailMessage:
    body = (sendmail.parent / "mail").read_bytes()
    return email.message_from_bytes(body, policy=email.policy.default)


def test_sendmail_gets_a_mail(sendmail: Path) -> None:
    Mail(("a@example.com", "b@example.com"), "root@log1.example.com", str(sendmail)).send(MESSAGE, NoWait())
    mail = received(sendmail)
    assert (sendmail.parent / "arguments").read_text() == "-t -i\n"
    assert mail["To"] == "a@example.com, b@example.com"
    assert (mail["From"], mail["Subject"]) == ("root@log1.example.com", "[high] Subject")
    assert mail["Message-ID"] == "<0123@log1.example.com>"
    assert mail.get_content() == "body\n"


@pytest.mark.parametrize(
    "text",
    [
        "=?utf-8?q?x=0ABcc:_evil=40example.com?=",
        "=?utf-8?b?eApCY2M6IGV2aWxAZXhhbXBsZS5jb20=?=",
        "Z\u00fcrich \U0001f3d4 {{ 7*7 }} <script> " + "x" * 2000,
    ],
)
def test_texts_cannot_add_mail_headers(sendmail: Path, text: str) -> None:
    message = MESSAGE._replace(subject=text, body=f"Bcc: x@example.com\n.\n{text}\n")
    Mail(("a@example.com",), "root", str(sendmail)).send(message, NoWait())
    raw = (sendmail.parent / "mail").read_bytes()
    assert b"evil" not in raw.split(b"\n\n")[0] or b"\nBcc" not in raw.split(b"\n\n")[0]
    mail = received(sendmail)
    assert set(mail.keys()) == {
        *("From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
        "Content-Transfer-Encoding",
    }
    assert mail["Subject"].replace("= ?", "=?") == text
    assert text in mail.get_content()


def test_a_failing_sendmail_is_reported_with_its_output(sendmail: Path) -> None:
    (sendmail.parent / "fail").touch()
    with pytest.raises(NotDelivered, match=r"/sendmail did not accept an alert \(exit status 75\): queue is full$"):
        Mail(("a@example.com",), "root", str(sendmail)).send(MESSAGE, NoWait())
    with pytest.raises(NotDelivered, match="/missing failed: No such file or directory$"):
        Mail(("a@example.com",), "root", str(sendmail.with_name("missing"))).send(MESSAGE, NoWait())


def test_a_command_gets_json_and_no_shell(tmp_path: Path) -> None:
    Command(("tee", str(tmp_path / "$(id) x"))).send(MESSAGE, NoWait())
    body = json.loads((tmp_path / "$(id) x").read_bytes())
    assert body == {"text": "text", "alerts": MESSAGE.alerts}


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", r"sh did not accept an alert \(exit status 3\)$"),
        ("printf 'bad\\033[31m\\n' >&2; exit 1", "\\(exit status 1\\): bad\ufffd\\[31m$"),
        ("kill -9 $$", "sh failed: it was killed by signal 9$"),
    ],
)
def test_a_failing_command_is_reported(script: str, sentence: str) -> None:
    with pytest.raises(NotDelivered, match=sentence):
        Command(("sh", "-c", script)).send(MESSAGE, NoWait())


def test_a_command_need_not_read_its_input() -> None:
    Command(("true",)).send(MESSAGE._replace(alerts=[{"x": "y" * (1 << 20)}]), NoWait())


def test_a_hanging_command_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_TIMEOUT", 1)
    with pytest.raises(NotDelivered, match="sh failed: it does not end$"):
        Command(("sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; wait")).send(MESSAGE, NoWait())
    with suppress(ProcessLookupError):
        child = os.pidfd_open(int((tmp_path / "pid").read_text()))
        assert select.select([child], [], [], 10)[0] == [child]
        os.close(child)
