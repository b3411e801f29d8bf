# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delegation is transport: the control node checks, compares, stores and retries; the other host only sends."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bastion import Bastion
from control_node import KEY, PATIENCE, ControlNode, of_each_task, unbroken, wait_until

TASK = """
    - flashcat.flashduty.flashduty_change:
        change_key: {key}
        change_status: {status}
        title: Upgrade
        {more}
      {delegate}
"""
DELEGATE = "delegate_to: bastion"


@pytest.fixture
def bastion(control: ControlNode, tmp_path: Path) -> Iterator[Bastion]:
    with Bastion(tmp_path) as running:
        with (control.folder / "inventory").open("a") as inventory:
            inventory.write("[bastions]\n" + running.inventory())
        # Without the callback nobody else has anything to send.
        del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
        yield running


def task(
    status: str = "Processing", key: str = "CHANGE-1", more: str = "force: false", delegate: str = DELEGATE
) -> str:
    return TASK.format(status=status, key=key, more=more, delegate=delegate)


def playbook(control: ControlNode, *tasks: str, hosts: str = "web1") -> str:
    return control.write("site.yml", f"- hosts: {hosts}\n  gather_facts: false\n  tasks:\n{''.join(tasks)}")


def waiting(control: ControlNode) -> list[tuple[str, str]]:
    """Status and state of each event in the outbox of the control node."""
    with closing(sqlite3.connect(control.folder / "home" / "flashduty" / "outbox.sqlite3")) as database:
        return database.execute("SELECT change_status, state FROM events ORDER BY id").fetchall()


def test_the_control_node_keeps_the_outbox_and_the_other_host_sends(control: ControlNode, bastion: Bastion) -> None:
    # Check mode and diff are the control node's.
    code, output = control.run("--check", "--diff", playbook(control, task()))
    assert code == 0, output
    assert "changed=1" in output
    assert "CHANGE-1" in output
    assert bastion.commands == ""
    assert not control.state.exists()
    assert control.receiver.requests() == []
    # Direct and delegated tasks compare with one outbox.
    first = [task(), task(key="CHANGE-2", delegate="")]
    second = [task(), task(delegate=""), task(key="CHANGE-2")]
    second += [task("Done", key="CHANGE-2", delegate=delegate) for delegate in (DELEGATE, "")]
    for tasks, changed in ((first, [True, True]), (second, [False, False, False, True, False])):
        code, output = control.run(playbook(control, *tasks))
        assert code == 0, output
        parts = of_each_task(output)
        assert ["changed: [" in part for part in parts] == changed
        assert ["[web1 -> bastion(127.0.0.1)]" in part for part in parts] == [DELEGATE in each for each in tasks]
    assert control.statuses() == ["Processing", "Processing", "Done"]
    assert waiting(control) == [(status, "delivered") for status in control.statuses()]
    assert [request["user_agent"] for request in control.receiver.requests()]
    assert not any("flashduty" in path.name for path in bastion.files())
    assert KEY not in bastion.commands
    assert not any(KEY.encode() in path.read_bytes() for path in bastion.files())


def test_files_are_those_of_the_host_that_sends(control: ControlNode, bastion: Bastion) -> None:
    push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
    (bastion.home / "key").write_text(f"{push_url}\n")
    more = 'integration_key_file: "~/key"'
    code, output = control.run(playbook(control, task(more=more)))
    assert code == 0, output
    missing = task("Done", more=f'{more}\n        ca_path: "~/missing.pem"')
    code, output = control.run(playbook(control, task(more=more), missing))
    assert code == 2, output
    again, failed = of_each_task(output)
    assert "ok: [web1 -> bastion(127.0.0.1)]" in again
    assert f"ca_path: cannot read {bastion.home}/missing.pem" in failed
    assert control.statuses() == ["Processing"]


def test_a_refusal_is_told_as_flashduty_tells_it_and_a_host_that_cannot_run_the_module_says_so(
    control: ControlNode, bastion: Bastion
) -> None:
    control.environment["FLASHDUTY_PUSH_URL"] = control.receiver.push_url("wrong-key-0123456789")
    with (control.folder / "inventory").open("a") as inventory:
        inventory.write(bastion.inventory().replace("bastion", "bare", 1).replace(sys.executable, "/missing/python"))
    refused = task() + "      ignore_errors: true\n"
    code, output = control.run(playbook(control, refused, task("Done", key="CHANGE-2", delegate="delegate_to: bare")))
    assert code == 2, output
    told, not_run = of_each_task(output)
    assert "FAILED!" in told
    assert "Flashduty refused the event of change CHANGE-1: InvalidParameter" in told
    assert "wrong-key" not in output
    assert "nobody can deliver it now" in not_run
    assert waiting(control) == [("Processing", "refused"), ("Done", "waiting")]


def test_a_host_that_dies_in_the_middle_leaves_the_event_here(
    control: ControlNode, bastion: Bastion, tmp_path: Path
) -> None:
    control.receiver.faults.set("hang")
    on_failure = "on_delivery_failure: \"{{ {'web1': 'fail', 'web2': 'queue'}[inventory_hostname] }}\""
    tasks = task("Done", '"{{ inventory_hostname }}"', on_failure)
    with control.start(playbook(control, tasks, hosts="web")) as process:
        wait_until(lambda: len(control.receiver.requests()) == 2)
        bastion.die()
        output, _none = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 2, output
    for host, failed in (("web1", 1), ("web2", 0)):
        assert re.search(rf"{host} .*failed={failed}", output)
        assert f"The event of change {host} stays in" in unbroken(output)
    assert waiting(control) == [("Done", "waiting")] * 2
    control.receiver.faults.clear()
    (tmp_path / "again").mkdir()
    with Bastion(tmp_path / "again") as other:
        text = (control.folder / "inventory").read_text()
        (control.folder / "inventory").write_text(text.partition("[bastions]")[0] + "[bastions]\n" + other.inventory())
        flush = control.write(
            "flush.yml",
            "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
            "    - flashcat.flashduty.flashduty_flush:\n      delegate_to: bastion\n",
        )
        code, output = control.run(flush)
        assert code == 0, output
    assert waiting(control) == [("Done", "delivered")] * 2


def test_earlier_events_of_the_change_go_first(control: ControlNode, bastion: Bastion) -> None:
    control.receiver.faults.set("refuse", seconds=3600)
    queued = task(more="timeout: 2\n        on_delivery_failure: queue", delegate="")
    outage = "    - ansible.builtin.raw: touch queued; until [ -e over ]; do sleep 0.1; done\n"
    with control.start(playbook(control, queued, outage, task("Done"))) as process:
        wait_until((control.folder / "queued").exists)
        control.receiver.faults.clear()
        control.write("over", "")
        output, _none = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == 0, output
    assert control.statuses() == ["Processing", "Done"]
