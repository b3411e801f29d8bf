# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules' and roles' documentation says is what they take: options, choices, defaults, examples."""

from __future__ import annotations

import configparser
import importlib
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.flashcat.flashduty.plugins import modules
from ansible_collections.flashcat.flashduty.plugins.doc_fragments.connection import ModuleDocFragment
from ansible_collections.flashcat.flashduty.plugins.module_utils._argspec import (
    CHANGE_OPTIONS,
    CONNECTION_OPTIONS,
    FLUSH_OPTIONS,
    OUTBOX_DATABASE_OPTIONS,
    OUTBOX_OPTIONS,
    PART_OPTIONS,
    QUERY_OPTIONS,
)

COLLECTION = "flashcat.flashduty."
SPECS: dict[str, dict[str, Any]] = {
    "flashduty_change": CHANGE_OPTIONS,
    "flashduty_change_info": QUERY_OPTIONS,
    "flashduty_change_part": PART_OPTIONS,
    "flashduty_doctor": {},
    "flashduty_flush": FLUSH_OPTIONS,
    "flashduty_outbox": OUTBOX_OPTIONS,
    "flashduty_outbox_database": OUTBOX_DATABASE_OPTIONS,
}
INSTALLED = Path(next(iter(modules.__path__))).parents[1]


def documentation(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.flashcat.flashduty.plugins.modules.{name}")


def module_calls(tasks: Any) -> list[tuple[str, dict[str, Any]]]:
    """Each call of one of our modules, blocks included."""
    found = []
    for task in tasks:
        for part in ("block", "rescue", "always", "tasks"):
            found += module_calls(task.get(part) or ())
        found += [(key[len(COLLECTION) :], value or {}) for key, value in task.items() if key.startswith(COLLECTION)]
    return found


def test_every_module_is_here_and_in_the_action_group() -> None:
    runtime = yaml.safe_load((INSTALLED / "meta" / "runtime.yml").read_text())
    files = {path.stem for path in (INSTALLED / "plugins" / "modules").glob("*.py")}
    actions = {path.stem for path in (INSTALLED / "plugins" / "action").glob("*.py")}
    assert files == actions == set(SPECS) == set(runtime["action_groups"]["flashduty"])


@pytest.mark.parametrize("name", SPECS)
def test_documented_options_are_those_of_the_specification(name: str) -> None:
    documented = yaml.safe_load(documentation(name).DOCUMENTATION).get("options") or {}
    assert set(documented) == set(SPECS[name])
    for option, spec in SPECS[name].items():
        for key in ("type", "required", "choices", "default", "elements"):
            given, default = documented[option].get(key), {"type": "str", "required": False}.get(key)
            assert (option, key, given or default) == (option, key, spec.get(key) or default)
    fragment = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    assert {key: value["type"] for key, value in fragment.items()} == {
        key: value["type"] for key, value in CONNECTION_OPTIONS.items()
    }


@pytest.mark.parametrize("name", SPECS)
def test_examples_are_valid(name: str) -> None:
    tasks = yaml.safe_load(documentation(name).EXAMPLES)
    calls = module_calls(tasks)
    assert calls
    assert all(task.get("name") for task in tasks)
    for called, options in calls:
        result = ArgumentSpecValidator({**SPECS[called], **CONNECTION_OPTIONS}).validate(options)
        assert result.error_messages == []


def test_examples_of_the_callback_set_options_that_it_has() -> None:
    callback = importlib.import_module("ansible_collections.flashcat.flashduty.plugins.callback.flashduty_change")
    options = {
        **yaml.safe_load(ModuleDocFragment.PLUGIN)["options"],
        **yaml.safe_load(callback.DOCUMENTATION)["options"],
    }
    variables = {entry["name"]: option for option in options.values() for entry in option.get("vars", ())}
    # The templates', which ansible-core must not render by itself, and each host's labels.
    variables |= {f"flashduty_{name}": options[name] for name in ("change_key", "title", "description", "link")}
    variables["flashduty_labels"] = options["labels"]
    plays = yaml.safe_load(callback.EXAMPLES)
    settings = [(name, value) for play in plays for name, value in play["vars"].items()]
    assert settings
    assert all(play["name"] for play in plays)
    for name, value in settings:
        assert value in variables[name].get("choices", [value]), name
    written = configparser.ConfigParser()
    written.read_string(textwrap.dedent("\n".join(re.findall(r"^#(   .*)$", callback.EXAMPLES, re.MULTILINE))))
    assert written["defaults"]["callbacks_enabled"] == f"{COLLECTION}flashduty_change"
    keys = {entry["key"]: option for option in options.values() for entry in option["ini"]}
    for key, value in written["callback_flashduty_change"].items():
        assert value in keys[key].get("choices", [value]), key


@pytest.mark.parametrize("role", sorted(path.name for path in (INSTALLED / "roles").iterdir()))
def test_roles_document_what_their_files_use(role: str) -> None:
    folder = INSTALLED / "roles" / role
    specs = yaml.safe_load((folder / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    defaults = yaml.safe_load((folder / "defaults" / "main.yml").read_text())
    documented: dict[str, Any] = {}
    for spec in specs.values():
        documented.update(spec["options"])
    assert {name for name in documented if not documented[name].get("required")} == set(defaults)
    assert all(name.startswith(f"{role}_") for name in documented)
    for name, option in documented.items():
        assert option.get("default", defaults.get(name)) == defaults.get(name), name
    readme = (folder / "README.md").read_text()
    assert [name for name in documented if name not in readme] == []
    assert set(re.findall(rf"{role}_\w+", readme)) <= set(documented)
    for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL):
        for play in yaml.safe_load(block):
            for task in play["tasks"]:
                assert set(task["vars"]) <= set(documented)
