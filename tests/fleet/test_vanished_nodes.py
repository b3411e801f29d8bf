# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that vanishes whole in the middle of a task leaves its change open no longer than three signs of life."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest
from control_node import container, unbroken, wait_until
from fleet import FLUSH, PROMISED, Node, check_closed, of_change
from postgresql import Database

from flashduty_sandbox.receiver import Receiver

SITE = """
- hosts: web
  gather_facts: false
  tasks:
    - ansible.builtin.raw: sleep 100
"""


def open_change(node: Node, receiver: Receiver) -> subprocess.Popen[str]:
    """A run in a container, in the middle of its task; its change is open."""
    node.start_by = container()
    process = node.start("-e", "flashduty_change_key=vanished", node.write("site.yml", SITE))
    wait_until(lambda: of_change(receiver, "vanished"))
    time.sleep(0.5)
    return process


def vanish(node: Node, process: subprocess.Popen[str]) -> float:
    node.vanish()
    process.communicate(timeout=30)
    return time.monotonic()


def test_the_courier_of_another_node_closes_it(
    new_node: Callable[[str], Node], database: Database, receiver: Receiver
) -> None:
    other, gone = new_node("other"), new_node("gone")
    with other.start("-e", "flashduty_change_key=other", other.write("site.yml", SITE)):
        try:
            check_closed(receiver, "vanished", vanish(gone, open_change(gone, receiver)))
        finally:
            other.kill()
    assert database.rows("SELECT count(*) FROM flashduty.runs WHERE closed_at IS NULL") == [(1,)]


def test_a_flush_on_another_node_closes_it(
    new_node: Callable[[str], Node], database: Database, receiver: Receiver
) -> None:
    other, gone = new_node("other"), new_node("gone")
    vanished_at = vanish(gone, open_change(gone, receiver))
    time.sleep(PROMISED - (time.monotonic() - vanished_at))
    code, output = other.run(FLUSH)
    assert code == 0, unbroken(output)
    check_closed(receiver, "vanished", vanished_at)
    assert database.rows("SELECT count(*) FROM flashduty.runs WHERE closed_at IS NULL") == [(0,)]


@pytest.mark.parametrize("count", [4])
def test_what_a_vanished_node_could_not_deliver_is_delivered_by_another(
    new_node: Callable[[str], Node], receiver: Receiver, database: Database, count: int
) -> None:
    gone, other = new_node("gone"), new_node("other")
    receiver.faults.set("status", status=503)
    tasks = "".join(
        f"    - flashcat.flashduty.flashduty_change: {{change_key: left-{number}, change_status: {status}, title: t,"
        " timeout: 1, on_delivery_failure: queue}\n"
        for number in range(count)
        for status in ("Processing", "Done")
    )
    del gone.environment["ANSIBLE_CALLBACKS_ENABLED"]
    gone.run(gone.write("site.yml", f"- hosts: web1\n  gather_facts: false\n  tasks:\n{tasks}"))
    wait_until(lambda: database.rows("SELECT count(*) FROM flashduty.events") == [(2 * count,)])
    gone.vanish()
    receiver.faults.clear()
    time.sleep(PROMISED)
    assert other.run(FLUSH)[0] == 0
    for number in range(count):
        wait_until(lambda number=number: len(of_change(receiver, f"left-{number}")) == 2)  # type: ignore[misc]
        assert [body["change_status"] for body in of_change(receiver, f"left-{number}")] == ["Processing", "Done"]
