# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python that was built without SQLite: nothing is reported, that is said, and the playbook goes on."""

from __future__ import annotations

import re
import sys

import pytest
from control_node import ControlNode, unbroken

pytestmark = pytest.mark.slow

PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: the first play}
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: the second play}
"""
TASKS = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {change_key: A-1, change_status: Done, title: t}
      register: change
      ignore_errors: true
    - flashcat.flashduty.flashduty_flush:
      register: flush
      ignore_errors: true
    - flashcat.flashduty.flashduty_outbox:
      register: outbox
      ignore_errors: true
    - ansible.builtin.debug:
        msg: "it says: {{ item.msg }}"
      loop: "{{ [change, flush, outbox] }}"
      loop_control: {label: ""}
    - block:
        - ansible.builtin.include_role:
            name: flashcat.flashduty.tracked_change
          vars: {tracked_change_key: A-1, tracked_change_title: t, tracked_change_role: no_such_role}
      rescue:
        - ansible.builtin.debug:
            msg: "the play goes on: {{ ansible_failed_result.msg }}"
    - flashcat.flashduty.flashduty_doctor:
      register: doctor
    - ansible.builtin.debug:
        msg: "{{ doctor.lines | select('search', 'sqlite3') | list | length }} of it, {{ doctor.healthy }}"
"""


@pytest.fixture
def without(control: ControlNode) -> ControlNode:
    """A control node whose Python has no SQLite."""
    (control.folder / "lib").mkdir()
    control.write("lib/_sqlite3.py", "raise ModuleNotFoundError(\"No module named '_sqlite3'\", name='_sqlite3')")
    control.environment["PYTHONPATH"] = str(control.folder / "lib")
    return control


def test_a_run_warns_once_and_goes_on(without: ControlNode) -> None:
    code, output = without.run(without.write("site.yml", PLAYBOOK))
    told = unbroken(output)
    assert code == 0
    assert told.count("flashduty_change:") == 1
    assert "this run is not reported to Flashduty: the Python module sqlite3 cannot be imported" in told
    assert f"by {sys.executable} (No module named '_sqlite3')" in told
    assert "the second play" in told
    assert "Traceback" not in output
    assert without.statuses() == []
    # Neither a folder nor a spool was made for what cannot be stored.
    assert not without.state.exists()
    assert not any(spool.exists() for spool in without.spools)


def test_a_preview_needs_no_sqlite(without: ControlNode) -> None:
    without.environment["FLASHDUTY_PREVIEW"] = "1"
    code, output = without.run(without.write("site.yml", PLAYBOOK))
    assert (code, "sqlite3" in output) == (0, False)
    assert "the second play" in output
    assert "Processing" in output


def test_tasks_fail_and_say_what_is_missing_and_the_doctor_finds_it(without: ControlNode) -> None:
    del without.environment["ANSIBLE_CALLBACKS_ENABLED"]
    code, output = without.run(without.write("site.yml", TASKS))
    told = unbroken(output)
    assert code == 0
    missing = "the Python module sqlite3 cannot be imported .*? run Ansible with a Python that has it"
    assert re.findall(f"(it says|the play goes on): {missing}", told) == ["it says"] * 3 + ["the play goes on"]
    assert "1 of it, False" in told
    assert "Traceback" not in output
