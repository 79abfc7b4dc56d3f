# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the variables of the role archiver come to, on each ansible-core; tests/e2e/managed_hosts has real hosts."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version

if TYPE_CHECKING:
    from .conftest import Controller

ROLE = Path(version.__file__).parents[2] / "roles/archiver"
CORE = ROLE.parents[1] / "plugins/module_utils"
PROGRAM = "/usr/local/lib/cloudscale-audit"
PROJECTS = [
    {"name": "main", "token": "secret-of-main", "ping_url": "https://secret.example.org/", "start": "2026-11-01"},
    {"name": "other", "token_file": "/run/secrets/other", "path": "/srv/other", "pin": False},
    {
        "name": "bucket",
        "token": "secret-of-bucket",
        "path": "s3://audit/bucket",
        "s3_endpoint": "https://objects.example.org",
        "s3_access_key": "name-of-key",
        "s3_secret_key": "secret-of-key",
        "sign_key_file": "/run/secrets/sign",
    },
]
UNITS = "templates/etc/systemd/system"
SECRETS = {
    "main.token": "secret-of-main\n",
    "bucket.s3": "[default]\naws_access_key_id = name-of-key\naws_secret_access_key = secret-of-key\n",
}


def found(release: str, name: str, **different: Any) -> dict[str, Any]:
    """A file as the module find returns it, one like here unless told otherwise."""
    checksum = hashlib.sha1((CORE / name).read_bytes()).hexdigest()
    mode = {"uid": 0, "wgrp": False, "woth": False, "roth": True}
    return {"path": f"{release}/{name}", "checksum": checksum, **mode, **different}


def computed(controller: Controller, expressions: dict[str, str], **variables: Any) -> dict[str, Any]:
    """What templates come to with the role's variables."""
    templates = controller.folder / "templates"
    if not templates.is_symlink():
        templates.symlink_to(ROLE / "templates")
    controller.folder.joinpath("computed.yml").write_text(
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
                                "dest": str(controller.folder / "computed.json"),
                            },
                            "vars": {"computed": expressions},
                        }
                    ],
                }
            ]
        )
    )
    given = {
        "role_path": str(ROLE),
        "archiver_projects": PROJECTS,
        "archiver_systemctl": {"stdout": "systemd 252 (252.39)"},
        **variables,
    }
    done = controller.playbook("computed.yml", "-e", json.dumps(given))
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads((controller.folder / "computed.json").read_text())
    return results


def test_a_program_with_a_wrong_file_is_brought_anew(controller: Controller) -> None:
    names = {name: f"{{{{ archiver_{name} }}}}" for name in ("core_files", "release")}
    known = computed(controller, names)
    release, files = known["release"], known["core_files"]
    assert "cli/main.py" in files
    assert "options.py" not in files
    assert re.fullmatch(rf"{PROGRAM}/core-[0-9a-f]{{12}}", release)
    whole = [found(release, name) for name in files]
    hosts = {
        "whole": [*whole, found(f"{PROGRAM}/core-before", files[0], uid=1000)],
        "missing": whole[:-1],
        "foreign": [*whole, {**whole[0], "path": f"{release}/gone.py"}],
        "other": [found(release, files[0], checksum="0" * 40), *whole[1:]],
        "owner": [found(release, files[0], uid=1000), *whole[1:]],
        "group": [found(release, files[0], wgrp=True), *whole[1:]],
        "world": [found(release, files[0], woth=True), *whole[1:]],
        "hidden": [found(release, files[0], roth=False), *whole[1:]],
        "fresh": [],
    }
    told = {
        name: computed(controller, {"it": "{{ archiver_release_is_whole }}"}, archiver_found_files={"files": found})
        for name, found in hosts.items()
    }
    assert [name for name, result in told.items() if str(result["it"]) == "True"] == ["whole"]


def test_the_program_of_runs_that_still_go_on_stays(controller: Controller) -> None:
    release = computed(controller, {"it": "{{ archiver_release }}"})["it"]
    there = [f"{PROGRAM}/{name}" for name in ("core-before", "core-long-ago", "core")] + [release]
    left = computed(
        controller,
        {"it": "{{ archiver_releases_left }}"},
        archiver_current={"stat": {"exists": True, "lnk_source": f"{PROGRAM}/core-before"}},
        archiver_found_releases={"files": [{"path": path} for path in there]},
    )["it"]
    assert sorted(left) == [f"{PROGRAM}/core", f"{PROGRAM}/core-long-ago"]


def test_units_are_those_of_the_projects(controller: Controller) -> None:
    timers = ["cloudscale-audit@main.timer", "cloudscale-audit@old.timer", "cloudscale-audit-verify@main.timer"]
    names = (
        "instances",
        "retired_timers",
        "retired_files",
        "secret_names",
        "secret_files",
        "paths",
        "folders",
        "schedules",
    )
    results = computed(
        controller,
        {name: f"{{{{ archiver_{name} }}}}" for name in names},
        archiver_found_timers={"files": [{"path": f"/etc/systemd/system/{name}"} for name in timers]},
        archiver_verify_schedule="",
        archiver_reconcile_schedule="",
        archiver_encrypted_credentials=True,
    )
    # Which of the retired, and which secret, comes first is up to ansible-core: its sets have no order.
    unordered = ("retired", "secret")
    assert {name: sorted(values) if name.startswith(unordered) else values for name, values in results.items()} == {
        "instances": ["cloudscale-audit@main", "cloudscale-audit@other", "cloudscale-audit@bucket"],
        "retired_timers": ["cloudscale-audit-verify@main.timer", "cloudscale-audit@old.timer"],
        "retired_files": [
            "cloudscale-audit-verify@main.service.d",
            "cloudscale-audit-verify@main.timer",
            "cloudscale-audit@old.service.d",
            "cloudscale-audit@old.timer",
        ],
        "secret_names": ["bucket.s3", "bucket.token", "main.ping", "main.token"],
        "secret_files": [
            "bucket.s3.encrypted",
            "bucket.token.encrypted",
            "main.ping.encrypted",
            "main.token.encrypted",
        ],
        "paths": ["/var/lib/cloudscale-audit/main/archive", "/srv/other", "s3://audit/bucket"],
        "folders": ["/var/lib/cloudscale-audit/main/archive", "/srv/other"],
        "schedules": ["*:0/15"],
    }


def test_a_secret_is_encrypted_anew_only_when_it_is_new(controller: Controller) -> None:
    decrypted = {
        "results": [{"item": "main.token", "stdout": "secret-of-main\n"}, {"item": "main.ping", "stdout": ""}],
    }
    token, ping = (
        computed(controller, {"new": "{{ archiver_secret_is_new }}"}, item=item, archiver_decrypted=decrypted)["new"]
        for item in ("main.token", "main.ping")
    )
    assert (str(token), str(ping)) == ("False", "True")


def test_settings_name_the_secrets_as_they_lie_there(controller: Controller) -> None:
    template = str(ROLE / UNITS / "cloudscale-audit@NAME.service.d/project.conf.j2")
    lines = {
        (index, encrypted): computed(
            controller,
            {
                "unit": f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}",
                "doctor": "{{ archiver_doctor_command }}",
            },
            archiver_project=PROJECTS[index],
            # As -e of the command line gives it.
            archiver_encrypted_credentials=str(encrypted).lower(),
            ansible_managed="managed",
        )
        for index in (0, 1, 2)
        for encrypted in (False, True)
    }
    assert lines[0, False]["unit"].splitlines()[1:] == [
        "[Service]",
        "LoadCredential=api_token:/etc/cloudscale-audit/main.token",
        "LoadCredential=ping_url:/etc/cloudscale-audit/main.ping",
        "ReadWritePaths=/var/lib/cloudscale-audit/main/archive",
        'ExecStart=/usr/local/bin/cloudscale-audit collect "--project=main" "--start=2026-11-01" '
        '"--pin=%S/cloudscale-audit/%i/pin" /var/lib/cloudscale-audit/main/archive',
        "# No ExecStartPost=: systemd 252 lets that one not read credentials.",
        "ExecStart=-/usr/local/lib/cloudscale-audit/ping",
    ]
    assert "LoadCredentialEncrypted=api_token:/etc/cloudscale-audit/main.token.encrypted" in lines[0, True]["unit"]
    assert "LoadCredentialEncrypted=ping_url:/etc/cloudscale-audit/main.ping.encrypted" in lines[0, True]["unit"]
    assert (
        "--property=LoadCredentialEncrypted=api_token:/etc/cloudscale-audit/main.token.encrypted"
        in (lines[0, True]["doctor"])
    )
    assert lines[1, True]["unit"].splitlines()[1:] == [
        "[Service]",
        "LoadCredential=api_token:/run/secrets/other",
        "ReadWritePaths=/srv/other",
        'ExecStart=/usr/local/bin/cloudscale-audit collect "--project=other" /srv/other',
    ]
    assert lines[2, False]["unit"].splitlines()[1:] == [
        "[Service]",
        "LoadCredential=api_token:/etc/cloudscale-audit/bucket.token",
        "LoadCredential=s3:/etc/cloudscale-audit/bucket.s3",
        "LoadCredential=sign_key:/run/secrets/sign",
        'Environment="AWS_SHARED_CREDENTIALS_FILE=/run/credentials/%n/s3"',
        'Environment="AWS_ENDPOINT_URL=https://objects.example.org"',
        'ExecStart=/usr/local/bin/cloudscale-audit collect "--project=bucket" "--pin=%S/cloudscale-audit/%i/pin" '
        '"--sign-key=${CREDENTIALS_DIRECTORY}/sign_key" s3://audit/bucket',
    ]
    assert "LoadCredentialEncrypted=s3:/etc/cloudscale-audit/bucket.s3.encrypted" in lines[2, True]["unit"]
    doctor = lines[2, False]["doctor"]
    unit = "cloudscale-audit-doctor@bucket.service"
    assert f"--setenv=AWS_SHARED_CREDENTIALS_FILE=/run/credentials/{unit}/s3" in doctor
    assert f"--unit={unit}" in doctor
    assert "--property=LoadCredential=s3:/etc/cloudscale-audit/bucket.s3" in doctor
    assert not [argument for argument in doctor if "ReadWritePaths" in argument or "sign_key" in argument]
    for result in lines.values():
        assert "secret-of" not in json.dumps(result)


def test_all_units_of_a_project_in_a_bucket_reach_it(controller: Controller) -> None:
    files = {
        kind: str(ROLE / UNITS / f"cloudscale-audit-{kind}@NAME.service.d/project.conf.j2")
        for kind in ("verify", "reconcile")
    }
    told = {kind: f"{{{{ lookup('ansible.builtin.template', '{file}') }}}}" for kind, file in files.items()}
    units = computed(controller, told, archiver_project=PROJECTS[2], ansible_managed="managed")
    reach = [
        'Environment="AWS_SHARED_CREDENTIALS_FILE=/run/credentials/%n/s3"',
        'Environment="AWS_ENDPOINT_URL=https://objects.example.org"',
    ]
    assert units["verify"].splitlines()[1:] == [
        "[Unit]",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        "LoadCredential=s3:/etc/cloudscale-audit/bucket.s3",
        "PrivateNetwork=no",
        "RestrictAddressFamilies=AF_INET AF_INET6",
        *reach,
        "ExecStart=/usr/local/bin/cloudscale-audit verify s3://audit/bucket",
    ]
    assert units["reconcile"].splitlines()[1:] == [
        "[Service]",
        "LoadCredential=api_token:/etc/cloudscale-audit/bucket.token",
        "LoadCredential=s3:/etc/cloudscale-audit/bucket.s3",
        *reach,
        'ExecStart=/usr/local/bin/cloudscale-audit reconcile "--start=-8d" s3://audit/bucket',
    ]


@pytest.mark.parametrize("journal", [False, True])
def test_entries_of_a_bucket_get_to_the_journal_where_credentials_can_be_read(
    controller: Controller, journal: bool
) -> None:
    template = str(ROLE / UNITS / "cloudscale-audit@NAME.service.d/project.conf.j2")
    unit = computed(
        controller,
        {"unit": f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"},
        archiver_project=PROJECTS[2],
        archiver_journal=journal,
        archiver_metrics_dir="/srv/metrics",
        ansible_managed="managed",
    )["unit"].splitlines()
    told = [line for line in unit if line.startswith("Exec")]
    assert told[0].startswith("ExecStart=/usr/local/bin/cloudscale-audit collect ")
    assert (
        told[1:]
        == [
            "ExecStart=/usr/local/bin/cloudscale-audit journal --bookmark=%S/cloudscale-audit/%i/journal "
            "--metrics=/srv/metrics/cloudscale-audit-journal-bucket.prom s3://audit/bucket"
        ]
        * journal
    )


def test_the_metrics_that_stay_are_those_that_the_units_write(controller: Controller) -> None:
    kinds = ("", "-verify", "-reconcile")
    paths = {kind: ROLE / UNITS / f"cloudscale-audit{kind}@NAME.service.d/project.conf.j2" for kind in kinds}
    come_to = computed(
        controller,
        {
            "stay": "{{ archiver_metrics_files }}",
            **{kind: f"{{{{ lookup('ansible.builtin.template', '{path}') }}}}" for kind, path in paths.items()},
        },
        archiver_projects=[PROJECTS[0]],
        archiver_project=PROJECTS[0],
        archiver_journal=True,
        archiver_metrics_dir="/srv/metrics",
        ansible_managed="managed",
    )
    written = [file for kind in kinds for file in re.findall(r"--metrics=([\w./-]+)", come_to[kind])]
    assert len(written) == 4
    assert sorted(come_to["stay"]) == sorted(written)


def test_a_secret_for_a_bucket_is_a_profile(controller: Controller) -> None:
    secrets = {name: computed(controller, {"it": "{{ archiver_secret }}"}, item=name)["it"] for name in SECRETS}
    assert secrets == SECRETS


def test_metrics_go_where_a_service_sees_them(controller: Controller) -> None:
    tasks = {task["name"]: task for task in yaml.safe_load((ROLE / "tasks/check.yml").read_text())}
    check = {**tasks["Check the folder of the metrics"], "ignore_errors": True, "register": "checked"}
    seen = {
        "": True,
        "/srv/metrics": True,
        "/homes/m": True,
        "/home/m": False,
        "//root": False,
        "/var/tmp/m": False,
        "m": False,
    }
    plays = [
        {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"archiver_metrics_dir": folder},
            "tasks": [check, {"ansible.builtin.assert": {"that": f"checked is {'success' if is_seen else 'failed'}"}}],
        }
        for folder, is_seen in seen.items()
    ]
    (controller.folder / "metrics.yml").write_text(json.dumps(plays))
    done = controller.playbook("metrics.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_name_that_yaml_reads_as_a_number_is_refused_before_anything_is_done(controller: Controller) -> None:
    tasks = {task["name"]: task for task in yaml.safe_load((ROLE / "tasks/check.yml").read_text())}
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
        "vars": {"role_path": str(ROLE)},
        "tasks": [tasks["Check the projects"]],
    }
    (controller.folder / "names.yml").write_text(json.dumps([play]))
    for name, status in [("2026", 0), (2026, 2)]:
        given = {"archiver_projects": [{"name": name, "token": "secret-of-a-year"}]}
        done = controller.playbook("names.yml", "-e", json.dumps(given))
        assert done.returncode == status, done.stdout + done.stderr


def test_only_what_the_doctor_found_wrong_is_told(controller: Controller) -> None:
    tasks = {task["name"]: task for task in yaml.safe_load((ROLE / "tasks/run.yml").read_text())}
    stop = tasks["Stop when something is wrong"]
    fine = {"item": "main", "rc": 0, "stdout_lines": ["ok      folder   /srv"]}
    wrong = {"item": "other", "rc": 4, "stdout_lines": ["FAILED  space    No room.", "ok      clock    right"]}
    broken = {"item": "third", "rc": 1, "stdout_lines": [], "stderr": "no such command"}
    silent = {"item": "fourth", "rc": 255, "stdout_lines": [], "stderr": ""}
    results = {"fine": [{"item": "main", "skipped": True}, fine], "wrong": [fine, wrong, broken, silent]}
    for name, found in results.items():
        play = {"hosts": "localhost", "gather_facts": False, "vars": {"archiver_diagnoses": {"results": found}}}
        (controller.folder / f"{name}.yml").write_text(json.dumps([{**play, "tasks": [stop]}]))
    assert controller.playbook("fine.yml").returncode == 0
    done = controller.playbook("wrong.yml")
    assert done.returncode != 0
    told = (
        "other cannot be collected: space: No room. third cannot be collected: no such command "
        "fourth cannot be collected: its check ended with status 255 and said nothing; see the journal of the host."
    )
    assert f'"msg": "{told}"' in done.stdout + done.stderr
