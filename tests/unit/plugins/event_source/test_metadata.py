# Copyright (c) 2026, the auditops.cloudscale contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Galaxy, its importer and the engine look for where a collection brings event sources and rulebooks."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.auditops.cloudscale.plugins.module_utils import version
from ansible_collections.auditops.cloudscale.plugins.module_utils.events import watcher as watch
from ansible_collections.auditops.cloudscale.plugins.module_utils.settings import Connection

ROOT = Path(version.__file__).parents[2]
EDA = ROOT / "extensions/eda"
NAME = "auditops.cloudscale.project_logs"
SOURCE = ast.parse((EDA / "plugins/event_source/project_logs.py").read_text())


def text_of(name: str) -> Any:
    """The YAML in a variable of the source's file, which is not run for that: the importer does not run it, too."""
    (found,) = [
        node.value.value
        for node in SOURCE.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.targets[0].id == name
    ]
    return yaml.safe_load(found)


DOCUMENTED = text_of("DOCUMENTATION")


def test_galaxy_and_its_importer_find_the_event_sources() -> None:
    assert "eda" in yaml.safe_load((ROOT / "galaxy.yml").read_text())["tags"]
    extensions = yaml.safe_load((ROOT / "meta/extensions.yml").read_text())["extensions"]
    folders = [ROOT / "extensions" / extension["args"]["ext_dir"] for extension in extensions]
    assert folders == [folder for folder in sorted((EDA / "plugins").iterdir()) if folder.is_dir()]


def test_the_engine_finds_the_entry_point() -> None:
    (entry,) = [node for node in SOURCE.body if isinstance(node, ast.AsyncFunctionDef) and node.name == "main"]
    assert [argument.arg for argument in entry.args.args] == ["queue", "args"]


def test_every_argument_that_is_taken_is_documented_and_no_other() -> None:
    assert set(DOCUMENTED["options"]) == set(watch._OPTIONS)
    assert DOCUMENTED["short_description"]
    assert DOCUMENTED["description"]
    for name, option in DOCUMENTED["options"].items():
        assert option["description"], name
        assert option["type"] in ("str", "int", "float", "bool", "list"), name
        assert ("elements" in option) == (option["type"] == "list"), name


def test_the_documented_defaults_are_those_that_count() -> None:
    made = Connection("t")
    counted = {
        "api_url": made.api_url,
        "api_timeout": made.timeout,
        "api_retries": made.retries,
        "api_retry_budget": made.retry_budget,
        "validate_certs": made.validate_certs,
        "interval": watch.DEFAULT_INTERVAL,
    }
    assert {name: DOCUMENTED["options"][name]["default"] for name in counted} == counted


@pytest.mark.parametrize(
    "path", [None, *sorted((EDA / "rulebooks").glob("*.yml"))], ids=lambda path: path and path.stem
)
def test_examples_and_rulebooks_give_documented_arguments(path: Path | None) -> None:
    if path is None:
        sources = text_of("EXAMPLES")
    else:
        sources = [source for ruleset in yaml.safe_load(path.read_text()) for source in ruleset["sources"]]
    for source in sources:
        assert set(source) - {"name"} == {NAME}
        assert set(source[NAME]) <= set(DOCUMENTED["options"])
