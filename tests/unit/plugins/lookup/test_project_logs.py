# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup, loaded by Ansible, which resolves its options."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from ansible.errors import AnsibleError, AnsibleLookupError
from ansible.plugins.loader import lookup_loader
from ansible_collections.auditops.cloudscale.tests.simulator import Simulator

NAME = "auditops.cloudscale.project_logs"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(page_size=2) as running:
        yield running


@pytest.fixture
def lookup(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CLOUDSCALE_API_URL", simulator.url)
    monkeypatch.setenv("CLOUDSCALE_API_TOKEN", simulator.project("main").token)
    return lookup_loader.get(NAME)


@pytest.mark.parametrize("number", [0, 1, 2, 5])
def test_any_number_of_entries_is_a_flat_list(lookup: Any, simulator: Simulator, number: int) -> None:
    wanted = [simulator.project("main").log.append(action="server_create", message=str(n)) for n in range(number)]
    assert lookup.run([], variables={}) == wanted


def test_keyword_arguments_win_over_variables_and_these_over_the_environment(
    lookup: Any, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [simulator.project("main").log.append(action="server_create", message="m")]
    token = simulator.project("main").token
    monkeypatch.setenv("CLOUDSCALE_API_TOKEN", "of-the-environment-012345678901")
    assert lookup.run([], variables={"cloudscale_api_token": token}) == wanted
    assert lookup.run([], variables={"cloudscale_api_token": "of-a-variable-01234567890"}, api_token=token) == wanted
    with pytest.raises(AnsibleLookupError, match="does not accept the token"):
        lookup.run([], variables={})


def test_texts_are_converted_to_the_types_of_options(lookup: Any, simulator: Simulator) -> None:
    wanted = [simulator.project("main").log.append(action=name, message="m") for name in ("a_x", "b_x", "c_x")]
    assert lookup.run([], variables={}, limit="1", api_timeout="7") == wanted[-1:]
    assert lookup.run([], variables={}, actions="a_*,c_*") == [wanted[0], wanted[2]]


def test_times_that_yaml_has_parsed_are_accepted(lookup: Any, simulator: Simulator) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
    simulator.project("main").log.append(action="a", message="m", timestamp=noon - timedelta(days=1))
    wanted = [simulator.project("main").log.append(action="a", message="m", timestamp=noon)]
    assert lookup.run([], variables={}, start=date(2026, 11, 22)) == wanted
    assert lookup.run([], variables={}, start=noon, end=noon + timedelta(seconds=1)) == wanted
    with pytest.raises(AnsibleError, match="no offset from UTC"):
        lookup.run([], variables={}, start=datetime(2026, 11, 22, 8))


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        (["server_create"], {}, "takes no positional terms"),
        ([], {"start": "2026-11-22T08:00:00"}, "no offset from UTC"),
        ([], {"cursor": "10025"}, "complete poll_more"),
        ([], {"limit": "many"}, "limit"),
        ([], {"begin": "-1d"}, "begin"),
    ],
)
def test_bad_input_is_an_error_of_ansible(lookup: Any, terms: Any, options: Any, message: str) -> None:
    with pytest.raises(AnsibleError, match=message):
        lookup.run(terms, variables={}, **options)


def test_an_old_start_causes_a_warning(lookup: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert lookup.run([], variables={}, start="-100d") == []
    assert "retention" in capsys.readouterr().err
