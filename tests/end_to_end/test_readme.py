# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every block of the README is run, or checked against what it names."""

from __future__ import annotations

import re
import shlex
import textwrap
from pathlib import Path

import yaml
from control_node import ControlNode

from ansible_collections.flashcat.flashduty import plugins
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._options import TEMPLATES

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSTALLED = Path(next(iter(plugins.__path__))).parent


def _blocks(language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", README, re.MULTILINE | re.DOTALL)
    assert found
    return [textwrap.dedent(text) for _indent, text in found]


def test_the_kinds_of_blocks_are_known() -> None:
    assert set(re.findall(r"^ *```(\w+)$", README, re.MULTILINE)) == {"shell", "ini", "yaml"}


def test_the_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in "".join(_blocks("shell")).splitlines():
        words = shlex.split(line)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE)
        elif words[0] == "ansible-playbook":
            collection, _dot, name = words[1].rpartition(".")
            assert (collection, name) == ("site", "yml") or (INSTALLED / "playbooks" / f"{name}.yml").exists()
        elif words[0] == ".":
            # What test_sandbox.py reads.
            assert words[1:] == ["~/.ansible/flashduty/sandbox/environment"]
        elif words[0] == "export":
            name, _equals, value = words[1].partition("=")
            assert name == "FLASHDUTY_PUSH_URL"
            assert Connection.from_options({"push_url": value}).integration_key == "YOUR_KEY"
        else:
            assert words[:3] in (["ansible-galaxy", "collection", "install"], ["python3", "-m", "pip"])


def test_the_configuration_and_the_task_work_as_they_stand(control: ControlNode) -> None:
    (configuration,) = _blocks("ini")
    (tasks,) = [block for block in _blocks("yaml") if block.startswith("- name:")]
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    control.environment["ANSIBLE_CONFIG"] = control.write("ansible.cfg", configuration)
    play = [{"hosts": "web", "gather_facts": False, "tasks": yaml.safe_load(tasks)}]
    code, output = control.run(control.write("site.yml", yaml.safe_dump(play)))
    assert code == 0, output
    assert sorted(control.statuses()) == ["Done", "Processing", "Processing"]


def test_the_options_and_variables_it_names_are_documented() -> None:
    source = (INSTALLED / "plugins" / "callback" / "flashduty_change.py").read_text(encoding="utf-8")
    match = re.search(r'DOCUMENTATION = r"""(.*?)"""', source, re.DOTALL)
    assert match
    options = yaml.safe_load(match[1])["options"]
    variables = {entry["name"] for option in options.values() for entry in option.get("vars", [])}
    variables |= set(TEMPLATES.values())
    rows = [line.split("|") for line in README.splitlines() if line.startswith("| `")]
    assert rows
    for _start, named, named_variables, *_rest in rows:
        assert set(re.findall(r"\w+", named)) <= set(options)
        assert set(re.findall(r"`(\w+)`", named_variables)) <= variables
    for name in options["label_vars"]["default"]:
        assert f"`{name}`" in README
