# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run may not be made to pay for."""

from __future__ import annotations

import py_compile
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from control_node import ControlNode, wait_until

import ansible_collections.flashcat.flashduty.plugins.plugin_utils._bytecode as bytecode

ROOMS = "ansible_collections.flashcat.flashduty.plugins."
PLAY = """
- hosts: {hosts}
  gather_facts: false
  tasks:
    - {task}
"""
TASK = "flashcat.flashduty.flashduty_change: {change_key: CHANGE-1, change_status: Processing, title: Upgrade}"

NOTHING = "ansible.builtin.debug: {msg: hello}"


def _imported(output: str) -> set[str]:
    """What ansible-playbook has imported, and where the core lets them say so, its workers."""
    return set(re.findall(r"^import time: .*\| +(\S+)$", output, re.MULTILINE))


def test_requests_is_never_imported_beside_the_tasks(control: ControlNode) -> None:
    control.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=TASK)))
    assert code == 0, output
    assert control.statuses() == ["Processing", "Processing", "Done"]
    found = _imported(output)
    assert ROOMS + "plugin_utils._run_report" in found
    assert ROOMS + "plugin_utils._task" in found
    assert not {"requests", "urllib3", ROOMS + "module_utils._api", ROOMS + "module_utils._delivery"} & found


def test_a_task_brings_nothing_of_the_callback_but_its_options(control: ControlNode) -> None:
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    control.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=TASK)))
    assert code == 0, output
    found = _imported(output)
    assert ROOMS + "plugin_utils._task" in found
    assert ROOMS + "plugin_utils._run_report" not in found


def _bytecode_of(control: ControlNode) -> list[Path]:
    return sorted((control.folder / "home" / "flashduty" / "bytecode").glob("*/*.pyc"))


def test_the_second_run_starts_from_what_the_first_one_compiled(control: ControlNode) -> None:
    seen = control.folder / "processes"
    ours = f"for line in /proc/[0-9]*/cmdline; do grep -qas {control.folder} $line && cat $line; done > {seen} || true"
    playbook = control.write("site.yml", PLAY.format(hosts="web1", task=f"ansible.builtin.shell: '{ours}'"))
    plugins = Path(bytecode.__file__).parents[1]
    rooms = [*plugins.glob("module_utils/*.py"), *plugins.glob("plugin_utils/*.py")]
    for number in (1, 2):
        assert control.run(playbook)[0] == 0
        # The courier compiles when everything is delivered.
        wait_until(lambda: len(_bytecode_of(control)) == len(rooms))
        assert (b"--bytecode" in seen.read_bytes()) == (number == 2)
    assert control.statuses() == ["Processing", "Done"] * 2


@pytest.mark.parametrize("room", ["plugin_utils/_run_report", "module_utils/_reporting"])
def test_each_door_imports_what_was_compiled(control: ControlNode, room: str) -> None:
    if room == "module_utils/_reporting":
        del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    playbook = control.write("site.yml", PLAY.format(hosts="web1", task=TASK))
    assert control.run(playbook)[0] == 0
    folder = control.folder / "home" / "flashduty" / "bytecode"
    wait_until((folder / "plugin_utils" / f"_value_rendering.{sys.implementation.cache_tag}.pyc").exists)
    # What the source does not say, but its bytecode, under the hash of the source.
    mark, source = control.folder / "mark", Path(bytecode.__file__).parents[1] / f"{room}.py"
    text = f"{source.read_text(encoding='utf-8')}\nopen({str(mark)!r}, 'w').close()\n"
    (kept,) = folder.glob(f"{room}.*.pyc")
    py_compile.compile(control.write("room.py", text), str(control.folder / "room.pyc"), doraise=True)
    kept.write_bytes(kept.read_bytes()[:16] + (control.folder / "room.pyc").read_bytes()[16:])
    assert control.run(playbook)[0] == 0
    assert mark.exists()


def test_damaged_bytecode_costs_time_and_nothing_else(control: ControlNode) -> None:
    playbook = control.write("site.yml", PLAY.format(hosts="web1", task=NOTHING))
    assert control.run(playbook)[0] == 0
    wait_until(lambda: any(f"_value_rendering.{sys.implementation.cache_tag}" in str(p) for p in _bytecode_of(control)))
    for file in _bytecode_of(control):
        file.write_bytes(file.read_bytes()[:60])
    code, output = control.run(playbook)
    assert code == 0, output
    assert "flashduty_change:" not in output
    assert control.statuses() == ["Processing", "Done"] * 2


@pytest.mark.parametrize(
    ("fault", "options"), [("refuse", {"seconds": 600}), ("status", {"status": 429, "retry_after": 600})]
)
def test_the_end_does_not_wait_for_an_api_to_get_well(
    control: ControlNode, fault: str, options: dict[str, Any]
) -> None:
    control.environment["FLASHDUTY_WAIT"] = "300"
    control.receiver.faults.set(fault, **options)
    code, output = control.run(control.write("site.yml", PLAY.format(hosts="web1", task=NOTHING)))
    assert code == 0, output
    assert output.count("not delivered yet") == 1
