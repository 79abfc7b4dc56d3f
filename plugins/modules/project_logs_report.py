#!/usr/bin/python
# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: project_logs_report
short_description: Report who did what in cloudscale.ch projects
version_added: 1.0.0
description:
  - Writes one file that tells who did what, when, from where, and what is unusual, and hands over the entries.
  - It reads the API (the last 90 days), archives (years), or both. Up to the end of what an archive covers,
    entries are the archive's, and from then on they are the API's, so that none is there twice. Where an archive begins
    later than the range, or was pruned, all that the API still has of the range is the API's.
  - If O(start) and O(end) are dates or times that have passed, the same entries and options give the same bytes. A
    report about a relative or open range, such as V(-30d), tells when it was made.
  - With O(form=access_review) the file is an access review, to decide on and sign.
author:
  - auditops.cloudscale contributors (@auditops)
options:
  form:
    description:
      - What the report is about.
      - V(activity) tells what happened.
      - V(access_review) lists every person and every token that made changes in the range or in the period of the same
        length before it, with first and last activity, number and kinds of changes, sensitive changes and networks, and
        with room for a decision, a name, a date and a signature. It needs all entries of a period, so that it refuses
        O(limit) and O(cursor).
      - It compares the range with the period before. O(baseline) is not used. An account is new only if the sources
        cover the whole period before, and dormant only if they also cover the whole range. Otherwise the review says
        "no data" and why.
      - The log has no list of members. The review does not show people who have access but changed nothing, nor
        tokens that only read.
    type: str
    choices: [activity, access_review]
    default: activity
  dest:
    description:
      - The file to write; its suffix says in which form.
      - V(.html) is one page for people, with charts and a table, that needs no network. Its table holds the newest
        100000 entries.
      - V(.md) is a short text for tickets and chat, with the newest 100 entries.
      - V(.csv) is a table for spreadsheets, in which no text is taken for a formula.
      - V(.jsonl) is the evidence, each entry as it was received, one JSON object a line.
      - V(.parquet) is a table for analysis.
      - For O(form=access_review), V(.html) is the page to sign, V(.md) lists up to 100 people and 100 tokens, and
        V(.csv) has a row for each person and token in each project. V(.jsonl) and V(.parquet) hold the entries of the
        range.
      - Its folder must exist. A relative path counts from the folder that the module runs in.
    type: path
    required: true
  extra_formats:
    description:
      - Further formats of the same report, written next to O(dest) under its name with these suffixes.
      - All of them come out of one read.
    type: list
    elements: str
    choices: [html, md, csv, jsonl, parquet]
    default: []
  api_token:
    description:
      - The API token of a project; one with read access suffices. Required here or through the environment, unless
        O(archives) or O(projects) is set.
      - Ansible masks its text wherever it appears in a result.
    type: str
  archives:
    description:
      - Archives as M(auditops.cloudscale.project_logs_archive) keeps them, each of one project, in a folder or at
        V(s3://BUCKET/PREFIX). Of an archive in a bucket, the files of the range are copied for the time of the report.
      - Without a token, archives are all that is read.
    type: list
    elements: path
  projects:
    description:
      - The projects to ask at the API, where they are more than the one of O(api_token); they take its place.
      - The archive of a project is found by itself among O(archives).
    type: list
    elements: dict
    suboptions:
      name:
        description: What to call the project; by default what its archive or the API calls it.
        type: str
      api_token:
        description: The token of the project.
        type: str
        required: true
      api_url:
        description: Where its API is; by default O(api_url).
        type: str
  ask_api:
    description: Whether to ask the API at all. With V(false) only O(archives) are read, also where a token is at hand.
    type: bool
    default: true
  engine:
    description:
      - What reads the entries and answers the questions to them.
      - V(duckdb) runs in the module's own process, within 2 GB of memory, and on the disk for what is beyond it.
      - V(spark) is Apache Spark, where its own configuration says (C(spark-defaults.conf) in E(SPARK_CONF_DIR)). All
        of its machines must find O(archives), and the folder for temporary files, under the same paths.
      - The report is the same.
    type: str
    choices: [duckdb, spark]
    default: duckdb
  title:
    description: The heading; by default "Audit report" or "Access review".
    type: str
  language:
    description: The language of the report.
    type: str
    choices: [en, de]
    default: en
  time_zone:
    description:
      - The time zone in which times are shown and days begin, such as V(Europe/Zurich).
      - Dates and named times in O(start) and O(end) are meant in it.
    type: str
    default: UTC
  detections:
    description:
      - Detections of your own, in addition to the built-in ones, as in M(auditops.cloudscale.project_logs_detect).
      - Their alerts are the first part of the report. An access review has none.
    type: list
    elements: dict
  own_actors:
    description:
      - Your own automation. It fires no detection, and the report counts its entries apart from those of people.
      - A user is named by e-mail address, a token by its description or uuid. V(*) stands for any characters and V(?)
        for one.
    type: list
    elements: str
  working_hours:
    description:
      - When people work at your site, such as V(Mon-Thu 07:00-19:00, Fri 07:00-16:00). Detections that need it are off
        without it.
      - They are meant in O(time_zone) unless a time zone of their own follows.
    type: str
  compare:
    description:
      - Whether to compare the totals and the alerts with the period before, which has the same length, or as many
        months if the range is whole months.
      - That period is read as well; V(false) saves the reading. Where the sources do not cover it, the report says
        "no data". With O(limit) or O(cursor) there is no comparison.
      - An access review always compares.
    type: bool
    default: true
  baseline:
    description:
      - How much of the time before O(start) is read as well, to tell which actors, tokens and networks are new, and
        what the detections take for normal.
      - V(0d) reads nothing of it.
      - O(form=access_review) reads the period of the same length before O(start) instead.
    type: str
    default: 30d
extends_documentation_fragment:
  - auditops.cloudscale.connection
  - auditops.cloudscale.range
  - auditops.cloudscale.selection
  - auditops.cloudscale.detections
  - auditops.cloudscale.concurrency
  - auditops.cloudscale.attributes
  - files
attributes:
  check_mode:
    details: Reads as ever; nothing is written, C(changed) tells whether it would be.
  diff_mode:
    support: none
requirements:
  - ibis-framework[duckdb], or ibis-framework[pyspark] for O(engine=spark)
  - for pages (.html), jinja2, vl-convert-python and itables, too; for those of O(form=access_review), only jinja2
notes:
  - Run it on the controller; hosts need none of these libraries.
  - A report holds personal data. Give it a O(mode) that keeps it from others.
seealso:
  - module: auditops.cloudscale.project_logs_info
  - module: auditops.cloudscale.project_logs_archive
"""

EXAMPLES = r"""
- name: Write a page about the last 30 days
  auditops.cloudscale.project_logs_report:
    start: -30d
    dest: report.html
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write the report of last month for a ticket
  auditops.cloudscale.project_logs_report:
    start: last-month
    end: this-month
    dest: last-month.md
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Hand over last quarter's deletions as evidence, out of the archive
  auditops.cloudscale.project_logs_report:
    archives: [/var/lib/audit/shop]
    ask_api: false
    start: 2026-07-01
    end: 2026-10-01
    actions: ["*_delete"]
    dest: deletions.jsonl
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write one page about the year, in German, from the archive and, for the last days, from the API
  auditops.cloudscale.project_logs_report:
    archives: [/var/lib/audit/shop]
    start: 2026-01-01
    dest: year.html
    title: Audit 2026
    language: de
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true

- name: Write the access review of last quarter, to print and sign
  auditops.cloudscale.project_logs_report:
    form: access_review
    archives: [/var/lib/audit/shop]
    start: 2026-07-01
    end: 2026-10-01
    dest: access-review.html
    extra_formats: [csv]
    time_zone: Europe/Zurich
    mode: "0640"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
dest:
  description: The whole path of the report.
  returned: success
  type: str
files:
  description: The whole paths of all files written, O(dest) first.
  returned: success
  type: list
  elements: str
entries:
  description: How many entries it is about.
  returned: success
  type: int
summary:
  description:
    - Its figures. Times are in O(time_zone).
    - An access review has C(entries), C(first), C(last), C(people), C(tokens), C(new), C(dormant), C(no_data),
      C(sensitive), C(compared) and C(complete). Other reports have all except C(people), C(tokens), C(new), C(dormant),
      C(no_data), C(sensitive) and C(compared).
  returned: success
  type: dict
  contains:
    entries:
      description: How many entries there are.
      type: int
    first:
      description: The earliest time among the entries, with its offset from UTC; empty without entries.
      type: str
    last:
      description: The latest time among the entries, with its offset from UTC; empty without entries.
      type: str
    actors:
      description: Entries by actor, most frequent first.
      type: dict
    actions:
      description: Entries by action, most frequent first.
      type: dict
    networks:
      description: Entries by network (V(/24) of IPv4, V(/48) of IPv6), most frequent first.
      type: dict
    alerts:
      description: Number of alerts of each severity, the most severe first.
      type: dict
      sample: {critical: 0, high: 1, medium: 12, low: 3, info: 0}
    detections:
      description: Number of alerts of each detection that fired, the most severe first.
      type: dict
      sample: {provider_staff: 1, deletion: 12}
    projects:
      description: Entries by project, most frequent first.
      type: dict
    own:
      description: Number of entries of O(own_actors).
      type: int
    before:
      description: >-
        Figures of the period before - C(entries), entries by C(own) automation, C(people), C(tokens), C(staff) and
        C(system), number of C(actors) and C(networks). Null without O(compare), and where the sources do not cover it.
      type: dict
    first_seen:
      description: >-
        The C(actors), C(tokens) and C(networks) that the O(baseline) does not have, as lists of names. Without these
        keys if the baseline has no entries, so that nothing can be said.
      type: dict
    sensitive:
      description: Number of changes that delete something or change who has access, in an access review.
      type: int
    staff:
      description: How many changes the provider's staff made.
      type: int
    system:
      description: How many changes the provider's automated tasks made.
      type: int
    people:
      description: Number of different people with changes in the range.
      type: int
    tokens:
      description: Number of different tokens with changes in the range.
      type: int
    new:
      description: >-
        Number of people and tokens, in each project, with changes in the range and none in the period before. Null
        where data of the period before is missing.
      type: int
    dormant:
      description: >-
        Number of people and tokens, in each project, with changes in the period before and none in the range. Null
        where data of either is missing.
      type: int
    no_data:
      description: Number of people and tokens, in each project, that cannot be compared because data is missing.
      type: int
    compared:
      description: Whether the sources miss nothing of the period before.
      type: bool
    complete:
      description: >-
        Whether the sources miss nothing of the range, as far as they can tell. False for a range that ends after the
        moment of asking.
      type: bool
failure:
  description: What went wrong, for programs.
  returned: failure
  type: dict
  contains:
    code:
      description: >-
        A stable name, one of V(invalid_input), V(missing_dependency), V(unauthorized), V(forbidden),
        V(request_rejected), V(cursor_rejected), V(unreachable), V(certificate), V(invalid_response),
        V(service_unavailable), V(untrusted_url), V(pagination_loop), V(storage), V(archive_damaged), V(engine_failed).
      type: str
    http_status:
      description: The HTTP status of the answer that was refused; null without one.
      type: int
    retryable:
      description: Whether the same call may succeed later.
      type: bool
"""

import os
import tempfile
from contextlib import ExitStack

from ansible_collections.auditops.cloudscale.plugins.module_utils.ansible_module import (
    CloudscaleModule,
    concurrency_spec,
    connection_spec,
    detections_spec,
    range_spec,
    selection_spec,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.files import (
    check_destination,
    draft_file,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.query.engine import ENGINES
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.report import (
    Report,
    destinations,
    is_same_report,
)
from ansible_collections.auditops.cloudscale.plugins.module_utils.report.translations import (
    BASELINE,
    FORMS,
    LANGUAGES,
    REPORTS,
)


def argument_spec():
    project = {
        "name": {"type": "str"},
        "api_token": {"type": "str", "required": True, "no_log": True},
        "api_url": {"type": "str"},
    }
    return {
        **connection_spec(),
        **range_spec(),
        **selection_spec(),
        **concurrency_spec(),
        **detections_spec(),
        "form": {"type": "str", "choices": list(REPORTS), "default": REPORTS[0]},
        "dest": {"type": "path", "required": True},
        "extra_formats": {"type": "list", "elements": "str", "choices": list(FORMS), "default": []},
        "archives": {"type": "list", "elements": "path"},
        "projects": {"type": "list", "elements": "dict", "options": project},
        "ask_api": {"type": "bool", "default": True},
        "engine": {"type": "str", "choices": list(ENGINES), "default": ENGINES[0]},
        "title": {"type": "str"},
        "language": {"type": "str", "choices": list(LANGUAGES), "default": LANGUAGES[0]},
        "time_zone": {"type": "str", "default": "UTC"},
        "compare": {"type": "bool", "default": True},
        "baseline": {"type": "str", "default": BASELINE},
    }


def written(module, report, paths):
    """Write the report; what is in it, and the paths whose content changed."""
    with ExitStack() as stack:
        if module.check_mode:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            for path in paths.values():
                check_destination(path)
            drafts = {form: os.path.join(folder, form) for form in paths}
        else:
            drafts = {form: stack.enter_context(draft_file(path)) for form, path in paths.items()}
        told = report.write(drafts)
        changed = [form for form in paths if not is_same_report(form, drafts[form], paths[form])]
        for form in () if module.check_mode else changed:
            module.atomic_move(drafts[form], paths[form])
    return told, bool(changed)


def run(module):
    report = Report(module.params)
    dest = os.path.abspath(module.params["dest"])
    paths = destinations(dest, module.params["extra_formats"])
    told, changed = written(module, report, paths)
    for warning in told.warnings:
        module.warn(warning)
    for path in paths.values():
        arguments = module.load_file_common_arguments(module.params, path=path)
        changed = module.set_fs_attributes_if_different(arguments, changed)
    files = list(paths.values())
    return {"changed": changed, "dest": dest, "files": files, "entries": told.entries, "summary": told.summary}


def main():
    module = CloudscaleModule(argument_spec=argument_spec(), supports_check_mode=True, add_file_common_args=True)
    with module.report_errors():
        result = run(module)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
