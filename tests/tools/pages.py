# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the references of the playbooks and of the event source, and the schema of its options, from their files.

Runs in the repository's root: python3 dev.py run -- python tests/tools/pages.py
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

SITE = Path("docs/docsite/rst")
PLAYBOOKS = SITE / "playbooks_reference.rst"
EVENT_SOURCE = SITE / "event_source_reference.rst"
SOURCE_FILE = Path("extensions/eda/plugins/event_source/project_logs.py")
SCHEMA = SOURCE_FILE.parent / "schemas/project_logs.json"
_HEAD = """\
.. Copyright (c) 2026, the auditops.cloudscale contributors
   GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
   SPDX-License-Identifier: GPL-3.0-or-later

.. Written by tests/tools/pages.py from {origin}; change the text there.

.. _ansible_collections.auditops.cloudscale.docsite.{name}:

{title}
{underline}

{text}
"""
_PLAYBOOKS_TEXT = """\
The playbooks of this collection and all their variables. Pass variables with ``-e``, from a file with ``-e @FILE``, or
as the questions of a survey. Only ``deploy_archiver`` and ``check_archivers`` need an inventory."""
_EVENT_SOURCE_TEXT = """\
All options of the event source ``auditops.cloudscale.project_logs`` for ``ansible-rulebook``. See
:ref:`ansible_collections.auditops.cloudscale.docsite.eda_guide` for rulebooks, for the keys of an event, and for the
guarantees of the event source."""
_MODULES = "project_logs_(?:archive|archive_info|assert|detect|info|report|review)"
# Names of variables, keys, files and options, which are literals on a page.
_LITERAL = re.compile(
    r"""(?<![\w`/#.])(\{".*?\}|--[a-z][a-z-]*|/[a-z]+(?:/[\w-]+)+|event(?:\.\w+)+"""
    r"""|[a-z0-9]+(?:_[a-z0-9]+)+(?:_(?=[ .]))?)"""
)
_MARKUP = re.compile(r"([COVEM])\(([^)]+)\)")
_JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}


class Playbook(NamedTuple):
    """The comment at the top of a playbook."""

    description: str
    command: str
    variables: list[tuple[list[str], str]]
    notes: str


def playbook_header(path: Path) -> Playbook:
    """Parse the comment between the document start and the first play.

    Each variable is a line "# NAME[, NAME ...]  TEXT"; an indented line continues the text of the variable before it.
    """
    comment = path.read_text(encoding="utf-8").split("\n---\n", 1)[1].split("\n- ", 1)[0]
    description, command, rest = "\n".join(line[2:] for line in comment.splitlines()).split("\n\n", 2)
    variables: list[tuple[list[str], str]] = []
    notes: list[str] = []
    names: list[str] = []
    for line in rest.splitlines():
        listed = re.match(r"((?:[a-z]+_[a-z0-9_]+(?:, ?|$|(?=  )))+) *(.*)", line)
        if listed:
            names += re.split(r", ?", listed[1].strip(", "))
            if not listed[2]:
                continue
            variables.append((names, listed[2]))
        elif line.startswith("  ") and names:
            variables.append((names, line.strip()))
        elif line.startswith("  "):
            last_names, text = variables[-1]
            variables[-1] = (last_names, f"{text} {line.strip()}")
        else:
            notes.append(line)
        names = []
    return Playbook(" ".join(description.split()), command.strip(), variables, " ".join(" ".join(notes).split()))


def playbooks_page() -> str:
    head = page_head("the playbooks", "playbooks_reference", "Playbooks", _PLAYBOOKS_TEXT)
    return "\n".join([head, *(playbook_section(path) for path in sorted(Path("playbooks").glob("*.yml")))])


def playbook_section(path: Path) -> str:
    header = playbook_header(path)
    lines = [path.stem, "-" * len(path.stem), "", mark_literals(header.description), ""]
    lines += [".. code-block:: text", "", f"    {header.command}", ""]
    lines += [".. list-table::", "   :header-rows: 1", "", "   * - Variable", "     - Meaning"]
    for names, text in header.variables:
        lines += [f"   * - {', '.join(f'``{name}``' for name in names)}", f"     - {mark_literals(text)}"]
    lines += ["", mark_literals(header.notes), ""] if header.notes else [""]
    return "\n".join(lines)


def mark_literals(text: str) -> str:
    """Mark names as literals, modules and the role as links."""
    text = _LITERAL.sub(r"``\1``", text)
    text = re.sub(rf"``({_MODULES})``", r":ansplugin:`auditops.cloudscale.\1#module`", text)
    text = text.replace("the role archiver", "the role :ansplugin:`auditops.cloudscale.archiver#role`")
    return text if text.endswith(".") else f"{text}."


def event_source_page() -> str:
    head = page_head("its file", "event_source_reference", "Options of the event source", _EVENT_SOURCE_TEXT)
    documentation = yaml.safe_load(module_constant(SOURCE_FILE, "DOCUMENTATION"))
    return "\n".join([head, *(option_item(name, option) for name, option in documentation["options"].items())])


def option_item(name: str, option: dict[str, Any]) -> str:
    """An option as an item of a definition list."""
    kind = f"list of {option['elements']}" if "elements" in option else option["type"]
    choices = f", one of {', '.join(f'``{choice}``' for choice in option['choices'])}" if "choices" in option else ""
    default = f", default ``{yaml_value(option['default'])}``" if "default" in option else ""
    return "\n".join([f"``{name}`` ({kind}{choices}{default})", f"  {_MARKUP.sub(_marked, described(option))}", ""])


def described(option: dict[str, Any]) -> str:
    texts = option["description"]
    return texts if isinstance(texts, str) else " ".join(texts)


def event_source_schema() -> str:
    """The JSON schema of the options, for programs that fill in or check a rulebook."""
    documentation = yaml.safe_load(module_constant(SOURCE_FILE, "DOCUMENTATION"))
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Options of the event source auditops.cloudscale.project_logs",
        "description": f"{documentation['short_description']}.",
        "type": "object",
        "additionalProperties": False,
        "properties": {name: option_schema(name, option) for name, option in documentation["options"].items()},
    }
    return json.dumps(schema, indent=2) + "\n"


def option_schema(name: str, option: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": _MARKUP.sub(r"\2", described(option)), "type": _JSON_TYPES[option["type"]]}
    if "elements" in option:
        found["items"] = {"type": _JSON_TYPES[option["elements"]]}
    if "choices" in option:
        found["enum"] = option["choices"]
    if "default" in option:
        found["default"] = option["default"]
    if name == "api_token":
        found["format"] = "password"
    return found


def _marked(match: re.Match[str]) -> str:
    return f":ansplugin:`{match[2]}#module`" if match[1] == "M" else f"``{match[2]}``"


def yaml_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def module_constant(path: Path, name: str) -> str:
    """The text of a constant, without running the file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return str(ast.literal_eval(node.value))
    raise LookupError(f"{path} has no constant {name}.")


def page_head(origin: str, name: str, title: str, text: str) -> str:
    return _HEAD.format(origin=origin, name=name, title=title, underline="=" * len(title), text=text)


if __name__ == "__main__":
    PLAYBOOKS.write_text(playbooks_page(), encoding="utf-8")
    EVENT_SOURCE.write_text(event_source_page(), encoding="utf-8")
    SCHEMA.write_text(event_source_schema(), encoding="utf-8")
