# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where no courier can work, that is said at once and as it is."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from control_node import PATIENCE, ControlNode, unbroken

PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
"""
DOCTOR_AND_TASK = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_doctor:
      register: doctor
    - ansible.builtin.debug:
        msg: "{{ doctor.findings | selectattr('check', 'equalto', 'requests') }}"
    - flashcat.flashduty.flashduty_change: {change_key: A-1, change_status: Done, title: t}
"""


@pytest.fixture
def damaged(control: ControlNode) -> ControlNode:
    """A control node whose requests cannot be imported."""
    (control.folder / "lib").mkdir()
    control.write("lib/requests.py", "raise AttributeError('made for another urllib3')")
    control.environment["PYTHONPATH"] = str(control.folder / "lib")
    return control


def test_a_run_says_why_nothing_is_delivered_and_does_not_wait(damaged: ControlNode) -> None:
    begun = time.monotonic()
    code, output = damaged.run(damaged.write("site.yml", PLAYBOOK))
    assert time.monotonic() - begun < PATIENCE * 0.7
    assert code == 0
    told = unbroken(output)
    assert told.count("flashduty_change:") == 1
    for part in (
        "2 events not delivered",
        "AttributeError: made for another urllib3",
        "lib/requests.py",
        "pip install",
    ):
        assert part in told
    for part in ("background", "Traceback", "no answer yet"):
        assert part not in told
    # Once that is repaired, nothing is lost.
    del damaged.environment["PYTHONPATH"]
    assert damaged.run(damaged.write("site.yml", PLAYBOOK))[0] == 0
    # The two changes go out beside each other.
    assert sorted(damaged.statuses()) == ["Done", "Done", "Processing", "Processing"]


def test_the_doctor_and_a_task_that_fails_say_why_and_do_not_wait(damaged: ControlNode) -> None:
    del damaged.environment["ANSIBLE_CALLBACKS_ENABLED"]
    begun = time.monotonic()
    code, output = damaged.run(damaged.write("site.yml", DOCTOR_AND_TASK))
    assert time.monotonic() - begun < PATIENCE * 0.7
    assert code == 2
    doctor, heading, task = output.partition("TASK [flashcat.flashduty.flashduty_change]")
    assert heading
    assert '"state": "fail"' in doctor
    for told in (doctor, task):
        assert "AttributeError: made for another urllib3" in unbroken(told)
    assert "Traceback" not in task


def test_what_lies_beside_the_playbook_is_not_imported(control: ControlNode) -> None:
    control.write("requests.py", f"open({str(control.folder / 'imported')!r}, 'w'); raise RuntimeError")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "inventory", control.write("site.yml", PLAYBOOK)],
        cwd=control.folder,
        env={**control.environment, "PYTHONPATH": ":/no/such/folder"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, "flashduty_change" in done.stderr) == (0, False), done.stderr
    assert control.statuses() == ["Processing", "Done"]
    assert not (control.folder / "imported").exists()


def test_without_named_pipes_everything_is_delivered(control: ControlNode, another_tmpdir: str) -> None:
    (control.folder / "lib").mkdir()
    control.write(
        "lib/sitecustomize.py",
        "import errno, os\nmkfifo = os.mkfifo\n"
        "def without(path, *rest):\n"
        "    if '/home/' in path: raise OSError(errno.EOPNOTSUPP, 'Operation not supported', path)\n"
        "    mkfifo(path, *rest)\n"
        "os.mkfifo = without\n",
    )
    control.environment["PYTHONPATH"] = str(control.folder / "lib")
    control.environment["TMPDIR"] = another_tmpdir
    code, output = control.run(control.write("site.yml", PLAYBOOK))
    assert (code, "flashduty_change:" in output) == (0, False)
    assert control.statuses() == ["Processing", "Done"]
