# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Attacks by root on the host, and the witnesses that find them: each row of the guide's table is executed.

The archive is signed, and six days old. Each run sends its head to a log server. Once a day a controller extends its
ledger, and an authority stamps the head. Then root gets the key, the pin and all files.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.chain import load_commit
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.signing import (
    AllowedSigners,
    SigningKey,
    signature_name,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.chain.timestamp import (
    Authorities,
    timestamp_file,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.format.commit import sha256
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.heads import (
    NotedHead,
    check_heads,
    head_record,
    parse_heads,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify_archive
from ansible_collections.auditops.cloudscale.plugins.module_utils.times import format_time
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.authority import TimeAuthority
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.corpus import entries
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.forgery import forge_file
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_guarantees import (
    NOT_NOTICED,
    Scene,
    append_signed,
    table,
)
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.test_ledger import Keeper
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.world import World

DAYS = 6
EVERY = timedelta(days=1)
TABLE = 3


class Host:
    """A host with an archive, and its witnesses on other machines."""

    def __init__(self, world: World, directory: Path) -> None:
        signer = Signer(directory, "log1")
        self.world, self.directory = world, directory
        self.key, self.signers = SigningKey(signer.key), AllowedSigners(signer.allowed)
        self.authority = TimeAuthority(directory)
        self.keeper = Keeper()
        self.log_server: list[str] = []
        self.other_ledger: list[NotedHead] = []
        self.stamped_at: dict[int, datetime] = {}
        world.clock.now -= timedelta(days=DAYS)
        for day in range(DAYS):
            for _run in range(2):
                self.collect()
                world.wait(hours=6)
            self.stamp(world.clock.now)
            self.keeper.ask(world)
            shutil.copytree(world.path, directory / f"copy-{day}")
            world.wait(hours=12)
        self.collect()

    def collect(self) -> None:
        self.world.append(2, ago=30)
        self.world.collect(sign_key=self.key, allowed_signers=self.signers)
        self.log_server.append(json.dumps(head_record(self.world.head, format_time(self.world.clock.now))))

    def stamp(self, moment: datetime) -> None:
        head = self.world.head.head
        (self.world.path / timestamp_file(head).name).write_bytes(self.authority.at(moment, head.sha256))
        self.stamped_at[head.sequence] = moment

    # Attacks by root

    def falsify(self, sequence: int) -> None:
        """Change an entry, and recompute everything that depends on it."""
        file = load_commit(self.world.store, sequence).commit.files[0]
        text = gzip.decompress((self.world.path / file.path).read_bytes())
        changed = text.replace(b"created", b"deleted")
        forge_file(self.world, sequence, gzip.compress(changed), content_sha256=sha256(changed))
        for name in self.of("signatures", sequence):
            name.unlink()
        for number in self.world.store.list_commits(after=sequence - 1):
            link = load_commit(self.world.store, number)
            name = signature_name(link.head, self.key.fingerprint)
            (self.world.path / name).write_bytes(self.key.sign(link.commit.archive_id, link.head))

    def of(self, directory: str, sequence: int) -> list[Path]:
        """Return the files in a directory of this commit and of later ones."""
        return [path for path in (self.world.path / directory).rglob("0*") if int(path.name[:12]) >= sequence]

    def cut(self, sequence: int) -> None:
        for directory in ("commits", "entries", "signatures", "timestamps"):
            for path in self.of(directory, sequence):
                path.unlink()

    def stamp_again(self, sequence: int) -> None:
        for path in self.of("timestamps", sequence):
            path.unlink()
        self.stamp(self.world.clock.now)

    def rewrite(self, sequence: int) -> None:
        self.falsify(sequence)
        self.stamp_again(sequence)

    def replay(self) -> None:
        shutil.rmtree(self.world.path)
        shutil.copytree(self.directory / "copy-2", self.world.path)
        self.world.append(1, ago=30)
        self.world.collect(sign_key=self.key, allowed_signers=self.signers)
        self.stamp(self.world.clock.now)

    def start_again(self) -> None:
        shutil.rmtree(self.world.path)
        self.world.collect(sign_key=self.key, allowed_signers=self.signers)
        self.stamp(self.world.clock.now)

    def show_another(self) -> None:
        """A second history that was collected and stamped in parallel, to show to another auditor."""
        self.falsify(5)
        for sequence, moment in self.stamped_at.items():
            if sequence >= 5:
                head = load_commit(self.world.store, sequence).head
                for path in (self.world.path / "timestamps").glob(f"{sequence:012d}-*"):
                    path.unlink()
                body = self.authority.at(moment, head.sha256)
                (self.world.path / timestamp_file(head).name).write_bytes(body)
        self.other_ledger, self.keeper = self.keeper.noted, Keeper()
        self.keeper.ask(self.world)

    def invent(self) -> None:
        self.world.wait(minutes=2)
        append_signed(Scene(self.world, stolen=self.key), entries(self.world))

    def be_first(self) -> None:
        self.rewrite(1)
        for path in self.of("timestamps", 1):
            path.unlink()
        self.stamp(self.world.clock.now)
        self.keeper, self.log_server = Keeper(), []
        self.world.wait(minutes=5)
        self.collect()
        self.keeper.ask(self.world)

    # Witnesses

    def verify_result(self) -> str:
        found = verify_archive(self.world.store, signers=self.signers, every_signature=True, now=self.world.clock.now)
        return "found" if any(not finding.is_warning for finding in found.findings) else NOT_NOTICED

    def ledger_result(self) -> str:
        if self.lacks(self.keeper.noted):
            return "found"
        return "if compared" if self.lacks([*self.other_ledger, *self.keeper.noted]) else NOT_NOTICED

    def log_server_result(self) -> str:
        noted = parse_heads([line.encode() for line in self.log_server], "log")
        return "found" if self.lacks(noted) else NOT_NOTICED

    def timestamp_result(self) -> str:
        authorities = Authorities(self.authority.root)
        found = verify_archive(self.world.store, authorities=authorities, now=self.world.clock.now)
        if any(not finding.is_warning for finding in found.findings):
            return "found"
        assert found.timestamps is not None
        assert found.timestamps.longest_wait is not None
        return "long wait" if found.timestamps.longest_wait.seconds > 2 * EVERY.total_seconds() else NOT_NOTICED

    def lacks(self, noted: list[NotedHead]) -> bool:
        return bool(check_heads(self.world.store, noted).findings)

    def witnesses(self) -> dict[str, str]:
        return {
            "verify, allowed signers": self.verify_result(),
            "ledger": self.ledger_result(),
            "log server": self.log_server_result(),
            "time stamps": self.timestamp_result(),
        }


ATTACKS: dict[str, Callable[[Host], Any]] = {
    "Rewrite old entries and sign again, but leave the time stamps": lambda host: host.falsify(5),
    "Rewrite old entries, sign and stamp again": lambda host: host.rewrite(5),
    "Rewrite the archive from its first commit, with the old dates": lambda host: host.rewrite(1),
    "Put a new archive in its place": Host.start_again,
    "Cut off the last days": lambda host: host.cut(8),
    "Cut off what the ledger has not seen yet": lambda host: host.cut(2 * DAYS + 1),
    "Replay an older copy, and continue from there": Host.replay,
    "Show two auditors two histories": Host.show_another,
    "Append invented entries": Host.invent,
    "Delete the time stamps": lambda host: [path.unlink() for path in host.of("timestamps", 1)],
    "Rewrite before anything was noted or stamped": Host.be_first,
}


@pytest.fixture
def host(world: World, tmp_path: Path) -> Host:
    return Host(world, tmp_path)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_row_of_the_table_is_true(host: Host, name: str) -> None:
    assert set(host.witnesses().values()) == {NOT_NOTICED}
    ATTACKS[name](host)
    assert host.witnesses() == table(TABLE)[name]


def test_the_table_has_no_other_rows() -> None:
    assert list(table(TABLE)) == list(ATTACKS)


@pytest.mark.parametrize("name", [name for name, row in table(TABLE).items() if row["ledger"] == "found"])
def test_the_controller_refuses_what_its_ledger_finds(host: Host, name: str) -> None:
    """The other host notices it in its next run, not only when somebody verifies the archive."""
    lines = list(host.keeper.lines)
    ATTACKS[name](host)
    assert len(host.keeper.ask(host.world).refused) == 1
    assert host.keeper.lines[: len(lines)] == lines
