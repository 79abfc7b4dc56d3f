# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Archives in a bucket as they are used: by the modules, and by the command in processes that are killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.collector import CollectSettings, collect
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.reader import cat
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3 import S3Store
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.storage.s3_address import (
    ArchiveAddress,
    BucketLocation,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.archive.verifier import verify
from ansible_collections.auditops.cloudscale.plugins.module_utils.errors import StorageError
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.client import Api
from ansible_collections.auditops.cloudscale.plugins.module_utils.project_log.entry import canonical, parse
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection
from ansible_collections.auditops.cloudscale.tests.integration.test_archive_guides import blocks
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.storage.buckets import Buckets, environment
from ansible_collections.auditops.cloudscale.tests.storage.proxy import Fault, FaultyProxy

if TYPE_CHECKING:
    from .conftest import Controller

ARCHIVE = "auditops.cloudscale.project_logs_archive"
INFO = "auditops.cloudscale.project_logs_archive_info"
ROOT = Path(version.__file__).parents[2]
COMMAND = ROOT / "bin/cloudscale-audit"
GUIDE = ROOT / "docs/docsite/rst/archive_bucket_guide.rst"


class Hosts:
    """Hosts that collect the same log into the same place of a bucket, each a process with a pin of its own."""

    def __init__(self, simulator: Simulator, place: str, directory: Path) -> None:
        self._log = simulator.project("main").log
        self._directory = directory
        self.store = S3Store(place)
        self.place = place
        self._variables = {
            "CLOUDSCALE_API_URL": simulator.url,
            "CLOUDSCALE_API_TOKEN": simulator.project("main").token,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(COMMAND), *arguments]
        return subprocess.Popen(
            command, env={**os.environ, **self._variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def collect(self, host: int = 1) -> subprocess.Popen[str]:
        pin = self._directory / f"{self.place.rpartition('/')[2]}-{host}"
        return self.start("collect", self.place, "--pin", str(pin))

    def collect_here(self) -> None:
        """In this process, without a pin; what it finds is put on record in any case."""
        access = {
            "api_url": self._variables["CLOUDSCALE_API_URL"],
            "api_token": self._variables["CLOUDSCALE_API_TOKEN"],
        }
        with Api(Connection(**access)) as api:
            collect(self.store, api, CollectSettings(heartbeat=timedelta(0)))

    def move(self, place: str) -> None:
        """From here on it is another archive."""
        self.store = S3Store(place)
        self.place = place

    def append(self, count: int) -> None:
        for _entry in range(count):
            self._log.append()

    def archived(self) -> Counter[bytes]:
        return Counter(map(canonical, cat(self.store)))

    def logged(self) -> Counter[bytes]:
        return Counter(canonical(parse(json.dumps(entry).encode())) for entry in self._log.entries)


@pytest.fixture
def hosts(simulator: Simulator, buckets: Buckets, tmp_path: Path) -> Hosts:
    return Hosts(simulator, buckets.new_location(), tmp_path)


def test_the_modules_take_the_address_of_a_bucket(
    controller: Controller,
    simulator: Simulator,
    seaweed: Buckets,
) -> None:
    simulator.project("main").log.append(message="kept in a bucket")
    place, claims = seaweed.new_location("locked"), seaweed.new_location()
    path = f"{place}?claims={claims}&lock_days=1"
    variables = environment(seaweed)

    def printed(module: str, **options: Any) -> Any:
        return {module: options, "environment": variables}

    results = controller.run(
        {
            "none yet": printed(INFO, path=path),
            "dry": {**printed(ARCHIVE, path=path), "check_mode": True},
            "collected": printed(ARCHIVE, path=path),
            "again": printed(ARCHIVE, path=path),
            "verified": printed(INFO, path=place, verify=True, expected_head="{{ case_2.head }}"),
            "wrong bucket": printed(ARCHIVE, path="s3://nosuch/x"),
            "wrong option": printed(ARCHIVE, path="s3://locked/x?claim=s3://plain/x"),
        }
    )
    assert results["none yet"]["failure"]["code"] == "storage"
    assert results["dry"]["changed"]
    assert results["collected"]["changed"]
    assert not results["again"]["changed"]
    assert results["verified"]["findings"] == []
    assert results["verified"]["status"]["head"] == results["collected"]["head"]
    assert "no bucket nosuch" in results["wrong bucket"]["msg"]
    assert results["wrong option"]["failure"]["code"] == "invalid_input"
    assert sorted(seaweed.objects(claims)) == ["commits/000000000001.json"]


def test_the_guide_runs(
    controller: Controller,
    simulator: Simulator,
    seaweed: Buckets,
    tmp_path: Path,
) -> None:
    simulator.project("main").log.append(message="kept in a bucket")
    place = seaweed.new_location()

    def here(text: str) -> str:
        return text.replace("https://objects.rma.cloudscale.ch", seaweed.url).replace("s3://audit/shop", place)

    keys = {"audit_access_key": seaweed.keys.access, "audit_secret_key": seaweed.keys.secret}
    python = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": {**python, **keys}}
    book = tmp_path / "play.yml"
    book.write_text(json.dumps([{**play, "tasks": yaml.safe_load(here(blocks(GUIDE, "yaml")[0]))}]))
    done = controller.playbook(str(book))
    assert done.returncode == 0, done.stdout + done.stderr

    command = tmp_path / "cloudscale-audit"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{COMMAND}" "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{controller.environment['PATH']}"
    script = subprocess.run(
        ["sh", "-euc", here(blocks(GUIDE, "shell")[0])],
        env={**controller.environment, **environment(seaweed), "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (script.returncode, script.stderr) == (0, ""), script.stdout
    assert "lets only one of 8 concurrent writers" in script.stdout
    assert "Intact:" in script.stdout
    assert "kept in a bucket" in script.stdout


@pytest.mark.parametrize("address", re.findall(r"^    (s3://audit-\S+)$", GUIDE.read_text(), re.MULTILINE))
def test_the_addresses_in_the_guide_are_valid(address: str) -> None:
    assert ArchiveAddress.parse(address).location == BucketLocation("audit-locked", "shop/")


def test_a_collector_killed_at_any_request_loses_and_duplicates_nothing(
    hosts: Hosts,
    buckets: Buckets,
    proxy: FaultyProxy,
) -> None:
    """The request at which it is killed still reaches the server."""
    for number in range(1, 100):
        hosts.move(buckets.new_location())
        hosts.append(1)
        hosts.collect_here()
        hosts.append(1)
        running: list[subprocess.Popen[str]] = []
        seen: list[str] = []

        def kill(request: str, number: int = number) -> None:
            seen.append(request)  # noqa: B023 - called in this round only
            if len(seen) == number:  # noqa: B023
                running[0].kill()  # noqa: B023

        proxy.before = kill
        running.append(hosts.collect())
        _told, words = running[0].communicate(timeout=60)
        proxy.before = None
        killed = running[0].returncode == -signal.SIGKILL
        assert killed or running[0].returncode == 0, words
        assert [finding for finding in verify(hosts.store) if not finding.is_warning] == [], number
        assert not hosts.archived() - hosts.logged(), number
        hosts.collect_here()
        assert verify(hosts.store) == [], number
        assert hosts.archived() == hosts.logged(), number
        if not killed:
            assert number >= 10  # nine requests of a run that adds an entry, and one round without a kill
            return
    pytest.fail("a run never ends")


@pytest.mark.parametrize("how", ["reset_before", "reset_after"])
def test_a_connection_lost_at_any_request_loses_and_duplicates_nothing(
    hosts: Hosts,
    buckets: Buckets,
    proxy: FaultyProxy,
    how: str,
) -> None:
    """Two runs, of which one fails; the next one completes its work."""
    hosts.append(2)
    for number in range(100):
        hosts.move(buckets.new_location())
        seen: list[str] = []

        def fail(request: str, number: int = number) -> None:
            if len(seen) == number:  # noqa: B023 - called in this round only
                proxy.script(Fault(how, method=request.split(" ")[0]))
            seen.append(request)  # noqa: B023

        proxy.before = fail
        for _run in range(2):
            with suppress(StorageError):
                hosts.collect_here()
        proxy.before = None
        proxy.script()
        if hosts.store.list_commits():
            assert [finding for finding in verify(hosts.store) if not finding.is_warning] == [], number
        assert not hosts.archived() - hosts.logged(), number
        hosts.collect_here()
        assert verify(hosts.store) == [], number
        assert hosts.archived() == hosts.logged(), number
        if len(seen) <= number:
            return
    pytest.fail("a run never ends")


def test_two_hosts_collect_into_one_bucket_at_once(hosts: Hosts) -> None:
    for _round in range(2):
        hosts.append(30)
        for process in [hosts.collect(host) for host in (1, 2)]:
            _told, words = process.communicate(timeout=60)
            assert process.returncode == 0, words
    assert verify(hosts.store) == []
    assert hosts.archived() == hosts.logged()
    assert list(hosts.store.list_files("pending")) == []


def test_the_doctor_lets_writers_race_in_the_bucket_and_leaves_nothing(
    hosts: Hosts,
    buckets: Buckets,
    proxy: FaultyProxy,
) -> None:
    printed, words = hosts.start("doctor", hosts.place).communicate(timeout=60)
    assert "lets only one of 8 concurrent writers create a commit" in printed, words
    assert buckets.objects(hosts.place) == {}
    proxy.unconditional = hosts.place[len("s3:/") :]
    process = hosts.start("doctor", hosts.place)
    printed, words = process.communicate(timeout=60)
    assert process.returncode == 4, words
    assert "ignores If-None-Match" in printed
    assert buckets.objects(hosts.place) == {}
