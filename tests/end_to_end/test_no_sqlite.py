# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python that was built without SQLite: nothing is reported, that is said, and the playbook goes on."""

from __future__ import annotations

import sys

import pytest
from control_node import ControlNode, unbroken

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
TASK = """
- hosts: web1
  gather_facts: false
  tasks:
    - %s
      register: answer
      ignore_errors: true
    - ansible.builtin.debug:
        msg: "it says: {{ answer.msg }}"
"""
TASKS = (
    "flashcat.flashduty.flashduty_change: {change_key: A-1, change_status: Done, title: t}",
    "flashcat.flashduty.flashduty_flush:",
    "flashcat.flashduty.flashduty_outbox:",
)
TRACKED = """
- hosts: web1
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role:
            name: flashcat.flashduty.tracked_change
          vars: {tracked_change_key: A-1, tracked_change_title: t, tracked_change_role: no_such_role}
      rescue:
        - ansible.builtin.debug: {msg: the play goes on}
"""
DOCTOR = """
- hosts: web1
  gather_facts: false
  tasks:
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


@pytest.mark.parametrize("task", TASKS)
def test_a_task_fails_and_says_what_is_missing(without: ControlNode, task: str) -> None:
    del without.environment["ANSIBLE_CALLBACKS_ENABLED"]
    code, output = without.run(without.write("site.yml", TASK % task))
    told = unbroken(output)
    assert code == 0
    assert "it says: the Python module sqlite3 cannot be imported" in told
    assert "run Ansible with a Python that has it" in told
    assert "Traceback" not in output


def test_a_tracked_change_fails_in_its_task(without: ControlNode) -> None:
    code, output = without.run(without.write("site.yml", TRACKED))
    assert code == 0
    assert "the Python module sqlite3 cannot be imported" in unbroken(output)
    assert "the play goes on" in output
    assert "Traceback" not in output


def test_the_doctor_finds_it(without: ControlNode) -> None:
    code, output = without.run(without.write("doctor.yml", DOCTOR))
    assert code == 0
    assert "1 of it, False" in unbroken(output)
    assert "Traceback" not in output
