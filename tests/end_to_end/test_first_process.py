# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ansible-playbook as the command of a container: it is process 1, and everything there ends with it."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from control_node import ANSIBLE_PLAYBOOK, PATIENCE, ControlNode, container, unbroken

pytestmark = pytest.mark.slow

PLAYBOOK = """
- hosts: web1
  gather_facts: false
  tasks:
    - ansible.builtin.raw: tr '\\0' ' ' </proc/1/cmdline
      register: first
    - ansible.builtin.assert:
        that: "'site.yml' in first.stdout"
    - flashcat.flashduty.flashduty_change: {{change_key: A-1, change_status: Processing, title: t}}
    - ansible.builtin.raw: grep -l 'flashduty-couri)' /proc/[0-9]*/stat 2>/dev/null | wc -l
      register: couriers
    - ansible.builtin.raw: "{ansible_playbook} -i inventory nested.yml"
    # Its courier outlives it, ends, and is left to process 1, which may have reaped it by now.
    - ansible.builtin.raw: "i=0; until grep -q 'flashduty-couri) Z' /proc/[0-9]*/stat ||
        [ $(grep -l 'flashduty-couri)' /proc/[0-9]*/stat | wc -l) -le {{{{ couriers.stdout | trim }}}} ]; do
        [ $((i+=1)) -lt 300 ] || exit 1; sleep 0.1; done 2>/dev/null"
- hosts: web2
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {{change_key: A-1, change_status: Done, title: t}}
    - ansible.builtin.raw: grep 'flashduty-couri) Z' /proc/[0-9]*/stat 2>/dev/null || echo none is left
"""
NESTED = "- hosts: db1\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: 'true'\n"


def _run(control: ControlNode, playbook: str) -> tuple[int, str]:
    done = subprocess.run(
        [*container(), ANSIBLE_PLAYBOOK, "-v", "-i", "inventory", control.write("site.yml", playbook)],
        cwd=control.folder,
        env=control.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=90,
        check=False,
    )
    print(done.stdout)
    return done.returncode, done.stdout


def test_that_nothing_delivers_after_it_is_told_and_it_reaps_the_couriers_that_are_left_to_it(
    control: ControlNode,
) -> None:
    control.receiver.faults.set("status", status=503)
    control.environment["FLASHDUTY_WAIT"] = "1"
    code, output = _run(control, NESTED)
    told = unbroken(output)
    assert code == 0
    assert "2 events not delivered yet" in told
    assert "nothing delivers once ansible-playbook, the first process of its container, has ended" in told
    assert "background" not in told
    control.receiver.faults.clear()
    control.environment["FLASHDUTY_WAIT"] = str(PATIENCE)
    control.write("nested.yml", NESTED)
    code, output = _run(control, PLAYBOOK.format(ansible_playbook=shlex.quote(ANSIBLE_PLAYBOOK)))
    assert code == 0
    assert "none is left" in output
    assert "not delivered" not in output
    # Those of the first run, of the second, of the one within it, and of its tasks.
    assert sorted(control.statuses()) == ["Done"] * 4 + ["Processing"] * 4
