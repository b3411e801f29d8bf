# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What flush, outbox and doctor do and show of all nodes, on one that has reported nothing itself."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from fleet import FLUSH, Node, of_change
from postgresql import Database, PostgreSQL

from flashduty_sandbox.receiver import Receiver

OUTBOX, DOCTOR = "flashcat.flashduty.outbox", "flashcat.flashduty.doctor"
SITE = """
- name: Upgrade
  hosts: web1
  gather_facts: false
  vars:
    flashduty_change_key: CHANGE-1
  tasks:
    - ansible.builtin.raw: sleep {seconds}
"""


@pytest.fixture
def vanished(new_node: Callable[[str], Node], receiver: Receiver, database: Database) -> None:
    """A node has vanished in the middle of a run, and was not heard of for a minute."""
    node = new_node("vanished")
    node.start(node.write("site.yml", SITE.format(seconds=600)))
    entered = "SELECT 1 FROM flashduty.events WHERE state = 'delivered'"
    end = time.monotonic() + 60
    while not (database.rows(entered) and receiver.events()):
        assert time.monotonic() < end
        time.sleep(0.05)
    node.vanish()
    database.server.execute("UPDATE flashduty.runs SET seen_at = seen_at - 60", database.name)


def test_flush_closes_what_another_node_left_and_counts_it(
    vanished: None, new_node: Callable[[str], Node], receiver: Receiver
) -> None:
    node = new_node("another")
    code, output = node.run(FLUSH, "--check")
    assert (code, "checked only: 0 delivered, 0 waiting, 1 closed" in output) == (0, True), output
    code, output = node.run(FLUSH)
    assert (code, "1 delivered, 0 waiting, 1 closed, 0 refused" in output) == (0, True), output
    assert [body["change_status"] for body in of_change(receiver, "CHANGE-1")] == ["Processing", "Canceled"]
    code, output = node.run(FLUSH)
    assert (code, "0 delivered, 0 waiting, 0 closed" in output) == (0, True), output


def test_the_doctor_sees_what_is_open_and_what_has_vanished(
    vanished: None, new_node: Callable[[str], Node], database: Database
) -> None:
    code, output = new_node("another").run(DOCTOR)
    text = " ".join(output.split())
    assert code == 0, output
    assert re.search(r"ok shared outbox: 1 node \(\S+ [0-9a-f]{8}\) reported to postgresql://\S+ within a day", text)
    assert ", 1 run in progress" in text
    assert "1 run ended without a word" in text
    assert database.password not in output


def test_what_each_node_has_sent_is_listed_with_its_name(new_node: Callable[[str], Node], receiver: Receiver) -> None:
    node = new_node("one")
    assert node.run(node.write("site.yml", SITE.format(seconds=0)))[0] == 0
    for lister in (node, new_node("another")):
        code, output = lister.run(OUTBOX)
        lines = re.findall(r'"(\d{4}-\d\d-\d\d [^"]*)"', output)
        assert (code, len(lines)) == (0, 2), output
        for line, event in zip(reversed(lines), receiver.events(), strict=True):
            assert event["request_id"] in line
            assert re.search(r", node \S+ [0-9a-f]{8}\]", line)


def test_what_another_node_was_refused_is_sent_again(new_node: Callable[[str], Node], receiver: Receiver) -> None:
    node, another = new_node("one"), new_node("another")
    receiver.faults.set("status", status=400, message="labels: too many")
    assert node.run(node.write("site.yml", SITE.format(seconds=0)))[0] == 0
    receiver.faults.clear()
    lines = re.findall(r'"(\d{4}-\d\d-\d\d [^"]*)"', another.run(OUTBOX, "-e", "outbox_state=refused")[1])
    assert len(lines) == 2
    ids = ",".join(re.findall(r"\[(\w+)", "".join(lines)))
    assert another.run(OUTBOX, "-e", f"resend={ids}")[0] == 0
    code, output = another.run(FLUSH)
    assert (code, "2 delivered, 0 waiting" in output) == (0, True), output
    assert [body["change_status"] for body in of_change(receiver, "CHANGE-1")] == ["Processing", "Done"]


def test_while_it_cannot_be_used_each_task_says_so_and_does_the_rest(
    node: Node, postgresql: PostgreSQL, database: Database
) -> None:
    assert node.run(node.write("site.yml", SITE.format(seconds=0)))[0] == 0
    postgresql.stop()
    code, output = node.run(OUTBOX)
    text = " ".join(output.split())
    assert (code, "so only the outbox of this machine is shown" in text, text.count("CHANGE-1")) == (0, True, 2), output
    code, output = node.run(FLUSH)
    assert (code, "only the outbox of this machine was flushed" in " ".join(output.split())) == (2, True), output
    code, output = node.run(DOCTOR)
    assert (code, "fail shared outbox" in " ".join(output.split())) == (2, True), output
    assert database.password not in output
