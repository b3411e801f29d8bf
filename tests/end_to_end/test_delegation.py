# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delegation is transport: the control node checks, compares, stores and retries; the other host only sends."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from bastion import Bastion
from control_node import KEY, PATIENCE, ControlNode, wait_until

PLAY = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change:
        change_key: CHANGE-1
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


def play(control: ControlNode, status: str = "Processing", more: str = "force: false", delegate: str = DELEGATE) -> str:
    return control.write(f"{status}.yml", PLAY.format(status=status, more=more, delegate=delegate))


def waiting(control: ControlNode) -> list[tuple[str, str]]:
    """Status and state of each event in the outbox of the control node."""
    with closing(sqlite3.connect(control.folder / "home" / "flashduty" / "outbox.sqlite3")) as database:
        return database.execute("SELECT change_status, state FROM events ORDER BY id").fetchall()


def test_the_control_node_keeps_the_outbox_and_the_other_host_sends(control: ControlNode, bastion: Bastion) -> None:
    for changed in (1, 0):
        code, output = control.run(play(control))
        assert code == 0, output
        assert output.count("changed: [web1 -> bastion(127.0.0.1)]") == changed, output
    assert control.statuses() == ["Processing"]
    assert waiting(control) == [("Processing", "delivered")]
    assert not any("flashduty" in path.name for path in bastion.files())
    assert KEY not in bastion.commands
    assert not any(KEY.encode() in path.read_bytes() for path in bastion.files())


def test_direct_and_delegated_tasks_compare_with_one_outbox(control: ControlNode, bastion: Bastion) -> None:
    for delegate, changed in (("", 1), (DELEGATE, 0)):
        code, output = control.run(play(control, delegate=delegate))
        assert code == 0, output
        assert f"changed={changed}" in output
    assert control.run(play(control, "Done"))[0] == 0
    assert "changed=0" in control.run(play(control, "Done", delegate=""))[1]
    assert control.statuses() == ["Processing", "Done"]
    assert [request["user_agent"] for request in control.receiver.requests()]


def test_check_mode_and_diff_are_the_control_nodes(control: ControlNode, bastion: Bastion) -> None:
    code, output = control.run("--check", "--diff", play(control))
    assert code == 0, output
    assert "changed=1" in output
    assert "CHANGE-1" in output
    assert bastion.commands == ""
    assert not (control.folder / "home" / "flashduty").exists()
    assert control.receiver.requests() == []


def test_files_are_those_of_the_host_that_sends(control: ControlNode, bastion: Bastion) -> None:
    push_url = control.environment.pop("FLASHDUTY_PUSH_URL")
    (bastion.home / "key").write_text(f"{push_url}\n")
    more = 'integration_key_file: "~/key"'
    code, output = control.run(play(control, more=more))
    assert code == 0, output
    assert "changed=0" in control.run(play(control, more=more))[1]
    assert control.statuses() == ["Processing"]
    code, output = control.run(play(control, "Done", more=f'{more}\n        ca_path: "~/missing.pem"'))
    assert code == 2, output
    assert f"ca_path: cannot read {bastion.home}/missing.pem" in " ".join(output.split())


def test_a_host_that_cannot_run_the_module_says_so(control: ControlNode, bastion: Bastion) -> None:
    text = (control.folder / "inventory").read_text()
    before, _bastions, after = text.partition("[bastions]")
    (control.folder / "inventory").write_text(before + "[bastions]" + after.replace(sys.executable, "/missing/python"))
    code, output = control.run(play(control, "Done"))
    assert code == 2, output
    assert "nobody can deliver it now" in " ".join(output.split())
    assert waiting(control) == [("Done", "waiting")]


@pytest.mark.parametrize("on_failure", ["fail", "queue"])
def test_a_host_that_dies_in_the_middle_leaves_the_event_here(
    control: ControlNode, bastion: Bastion, tmp_path: Path, on_failure: str
) -> None:
    control.receiver.faults.set("hang")
    with control.start(play(control, "Done", f"on_delivery_failure: {on_failure}")) as process:
        wait_until(control.receiver.requests)
        bastion.die()
        output, _none = process.communicate(timeout=2 * PATIENCE)
    assert process.returncode == (0 if on_failure == "queue" else 2), output
    assert "stays in" in " ".join(output.split())
    assert waiting(control) == [("Done", "waiting")]
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
    assert waiting(control) == [("Done", "delivered")]


def test_earlier_events_of_the_change_go_first(control: ControlNode, bastion: Bastion) -> None:
    control.environment["FLASHDUTY_TIMEOUT"] = "2"
    control.receiver.faults.set("refuse", seconds=3600)
    assert control.run(play(control, "Processing", "on_delivery_failure: queue", delegate=""))[0] == 0
    control.receiver.faults.clear()
    control.environment["FLASHDUTY_TIMEOUT"] = str(PATIENCE)
    assert control.run(play(control, "Done"))[0] == 0
    assert control.statuses() == ["Processing", "Done"]


def test_a_refusal_is_told_as_flashduty_tells_it(control: ControlNode, bastion: Bastion) -> None:
    control.environment["FLASHDUTY_PUSH_URL"] = control.receiver.push_url("wrong-key-0123456789")
    code, output = control.run(play(control))
    assert code == 2, output
    assert "Flashduty refused the event of change CHANGE-1: InvalidParameter" in " ".join(output.split())
    assert "wrong-key" not in output
    assert waiting(control) == [("Processing", "refused")]
