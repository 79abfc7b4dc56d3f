# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filters for the keys with which archivers sign."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.auditops.cloudscale.plugins.filter.archiver_keys import (
    archiver_hosts_missing_key,
    archiver_signers,
)

BUCKET = {"name": "bucket", "token": "secret", "path": "s3://audit/bucket"}
LOCAL = {"name": "local", "token": "secret"}
KEYS = [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{letter * 20}" for letter in "ABCD"]


def line(host: str, key: str, more: str = "") -> str:
    return f'{host} {more}namespaces="cloudscale-audit-head" {key}'


def hosts(**outputs: list[str]) -> dict[str, Any]:
    return {name: {"archiver_keys": {"stdout_lines": lines}} for name, lines in outputs.items()}


def test_every_host_accepts_the_keys_of_all_hosts_and_of_former_hosts() -> None:
    others = hosts(one=["changed", f"public {KEYS[0]} one"], two=[f"public {KEYS[1]} two"])
    others["away"] = {}
    output = [f"public {KEYS[0]} one", "signer # kept by hand", f"signer {line('gone', KEYS[2])}"]
    extra_lines = [line("laptop", KEYS[3])]
    accepted = archiver_signers(output, ["one", "two", "away"], others, extra_lines)
    assert accepted == [line("gone", KEYS[2]), line("laptop", KEYS[3]), line("one", KEYS[0]), line("two", KEYS[1])]
    second_output = [*output[:1], *(f"signer {signer}" for signer in accepted)]
    assert archiver_signers(second_output, ["one", "two", "away"], others, extra_lines) == accepted


def test_a_replaced_key_gets_an_end_date_and_stays() -> None:
    output = [f"public {KEYS[0]}", f"next {KEYS[1]}", f"signer {line('one', KEYS[0])}"]
    rotated = archiver_signers(output, ["one"], hosts(one=output), now="2026-11-29T08:00:00+00:00")
    ended = line("one", KEYS[0], 'valid-before="20261201",')
    assert rotated == [ended, line("one", KEYS[1])]
    later = [f"public {KEYS[1]}", *(f"signer {signer}" for signer in rotated)]
    assert archiver_signers(later, ["one"], hosts(one=later), now="2027-01-01T00:00:00+00:00") == rotated
    by_hand = line("one", KEYS[0], 'valid-before="20261129",')
    assert archiver_signers(later, ["one"], hosts(one=later), [by_hand]) == [by_hand, line("one", KEYS[1])]


def test_a_replaced_key_gets_an_end_date_under_an_earlier_host_name_too() -> None:
    output = [f"public {KEYS[0]}", f"next {KEYS[1]}", f"signer {line('before', KEYS[0])}"]
    rotated = archiver_signers(output, ["one"], hosts(one=output), now="2026-11-29T08:00:00+00:00")
    assert rotated == [line("before", KEYS[0], 'valid-before="20261201",'), line("one", KEYS[1])]


def test_ssh_keygen_accepts_a_replaced_key_until_its_end_date(tmp_path: Path) -> None:
    for name in ("old", "new"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    old, new = ((tmp_path / f"{name}.pub").read_text().strip() for name in ("old", "new"))
    output = [f"public {old}", f"next {new}", f"signer {line('one', ' '.join(old.split()[:2]))}"]
    rotated = archiver_signers(output, ["one"], hosts(one=output), now="2026-11-29T08:00:00+00:00")
    (tmp_path / "signers").write_text("\n".join(rotated) + "\n")
    (tmp_path / "head").write_text("head\n")
    sign = ["ssh-keygen", "-q", "-Y", "sign", "-n", "cloudscale-audit-head", "-f", tmp_path / "old", tmp_path / "head"]
    subprocess.run(sign, check=True, capture_output=True)

    def is_accepted(moment: str) -> bool:
        verify = ["ssh-keygen", "-Y", "verify", "-n", "cloudscale-audit-head", "-f", tmp_path / "signers", "-I", "one"]
        signature = ["-s", tmp_path / "head.sig", f"-Overify-time={moment}"]
        environment = {**os.environ, "TZ": "UTC"}
        with open(tmp_path / "head", "rb") as head:
            done = subprocess.run([*verify, *signature], stdin=head, env=environment, capture_output=True, check=False)
        return done.returncode == 0

    assert is_accepted("20261130120000")
    assert not is_accepted("20261202000000")


def test_hosts_that_share_an_archive_miss_a_new_key() -> None:
    others = {"two": {"archiver_projects": [BUCKET]}, "three": {"archiver_projects": [LOCAL]}, "four": {}}
    output = [f"public {KEYS[0]} one"]
    assert archiver_hosts_missing_key(output, [BUCKET["path"]], list(others), others) == ["two"]
    accepted = [*output, f"signer {line('one', KEYS[0])}"]
    assert archiver_hosts_missing_key(accepted, [BUCKET["path"]], list(others), others) == []
