# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the role archiver writes, on each ansible-core; tests/e2e/managed_hosts has real hosts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version

if TYPE_CHECKING:
    from .conftest import Controller

ROLE = Path(version.__file__).parents[2] / "roles/archiver"
UNITS = "etc/systemd/system"
CONFIG = "/etc/cloudscale-audit"
COMMAND = "/usr/local/bin/cloudscale-audit"
PROJECTS = [
    {"name": "main", "token": "secret-of-main", "ping_url": "https://secret.example.org/", "start": "2026-11-01"},
    {"name": "other", "token_file": "/run/secrets/other", "path": "/srv/other", "pin": False},
]
BUCKET = {
    "name": "bucket",
    "token": "secret-of-bucket",
    "path": "s3://audit/bucket",
    "s3_endpoint": "https://objects.example.org",
    "s3_access_key": "name-of-key",
    "s3_secret_key": "secret-of-key",
}


def computed(controller: Controller, expressions: dict[str, str], **variables: Any) -> dict[str, Any]:
    """What templates come to with the role's variables."""
    controller.directory.joinpath("computed.yml").write_text(
        json.dumps(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
                    "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
                    "tasks": [
                        {
                            "ansible.builtin.copy": {
                                "content": "{{ computed | to_json }}",
                                "dest": str(controller.directory / "computed.json"),
                            },
                            "vars": {"computed": expressions},
                        }
                    ],
                }
            ]
        )
    )
    given = {"archiver_projects": PROJECTS, "ansible_managed": "managed", **variables}
    done = controller.playbook("computed.yml", "-e", json.dumps(given))
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads((controller.directory / "computed.json").read_text())
    return results


def units(controller: Controller, *kinds: str, **variables: Any) -> dict[str, list[str]]:
    """The lines of the services of these kinds."""
    directory = ROLE / "templates" / UNITS
    paths = {kind: directory / f"cloudscale-audit-{kind}.service.j2" for kind in kinds}
    found = {kind: f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}" for kind, path in paths.items()}
    return {kind: text.splitlines() for kind, text in computed(controller, found, **variables).items()}


def load(tasks: str) -> Any:
    return yaml.safe_load((ROLE / f"tasks/{tasks}.yml").read_text())


def starting(lines: list[str], *starts: str) -> list[str]:
    return [line for line in lines if line.startswith(starts)]


def test_the_service_that_collects_has_all_secrets_and_writes_all_archives(controller: Controller) -> None:
    lines = units(controller, "collect", archiver_environment={"HTTPS_PROXY": "http://proxy"})["collect"]
    assert starting(lines, "ExecStart", "LoadCredential", "SetCredential", "ReadWritePaths", "Environment", "On") == [
        "ExecStart=/usr/local/lib/cloudscale-audit/run-each --ping "
        f"-- collect --projects={CONFIG}/projects.json --jobs=8",
        "ReadWritePaths=/var/lib/cloudscale-audit",
        "ReadWritePaths=-/srv/other",
        f"LoadCredential=tokens.json:{CONFIG}/tokens.json",
        "SetCredential=token-other:\\n",
        "LoadCredential=token-other:/run/secrets/other",
        f"LoadCredential=pings.json:{CONFIG}/pings.json",
        f"LoadCredential=sign_key:{CONFIG}/sign_key",
        'Environment="HTTPS_PROXY=http://proxy"',
    ]
    assert "secret-of" not in "".join(lines)


def test_other_services_have_the_secrets_that_they_need(controller: Controller) -> None:
    found = units(
        controller,
        "verify",
        "reconcile",
        "reconcile-full",
        "maintenance",
        archiver_projects=[*PROJECTS, BUCKET],
        # As -e of the command line gives it.
        archiver_encrypted_credentials="true",
        archiver_failure_command="/usr/bin/hook",
    )
    bucket = f"LoadCredentialEncrypted=s3:{CONFIG}/s3.encrypted"
    api = [
        f"LoadCredentialEncrypted=tokens.json:{CONFIG}/tokens.json.encrypted",
        "LoadCredential=token-other:/run/secrets/other",
    ]
    sign = f"LoadCredential=sign_key:{CONFIG}/sign_key"
    assert {kind: starting(lines, "LoadCredential") for kind, lines in found.items()} == {
        "verify": [bucket],
        "reconcile": [*api, bucket],
        "reconcile-full": [*api, bucket],
        "maintenance": [bucket, sign],
    }
    for kind, lines in found.items():
        assert starting(lines, "On") == [
            f"OnFailure=cloudscale-audit-failed@{kind}.service",
            f"OnSuccess=cloudscale-audit-failed@{kind}.service",
        ]


def test_verification_has_a_network_only_for_buckets(controller: Controller) -> None:
    local = units(controller, "verify")["verify"]
    assert "PrivateNetwork=yes" in local
    assert "RestrictAddressFamilies=AF_UNIX" in local
    remote = units(controller, "verify", archiver_projects=[BUCKET])["verify"]
    assert "PrivateNetwork=yes" not in remote
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX" in remote


def test_settings_of_the_services_are_variables(controller: Controller) -> None:
    limits = {"archiver_memory_max": "", "archiver_cpu_quota": "50%", "archiver_service_settings": ["IPAccounting=yes"]}
    metrics = {"archiver_metrics_dir": "/srv/metrics", "archiver_metrics_group": "metrics"}
    journal = {"archiver_journal": True, "archiver_journal_format": "ecs"}
    lines = units(controller, "collect", **limits, **metrics, **journal)["collect"]
    for line in ("MemoryMax=infinity", "CPUQuota=50%", "IPAccounting=yes", "SupplementaryGroups=metrics"):
        assert line in lines
    options = f"--projects={CONFIG}/projects.json --jobs=8 --metrics=/srv/metrics"
    assert lines[lines.index("[Service]") + 1].endswith(f"-- collect {options} -- journal {options} --format=ecs")


def test_alerts_are_sent_after_the_collection(controller: Controller) -> None:
    webhook = {"url": "https://chat.example.com/secret-of-chat", "token": "secret-of-webhook"}
    lines = units(controller, "collect", "verify", archiver_notify=[{"webhook": webhook}])
    options = f"--projects={CONFIG}/projects.json --jobs=8"
    notify = f"-- notify --config=${{CREDENTIALS_DIRECTORY}}/notify.json {options}"
    (start,) = starting(lines["collect"], "ExecStart")
    assert start.endswith(f"-- collect {options} {notify}")
    for name in ("notify.json", "notify-token-1"):
        assert f"LoadCredential={name}:{CONFIG}/{name}" in lines["collect"]
    assert "secret-of" not in "".join(lines["collect"])
    assert "notify" not in "".join(lines["verify"])


def test_nothing_needs_a_newer_systemd_than_the_role_asks_for(controller: Controller) -> None:
    # Options that came after 249, and specifiers as %d.
    newer = (
        "LoadCredentialEncrypted",
        "RestrictFileSystems",
        "ExitType",
        "MemoryZSwapMax",
        "OpenFile",
        "ProtectControlGroupsEx",
    )
    for kind, lines in units(controller, "collect", "verify", "reconcile", "reconcile-full").items():
        assert not [line for line in lines if line.startswith(newer) or "%" in line], kind


def test_the_doctor_runs_as_the_services_do(controller: Controller) -> None:
    command = computed(
        controller, {"it": "{{ archiver_doctor_command }}"}, archiver_environment={"HTTPS_PROXY": "http://proxy"}
    )["it"]
    for argument in (
        "--property=User=cloudscale-audit",
        "--property=ReadWritePaths=-/srv/other",
        "--property=Environment=HTTPS_PROXY=http://proxy",
        f"--property=LoadCredential=tokens.json:{CONFIG}/tokens.json",
    ):
        assert argument in command
    assert command[-5:] == [COMMAND, "doctor", "--json", "--jobs=8", f"--projects={CONFIG}/projects.json"]
    assert "secret-of" not in json.dumps(command)


def test_unwanted_units_and_files_are_removed(controller: Controller) -> None:
    found = {
        "units": [
            "cloudscale-audit-collect.service",
            "cloudscale-audit-verify.timer",
            "cloudscale-audit-failed@.service",
        ],
        "metrics": [
            "/srv/metrics/cloudscale-audit-collect-main.prom",
            "/srv/metrics/cloudscale-audit-verify-main.prom",
        ],
        "secrets": ["tokens.json", "s3", "pings.json.encrypted"],
        "programs": [
            "/usr/local/lib/cloudscale-audit/cloudscale-audit-0.pyz",
            "/usr/local/lib/cloudscale-audit/now.pyz",
        ],
        "program": "/usr/local/lib/cloudscale-audit/now.pyz",
    }
    names = ("units", "metrics", "secrets", "programs")
    unwanted = computed(
        controller,
        {name: f"{{{{ archiver_obsolete_{name} }}}}" for name in names},
        archiver_inspection={"stdout": json.dumps(found)},
        archiver_metrics_dir="/srv/metrics",
        archiver_verify_schedule="",
    )
    assert {name: sorted(values) for name, values in unwanted.items()} == {
        "units": ["cloudscale-audit-failed@.service", "cloudscale-audit-verify.timer"],
        "metrics": ["/srv/metrics/cloudscale-audit-verify-main.prom"],
        "secrets": ["pings.json.encrypted", "s3"],
        "programs": ["/usr/local/lib/cloudscale-audit/cloudscale-audit-0.pyz"],
    }


def test_the_directories_are_those_of_archives(controller: Controller) -> None:
    template = ROLE / "templates/etc/tmpfiles.d/cloudscale-audit.conf.j2"
    lines = computed(
        controller,
        {"it": f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"},
        archiver_metrics_dir="/srv/metrics",
    )["it"].splitlines()
    assert starting(lines, "d", "a") == [
        "d /var/lib/cloudscale-audit 0750 cloudscale-audit cloudscale-audit -",
        "d /srv/other 0750 cloudscale-audit cloudscale-audit -",
    ]


def test_a_bad_project_is_named_at_the_end(controller: Controller) -> None:
    (task,) = load("report_problems")
    archive = {"name": "other", "checks": [{"name": "space", "failed": True, "detail": "No room."}], "exit_status": 4}
    results = {
        "fine": {
            "archiver_doctor_result": {"rc": 0, "stdout": ""},
            "archiver_directories_result": {"stderr_lines": []},
        },
        "skipped": {"archiver_doctor_result": {"skipped": True}, "archiver_directories_result": {"skipped": True}},
        "wrong": {
            "archiver_doctor_result": {"rc": 4, "stdout": json.dumps({"archives": [archive]})},
            "archiver_directories_result": {"stderr_lines": ["/srv/other is a file."]},
        },
    }
    for name, found in results.items():
        play = {"hosts": "localhost", "gather_facts": False, "vars": found, "tasks": [task]}
        (controller.directory / f"{name}.yml").write_text(json.dumps([play]))
    assert controller.playbook("fine.yml").returncode == 0
    assert controller.playbook("skipped.yml").returncode == 0
    done = controller.playbook("wrong.yml")
    assert done.returncode != 0
    printed = re.search(r'"msg": "(.*)"', done.stdout + done.stderr)
    assert printed
    assert printed[1] == "/srv/other is a file. other cannot be collected: space: No room."


def test_files_are_written_identically_on_each_ansible_core(controller: Controller) -> None:
    # Some releases turn a text that looks like a dictionary into one, and write it in another form.
    (projects,) = (one for one in load("configure") if one["name"] == "Write the projects file")
    (secrets,) = (one for one in load("secrets") if one["name"] == "Write the secrets")
    tasks = [
        {
            "ansible.builtin.copy": {
                "content": task["ansible.builtin.copy"]["content"],
                "dest": str(controller.directory / to),
            }
        }
        for task, to in ((projects, "projects.json"), (secrets, "tokens.json"))
    ]
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "vars": {"item": "tokens.json"},
        "tasks": tasks,
    }
    (controller.directory / "files.yml").write_text(json.dumps([play]))
    done = controller.playbook("files.yml", "-e", json.dumps({"archiver_projects": PROJECTS}))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (controller.directory / "tokens.json").read_text() == '{\n "main": "secret-of-main"\n}\n'
    text = (controller.directory / "projects.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1) + "\n"
    assert [project["name"] for project in json.loads(text)["projects"]] == ["main", "other"]
