# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Evidence packages as the command makes and verifies them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.archive.signer import Signer
from ansible_collections.auditops.cloudscale.tests.unit.plugins.module_utils.cli.host import Host


@pytest.fixture
def host(simulator: Simulator, tmp_path: Path) -> Host:
    found = Host(tmp_path, simulator)
    found.run("collect", found.archive, "--project", "shop")
    return found


def test_a_package_is_made_and_verified(host: Host) -> None:
    done = host.run_without_requests("export", host.archive, "--dest", "q3.zip", "--start", "-1h")
    assert (done.returncode, done.stderr) == (0, "")
    archive, written, digest = done.stdout.splitlines()
    assert (archive.partition("-")[0], archive.partition(": ")[2]) == ("shop", "7 entries.")
    assert written == "Evidence of 1 archive written to q3.zip."
    sha256 = hashlib.sha256((host.directory / "q3.zip").read_bytes()).hexdigest()
    assert digest == f"SHA-256: {sha256}"
    verified = host.run_without_requests("verify", "q3.zip")
    assert (verified.returncode, verified.stderr) == (0, "")
    first, *_rest, last = verified.stdout.splitlines()
    assert first.startswith("Intact: evidence of 1 archive, ")
    assert last == digest
    assert "No commit is signed; compare the head with a head that was noted elsewhere." in verified.stdout
    result = host.json("verify", "q3.zip")
    assert (result["intact"], result["findings"], result["package"]["sha256"]) == (True, [], sha256)
    assert result["archives"][0]["head"] == host.json("status", host.archive)["head"]


def test_an_existing_file_is_replaced_by_force_only(host: Host) -> None:
    target = host.directory / "q3.zip"
    target.write_text("mine")
    refused = host.run("export", host.archive, "--dest", "q3.zip")
    assert (refused.returncode, "already exists" in refused.stderr) == (2, True)
    assert target.read_text() == "mine"
    assert host.run("export", host.archive, "--dest", "q3.zip", "--force").returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert host.run("verify", "q3.zip").returncode == 0


def test_an_incomplete_range_exits_with_5(host: Host) -> None:
    for more in (["--start", "-200d"], ["--end", "now"]):
        done = host.run("export", host.archive, "--dest", "q3.zip", "--force", *more)
        assert (done.returncode, done.stderr.count("warning: The archive has no entries")) == (5, 1)
        verified = host.run("verify", "q3.zip")
        assert (verified.returncode, verified.stderr) == (0, "")
        assert "1 part of the range missing: from " in verified.stdout
    done = host.json("export", host.archive, "--dest", "q3.zip", "--force", "--start", "-200d")
    assert [part["why"] for part in done["archives"][0]["missing"]] == ["not covered"]


def test_several_archives_in_one_package(host: Host) -> None:
    other = str(host.directory / "other")
    host.run("collect", other, "--project", "web")
    done = host.run("export", host.archive, other, "--dest", "q3.zip")
    assert (done.returncode, done.stdout.splitlines()[-2]) == (0, "Evidence of 2 archives written to q3.zip.")
    assert [one["project"]["name"] for one in host.json("verify", "q3.zip")["archives"]] == ["shop", "web"]
    verified = host.run("verify", "q3.zip", host.archive)
    assert verified.returncode == 0
    assert "q3.zip: Intact: evidence of 2 archives" in verified.stdout
    both = host.json("verify", "q3.zip", host.archive)
    assert [one["intact"] for one in both["archives"]] == [True, True]
    projects = [{"name": name, "path": path, "token_file": "t"} for name, path in (("a", host.archive), ("b", other))]
    (host.directory / "projects.json").write_text(json.dumps({"version": 1, "projects": projects}))
    again = host.run("export", "--projects", "projects.json", "--dest", "again.zip")
    assert again.returncode == 0, again.stderr
    assert (host.directory / "again.zip").read_bytes() == (host.directory / "q3.zip").read_bytes()


def test_allowed_signers(host: Host) -> None:
    signer = Signer(host.directory, "log1")
    archive = str(host.directory / "signed")
    environment = {"PATH": os.environ["PATH"]}
    host.run("collect", archive, "--sign-key", signer.key, **environment)
    done = host.run("export", archive, "--dest", "q3.zip", "--allowed-signers", signer.allowed, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    alone = host.run("verify", "q3.zip", **environment)
    assert "The allowed signers in the package prove nothing by themselves." in alone.stdout
    trusted = host.run("verify", "q3.zip", "--allowed-signers", signer.allowed, **environment)
    assert "Commit 1 is signed by an allowed signer." in trusted.stdout
    stranger = Signer(host.directory, "stranger")
    for command in (["export", archive, "--dest", "x.zip"], ["verify", "q3.zip"]):
        refused = host.run(*command, "--allowed-signers", stranger.allowed, **environment)
        assert (refused.returncode, "not intact" in (refused.stdout + refused.stderr).lower()) == (1, True)


def test_the_allowed_signers_of_projects(host: Host) -> None:
    signer = Signer(host.directory, "log1")
    environment = {"PATH": os.environ["PATH"]}
    host.run("collect", str(host.directory / "signed"), "--sign-key", signer.key, **environment)
    projects = [
        {
            "name": "signed",
            "path": str(host.directory / "signed"),
            "token_file": "t",
            "allowed_signers": signer.allowed,
        },
        {"name": "bare", "path": host.archive, "token_file": "t"},
        {"name": "off", "path": "s3://nowhere/x", "token_file": "t", "enabled": False},
    ]
    (host.directory / "projects.json").write_text(json.dumps({"version": 1, "projects": projects}))
    done = host.run("export", "--projects", "projects.json", "--dest", "q3.zip", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    archives = host.run("verify", "q3.zip", **environment).stdout
    assert archives.count("The allowed signers in the package prove nothing by themselves.") == 1
    assert archives.count("No commit is signed") == 1


def test_noted_heads(host: Host) -> None:
    host.run("export", host.archive, "--dest", "q3.zip")
    head = host.json("status", host.archive)["head"]
    for digest, status, said in ((head["sha256"], 0, "all of 1 noted head"), ("0" * 64, 1, "FINDING head: shop-")):
        (host.directory / "heads.jsonl").write_text(json.dumps({**head, "sha256": digest}))
        done = host.run("verify", "q3.zip", "--heads", "heads.jsonl")
        assert (done.returncode, said in done.stdout) == (status, True)
    for digest, status in ((head["sha256"], 0), ("0" * 64, 1)):
        assert host.run("verify", "q3.zip", "--expected-head", f"1:{digest}").returncode == status


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["export", "archive", "--dest", "x.zip", "--action", "*"], 2, "remove --action"),
        (["export", "archive", "--dest", "x.zip", "--limit", "3"], 2, "remove --limit"),
        (["export", "archive", "--dest", "x.csv", "--allowed-signers", "x"], 2, "pass a .zip file as --dest"),
        (["export", "archive", "--dest", "x.zip", "--allowed-signers", "x"], 2, "Cannot read the allowed signers in x"),
        (["export", "archive", "--dest", "nowhere/x.zip"], 2, "nowhere does not exist; create it first"),
        (["export", "nothing", "--dest", "x.zip"], 4, "There is no archive in"),
        (["export", "archive", "archive", "--dest", "x.zip"], 2, "are the same archive; name it once"),
        (["verify", "x.zip"], 4, "x.zip cannot be read: No such file or directory; check the path."),
        (["verify", "x.zip", "--max-lag", "1h"], 2, "--max-lag applies to archives"),
        (["verify", "x.zip", "--metrics", "x.prom"], 2, "--metrics applies to archives"),
        (["verify", "text.zip"], 1, "is refused: it is not a complete zip file"),
        (["cat", "text.zip"], 4, "text.zip is a file, but an archive is a directory"),
    ],
)
def test_failures_are_one_sentence(host: Host, arguments: list[str], status: int, said: str) -> None:
    (host.directory / "text.zip").write_text("text")
    done = host.run(*arguments)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(host.directory.glob("x*"))
