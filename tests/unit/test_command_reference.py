# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about the command names what the command prints. That it has all options is a check of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.exit_status import MEANINGS
from ansible_collections.auditops.cloudscale.plugins.module_utils.cli.main import main
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

PAGE = Path(version.__file__).parents[2] / "docs/docsite/rst/command_reference.rst"


def first_column(marker: str) -> list[str]:
    """The first cells of the table that follows this text, without its heading."""
    table = PAGE.read_text().split(marker, 1)[1].split("\n\n")[1 if marker.startswith(" ") else 2]
    return re.findall(r"(?m)^   \* - (.+)$", table)[1:]


def test_it_has_each_exit_status() -> None:
    assert first_column("Exit status\n-----------") == [str(status) for status in MEANINGS]


def test_it_has_each_key_that_status_and_verify_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = str(tmp_path / "archive")
    with Simulator() as simulator:
        monkeypatch.setenv("CLOUDSCALE_API_TOKEN", simulator.project("main").token)
        monkeypatch.setenv("CLOUDSCALE_API_URL", simulator.url)
        assert main(["collect", archive]) == 0
    capsys.readouterr()
    for command, marker in [("status", " Keys of a status"), ("verify", " Keys of what verify prints")]:
        main([command, archive, "--json"])
        assert sorted(first_column(marker)) == sorted(json.loads(capsys.readouterr().out))
