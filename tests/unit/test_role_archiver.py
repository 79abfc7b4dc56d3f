# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The plan of the role archiver, and the agreement of its defaults, specifications, samples and README."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.filter.archiver import archiver_plan
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.detections.config import read_config
from ansible_collections.auditops.cloudscale.plugins.module_utils.notify.receivers import parse_receivers
from ansible_collections.auditops.cloudscale.plugins.module_utils.projects import read_projects

ROOT = Path(version.__file__).parents[2]
ROLE = ROOT / "roles/archiver"
CONFIG = "/etc/cloudscale-audit"
MAIN = {"name": "main", "token": "secret-of-main"}
BUCKET = {
    "name": "bucket",
    "token_file": "/run/secrets/token",
    "path": "s3://audit/bucket",
    "s3_access_key": "name-of-key",
    "s3_secret_key": "secret-of-key",
}


def load(name: str) -> Any:
    return yaml.safe_load((ROLE / name).read_text())


SPECS = load("meta/argument_specs.yml")["argument_specs"]["main"]["options"]


def plan(*projects: dict[str, Any], **variables: Any) -> Any:
    defaults = {name.removeprefix("archiver_"): value for name, value in load("defaults/main.yml").items()}
    return archiver_plan(list(projects), {**defaults, **variables})


def test_defaults_are_those_of_the_argument_specs() -> None:
    assert load("defaults/main.yml") == {name: spec["default"] for name, spec in SPECS.items()}


def test_the_readme_lists_every_variable_with_its_default() -> None:
    readme = (ROLE / "README.md").read_text()
    for name, spec in SPECS.items():
        default = spec["default"]
        shown = {"True": "true", "False": "false", "": '""'}.get(str(default), default)
        start = {"list": "`[", "dict": "`{"}.get(spec["type"], f"`{shown}`")
        assert f"| `{name}` | {start}" in readme
    for name in SPECS["archiver_projects"]["options"]:
        assert f"| `{name}` |" in readme


def variables_in(inventory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The variables of an inventory's groups and hosts."""
    for group in inventory.values():
        yield group.get("vars", {})
        yield from (host or {} for host in group.get("hosts", {}).values())
        yield from variables_in(group.get("children", {}))


def test_sample_inventories_have_only_variables_of_the_role() -> None:
    guide = (ROOT / "docs/docsite/rst/archiver_operations_guide.rst").read_text()
    shown = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", guide, re.MULTILINE)
    # The one of a vault has variables that the inventory refers to.
    shown = [text for text in shown if not text.startswith("    vault_")]
    samples = [yaml.safe_load(text) for text in (*shown, (ROOT / "playbooks/inventory/archivers.yml").read_text())]
    assert len(samples) >= 3
    for sample in samples:
        found = list(variables_in(sample)) if "archivers" in sample else [sample]
        assert {name for variables in found for name in variables} <= SPECS.keys()
        for project in (one for variables in found for one in variables.get("archiver_projects", [])):
            assert project.keys() <= SPECS["archiver_projects"]["options"].keys()


def test_examples_of_the_readme_are_a_plan_without_problems() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", (ROLE / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (play,), variables = map(yaml.safe_load, blocks)
    ((role,), settings) = (play["roles"], {name.removeprefix("archiver_"): value for name, value in variables.items()})
    assert {*role, *variables} - {"role"} <= SPECS.keys()
    # The addresses and tokens are in a vault.
    settings["notify"][0]["webhook"] = {"url": "https://chat.example.com/hooks/4fxw", "token": "t0ken"}
    assert plan(*role["archiver_projects"], **settings)["problems"] == []


def test_settings_in_the_guide_to_watching_are_those_of_the_role() -> None:
    guide = (ROOT / "docs/docsite/rst/archiver_watching_guide.rst").read_text()
    variables, journal, _vector = re.findall(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", guide, re.MULTILINE)
    assert {*yaml.safe_load(variables), *yaml.safe_load(journal)} <= SPECS.keys()
    (unit,) = re.findall(r"^\.\. code-block:: ini\n\n((?:    .*\n|\n)+)", guide, re.MULTILINE)
    template = (ROLE / "templates/etc/systemd/system/cloudscale-audit-collect.service.j2").read_text().splitlines()
    assert set(unit.split()) <= set(template)


def test_every_setting_of_the_plan_is_a_variable_of_the_role() -> None:
    settings = load("vars/main.yml")["archiver_settings"]
    assert {f"archiver_{name}" for name in settings} <= SPECS.keys()
    assert archiver_plan([MAIN], {name: SPECS[f"archiver_{name}"]["default"] for name in settings})["problems"] == []


def test_the_command_reads_the_projects_file_and_the_file_has_no_secret(tmp_path: Path) -> None:
    more = {"ping_url": "https://secret.example.org/", "start": "2026-11-01", "every": "1h", "pin": False, "sign": "no"}
    result = plan({**MAIN, **more}, BUCKET, retention="3y")
    assert result["problems"] == []
    assert "secret-of" not in result["projects_file"]
    assert "secret.example" not in result["projects_file"]
    (tmp_path / "projects.json").write_text(result["projects_file"])
    main, bucket = read_projects(str(tmp_path / "projects.json"))
    assert (main.path, main.pin, main.start, main.retention) == (
        "/var/lib/cloudscale-audit/main/archive",
        False,
        "2026-11-01",
        "3y",
    )
    assert (main.sign_key_file, main.allowed_signers) == (None, None)
    assert bucket.token_file == "$CREDENTIALS_DIRECTORY/token-bucket"
    assert (bucket.s3_credentials_file, bucket.s3_profile) == ("$CREDENTIALS_DIRECTORY/s3", "bucket")
    assert bucket.sign_key_file == "$CREDENTIALS_DIRECTORY/sign_key"
    assert bucket.allowed_signers == f"{CONFIG}/allowed_signers"


def test_each_kind_of_secret_has_one_file() -> None:
    result = plan({**MAIN, "ping_url": "https://secret.example.org/"}, BUCKET)
    assert json.loads(result["secrets"]["tokens.json"]) == {"main": "secret-of-main"}
    assert json.loads(result["secrets"]["pings.json"]) == {"main": "https://secret.example.org/"}
    assert result["secrets"]["s3"] == (
        "[bucket]\naws_access_key_id = name-of-key\naws_secret_access_key = secret-of-key\n"
    )
    assert result["credentials"] == {
        "api": [
            f"LoadCredential=tokens.json:{CONFIG}/tokens.json",
            "SetCredential=token-bucket:\\n",
            "LoadCredential=token-bucket:/run/secrets/token",
        ],
        "buckets": [f"LoadCredential=s3:{CONFIG}/s3"],
        "pings": [f"LoadCredential=pings.json:{CONFIG}/pings.json"],
        "notify": [],
        "signing": [f"LoadCredential=sign_key:{CONFIG}/sign_key"],
    }
    # Variables from -e are texts.
    encrypted = plan(MAIN, encrypted_credentials="true", sign="false")
    assert encrypted["credentials"]["api"] == [f"LoadCredentialEncrypted=tokens.json:{CONFIG}/tokens.json.encrypted"]
    assert encrypted["credentials"]["signing"] == []


RECEIVERS: list[dict[str, Any]] = [
    {"webhook": {"url": "https://chat.example.com/secret-of-chat", "token": "secret-of-webhook"}, "severity": "high"},
    {"webhook": {"url": "https://other.example.com/", "token_file": "/run/secrets/other"}},
    {"journal": True},
]


def test_the_file_of_receivers_is_secret_and_the_command_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = plan(MAIN, notify=RECEIVERS, detections={"known_networks": ["192.0.2.0/24"]}, metrics_dir="/srv/metrics")
    assert result["problems"] == []
    assert (result["secrets"]["notify-token-1"], "notify-token-2" in result["secrets"]) == (
        "secret-of-webhook\n",
        False,
    )
    assert "secret-of-webhook" not in result["secrets"]["notify.json"]
    assert result["credentials"]["notify"] == [
        f"LoadCredential=notify.json:{CONFIG}/notify.json",
        "SetCredential=notify-token-2:\\n",
        "LoadCredential=notify-token-2:/run/secrets/other",
        f"LoadCredential=notify-token-1:{CONFIG}/notify-token-1",
    ]
    assert "/srv/metrics/cloudscale-audit-notify-main.prom" in result["metrics"]
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/unit")
    (tmp_path / "notify.json").write_text(result["secrets"]["notify.json"])
    read = read_config(str(tmp_path / "notify.json"), "--config")
    assert len(read.facts.known_networks) == 1
    channels = [receiver.channel for receiver in parse_receivers(read.notify)]
    assert [getattr(channel, "token_file", None) for channel in channels] == [
        "/run/credentials/unit/notify-token-1",
        "/run/credentials/unit/notify-token-2",
        None,
    ]
    assert plan(MAIN)["credentials"]["notify"] == []
    assert "notify.json" not in plan(MAIN, notify=RECEIVERS, state="absent")["secrets"]


@pytest.mark.parametrize(
    ("invalid", "sentence"),
    [
        (
            {"detections": {"reviewers": ["a"]}},
            "archiver_detections requires archiver_notify, the receivers of the alerts",
        ),
        (
            {"notify": [{"webhok": {}}]},
            "archiver_notify or archiver_detections: notify: receiver 1 has unknown keys: webhok",
        ),
        (
            {"notify": [{"journal": True}], "detections": {"reviewrs": []}},
            "archiver_notify or archiver_detections: archiver_detections has unknown keys: reviewrs",
        ),
        (
            {"notify": [{"webhook": {**RECEIVERS[0]["webhook"], "token_file": "/t"}}]},
            "archiver_notify: token and token_file are mutually exclusive; remove one of them",
        ),
        (
            {"notify": [{"webhook": {"url": "https://secret-of-chat", "token_file": "t o k e n"}}]},
            "archiver_notify: token_file must be an absolute path with only letters, digits, dots, - and _",
        ),
    ],
)
def test_invalid_receivers_are_problems(invalid: dict[str, Any], sentence: str) -> None:
    (problem,) = plan(MAIN, **invalid)["problems"]
    assert problem.startswith(sentence)
    assert "secret-of" not in problem


TIME = {"timestamp_url": "https://time.example.com/tsa", "timestamp_ca": "/etc/ssl/time.pem"}


def test_all_projects_have_the_settings_of_time_stamps(tmp_path: Path) -> None:
    result = plan(MAIN, BUCKET, **TIME, timestamp_required="yes")
    assert (result["problems"], result["requests_timestamps"]) == ([], True)
    (tmp_path / "projects.json").write_text(result["projects_file"])
    for project in read_projects(str(tmp_path / "projects.json")):
        assert {key: getattr(project, key) for key in TIME} == TIME
        assert (project.timestamp_every, project.timestamp_required) == ("1d", True)
    without = plan(MAIN, timestamp_ca="/etc/ssl/time.pem")
    assert (without["requests_timestamps"], "timestamp" in without["projects_file"]) == (False, False)


@pytest.mark.parametrize(
    ("invalid", "sentence"),
    [
        ({"timestamp_url": "time.example.com"}, "archiver_timestamp_url must be the http:// or https:// URL"),
        ({"timestamp_every": "daily"}, "archiver_timestamp_every: 'daily' is not a valid duration"),
        ({"timestamp_ca": "/root/time.pem"}, "archiver_timestamp_ca must be an absolute path"),
    ],
)
def test_invalid_settings_of_time_stamps_are_problems(invalid: dict[str, Any], sentence: str) -> None:
    (problem,) = plan(MAIN, **{**TIME, **invalid})["problems"]
    assert problem.startswith(sentence)


def test_units_follow_schedules_and_policies() -> None:
    kinds = ["collect", "verify", "reconcile", "reconcile-full"]
    assert list(plan(MAIN)["schedules"]) == kinds
    assert list(plan(MAIN, verify_schedule="", reconcile_schedule="")["schedules"]) == ["collect", "reconcile-full"]
    assert list(plan({**MAIN, "compact_older_than": "7d"})["schedules"]) == [*kinds, "maintenance"]
    assert plan(MAIN, state="absent")["timers"] == []


@pytest.mark.parametrize(
    ("invalid", "sentence"),
    [
        ({"name": 2026}, "2026: the name must have only lower-case letters"),
        ({"name": "Main"}, "Main: the name must have only lower-case letters"),
        ({"token": ""}, "main: set exactly one of token and token_file"),
        ({"token_file": "/etc/token"}, "main: set exactly one of token and token_file"),
        ({"path": "srv"}, "main: the path must be absolute"),
        ({"path": "/srv/a b"}, "main: the path must be absolute"),
        ({"path": "//root/x"}, "main: path is below /home, /root"),
        ({"path": "s3://Audit"}, "main: the path is not a valid address in a bucket; use s3://BUCKET/PREFIX"),
        (
            {"path": "s3://audit/main"},
            "main: a project with its path in a bucket requires s3_access_key and s3_secret_key, or",
        ),
        ({"s3_access_key": "a", "s3_secret_key": "b"}, "s3_credentials_file; no other project can have them"),
        (
            {**BUCKET, "name": "main", "s3_secret_key": "two words"},
            "must have only printable characters without spaces",
        ),
        ({"every": "sometimes"}, "main: every: 'sometimes' is not a valid duration"),
        ({"retention": "long"}, "main: retention: "),
    ],
)
def test_an_invalid_project_is_a_problem(invalid: dict[str, Any], sentence: str) -> None:
    problems = plan({**MAIN, **invalid})["problems"]
    assert any(sentence in problem for problem in problems), problems
    assert "secret-of" not in str(problems)


def test_duplicate_names_and_paths_are_problems() -> None:
    problems = plan(MAIN, {**MAIN, "path": "/srv/other"}, {"name": "third", "token": "t", "path": "/srv/other"})[
        "problems"
    ]
    assert problems == [
        "two projects have the name main; give each project its own name",
        "two projects have the path /srv/other; give each project its own path",
    ]
    assert plan()["problems"] == ["archiver_projects is empty; add projects, or set archiver_state to absent"]


@pytest.mark.parametrize(
    "invalid",
    [
        {"timeout": '1h"\nExecStart=/bin/true'},
        {"schedule": "daily%n"},
        {"environment": {"HTTPS_PROXY": 'http://proxy" "A=b'}},
        {"metrics_dir": "/home/metrics"},
        {"metrics_dir": "metrics"},
    ],
)
def test_special_characters_of_units_are_a_problem(invalid: dict[str, Any]) -> None:
    assert len(plan(MAIN, **invalid)["problems"]) == 1
