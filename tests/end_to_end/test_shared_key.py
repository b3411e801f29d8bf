# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Several runs that report to one change, by a key that they are given: the last one to end closes it."""

from __future__ import annotations

import os
import shlex
import signal

import pytest
from control_node import ANSIBLE_PLAYBOOK, ControlNode, wait_until

TICKET = ("-e", "flashduty_change_key=CHG-1042")
OUTER = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "{playbook} -i inventory inner.yml -e flashduty_change_key=CHG-1042"
      run_once: true
      failed_when: false
    - ansible.builtin.debug:
        msg: "{{{{ lookup('ansible.builtin.env', 'FLASHDUTY_PUSH_URL') | length }}}}"
      changed_when: true
      run_once: true
"""
INNER = """
- hosts: db
  gather_facts: false
  tasks:
    - name: Migrate
      ansible.builtin.raw: /bin/{command}
"""
WAITS = """
- hosts: {hosts}
  gather_facts: false
  tasks:
    - ansible.builtin.raw: "for i in $(seq 60); do [ -e {file} ] && exit; sleep 1; done; exit 1"
"""


@pytest.mark.parametrize(("command", "status", "result"), [("true", "Done", "ok"), ("false", "Canceled", "failed")])
def test_an_inner_run_does_not_close_what_an_outer_one_still_does(
    control: ControlNode, command: str, status: str, result: str
) -> None:
    control.write("inner.yml", INNER.format(command=command))
    path = control.write("outer.yml", OUTER.format(playbook=shlex.quote(ANSIBLE_PLAYBOOK)))
    assert control.run(*TICKET, path)[0] == 0
    assert control.statuses() == ["Processing", "Processing", status]
    change = control.only_change()
    # It keeps the labels that it was begun with, and tells the worst of its runs.
    assert change["labels"]["host"] == "web1,web2"
    assert change["labels"]["result"] == result
    assert change["labels"].get("failed_host") == (None if command == "true" else "db1")
    # One host of the outer run, and one of the inner where it succeeds.
    assert change["labels"]["changed_hosts"] == ("2" if command == "true" else "1")
    assert "2 of 2 hosts ok" in control.last_text()
    assert "of 1 host ok" in control.last_text()


def test_of_parallel_runs_the_last_one_closes_the_change_also_where_it_is_killed(control: ControlNode) -> None:
    first = control.start(*TICKET, control.write("first.yml", WAITS.format(hosts="web", file="never")))
    wait_until(lambda: len(control.statuses()) == 1)
    second = control.start(*TICKET, control.write("second.yml", WAITS.format(hosts="db", file="go")))
    wait_until(lambda: len(control.statuses()) == 2)
    control.write("go", "")
    output, _none = second.communicate(timeout=90)
    assert second.returncode == 0, output
    assert control.statuses() == ["Processing", "Processing"]
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    wait_until(lambda: len(control.statuses()) == 3)
    change = control.only_change()
    assert (change["change_status"], change["labels"]["result"]) == ("Canceled", "killed")
    assert change["labels"]["host"] == "web1,web2"
    assert "1 of 1 host ok" in control.last_text()
