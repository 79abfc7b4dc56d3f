# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The key ``notify``: what is wrong is one sentence that names the receiver and the key, and no secret."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import InvalidInput
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.receivers import parse_receivers

HOOK = {"url": "https://chat.example.com/hooks/s3cret"}
MAIL = {"to": "audit@example.com", "from": "root@log1.example.com"}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "--config: the file has no receivers; add them under notify."),
        ([], "notify must be a list of receivers, each with one of webhook, mail, journal and command."),
        ({}, "notify must be a list of receivers, each with one of webhook, mail, journal and command."),
        (["x"], "notify: receiver 1 must be an object with one of webhook, mail, journal, command."),
        ([{}], "notify: receiver 1 must have exactly one of webhook, mail, journal, command."),
        (
            [{"webhook": HOOK, "journal": True}],
            "notify: receiver 1 must have exactly one of webhook, mail, journal, command.",
        ),
        (
            [{"journal": True}, {"webhok": HOOK}],
            "notify: receiver 2 has unknown keys: webhok (did you mean webhook?).",
        ),
        (
            [{"webhook": {**HOOK, "tokenfile": "/t"}}],
            "notify: webhook of receiver 1 has unknown keys: tokenfile (did you mean token_file?).",
        ),
        ([{"webhook": "https://x"}], "notify: webhook of receiver 1 must be an object with url."),
        (
            [{"webhook": {}}],
            "notify: url of receiver 1 is not a valid URL; use a URL such as https://chat.example.com/hooks/ID.",
        ),
        (
            [{"webhook": {"url": "https://chat\n.example.com/s3cret"}}],
            "notify: url of receiver 1 is not a valid URL; use a URL such as https://chat.example.com/hooks/ID.",
        ),
        (
            [{"webhook": {"url": "https://u:s3cret@chat.example.com/"}}],
            "notify: url of receiver 1 must not have a user, a password or a fragment; use token_file.",
        ),
        (
            [{"webhook": {"url": "http://chat.example.com/s3cret"}}],
            "notify: url of receiver 1 would send alerts to chat.example.com unencrypted; use https://.",
        ),
        (
            [{"webhook": {**HOOK, "token_file": "token"}}],
            "notify: token_file of receiver 1 must be an absolute path.",
        ),
        ([{"webhook": {**HOOK, "ca_path": 1}}], "notify: ca_path of receiver 1 must be an absolute path."),
        ([{"mail": "a@example.com"}], "notify: mail of receiver 1 must be an object with to and from."),
        (
            [{"mail": {"to": "a@example.com"}}],
            "notify: from of receiver 1 must be an e-mail address such as audit@example.com.",
        ),
        (
            [{"mail": {**MAIL, "to": ["a@example.com\nBcc: x@example.com"]}}],
            "notify: to of receiver 1 must be an e-mail address such as audit@example.com.",
        ),
        (
            [{"mail": {**MAIL, "to": "-oQ/tmp"}}],
            "notify: to of receiver 1 must be an e-mail address such as audit@example.com.",
        ),
        (
            [{"mail": {**MAIL, "to": []}}],
            "notify: to of receiver 1 must be an e-mail address or a list of at most 100.",
        ),
        ([{"mail": {**MAIL, "sendmail": "sendmail"}}], "notify: sendmail of receiver 1 must be an absolute path."),
        ([{"journal": "yes"}], "notify: journal of receiver 1 must be true."),
        (
            [{"journal": True, "digest": True}],
            "notify: receiver 1 is the journal, which stores each alert separately; remove digest.",
        ),
        (
            [{"command": "sh -c x"}],
            "notify: command of receiver 1 must be a list of words: a program and its arguments.",
        ),
        ([{"command": []}], "notify: command of receiver 1 must be a list of words: a program and its arguments."),
        (
            [{"journal": True, "severity": "awful"}],
            "notify: severity of receiver 1 must be one of info, low, medium, high, critical, not 'awful'.",
        ),
        ([{"webhook": HOOK, "digest": "yes"}], "notify: digest of receiver 1 must be true or false."),
        (
            [{"webhook": HOOK}, {"webhook": HOOK, "severity": "high"}],
            "notify: receiver 1 (webhook chat.example.com) has the same address as another receiver; "
            "remove one of them.",
        ),
    ],
)
def test_an_invalid_receiver_is_reported_in_one_sentence(value: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_receivers(value)
    assert refused.value.message == sentence
    assert "s3cret" not in sentence


def test_the_key_depends_only_on_the_address_and_contains_no_secret() -> None:
    (plain,) = parse_receivers([{"webhook": HOOK}])
    (other,) = parse_receivers([{"webhook": {**HOOK, "token_file": "/t"}, "severity": "high", "digest": True}])
    (moved,) = parse_receivers([{"webhook": {"url": HOOK["url"] + "x"}}])
    assert plain.key == other.key != moved.key
    assert "s3cret" not in plain.key + plain.label
    assert [plain.accepts("info"), other.accepts("info"), other.accepts("critical")] == [True, False, True]


def test_the_order_of_recipients_does_not_matter() -> None:
    both = ["a@example.com", "b@example.com"]
    keys = {parse_receivers([{"mail": {**MAIL, "to": to}}])[0].key for to in (both, both[::-1])}
    assert len(keys) == 1


def test_a_token_can_be_a_credential_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    (receiver,) = parse_receivers([{"webhook": {**HOOK, "token_file": "$CREDENTIALS_DIRECTORY/chat"}}])
    assert receiver.channel.token_file == "/run/credentials/x/chat"  # type: ignore[attr-defined]
