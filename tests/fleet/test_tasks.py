# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What flush, outbox and doctor do and show of all nodes, on one that has reported nothing itself."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing

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


# While it has just come up, nobody is taken for vanished.
HAS_BEEN_UP = "SELECT 1 WHERE pg_postmaster_start_time() < now() - interval '41 seconds'"


def wait_until(database: Database, query: str) -> None:
    end = time.monotonic() + 90
    while not database.rows(query):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_what_a_node_left_that_has_vanished_is_seen_and_closed(
    new_node: Callable[[str], Node], receiver: Receiver, database: Database
) -> None:
    lost, node = new_node("lost"), new_node("another")
    with lost.start(lost.write("site.yml", SITE.format(seconds=600))) as process:
        wait_until(database, "SELECT 1 FROM flashduty.events WHERE state = 'delivered'")
        lost.vanish()
        process.communicate()
    wait_until(database, HAS_BEEN_UP)
    database.server.execute(
        "UPDATE flashduty.runs SET seen_at = seen_at - 60, opened_at = opened_at - 60", database.name
    )
    code, output = node.run(DOCTOR)
    text = " ".join(output.split())
    assert code == 0, output
    assert re.search(r"ok shared outbox: 1 node \(\S+ [0-9a-f]{8}\) reported to postgresql://\S+ within a day", text)
    assert ", 1 run in progress" in text
    assert "1 run ended without a final status" in text
    assert database.password not in output
    code, output = node.run(FLUSH, "--check")
    assert (code, "checked only: 0 delivered, 0 waiting, 1 closed" in output) == (0, True), output
    code, output = node.run(FLUSH)
    assert (code, "1 delivered, 0 waiting, 1 closed, 0 refused" in output) == (0, True), output
    assert [body["change_status"] for body in of_change(receiver, "CHANGE-1")] == ["Processing", "Canceled"]
    code, output = node.run(FLUSH)
    assert (code, "0 delivered, 0 waiting, 0 closed" in output) == (0, True), output


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


def test_what_only_this_node_knows_is_entered_and_delivered_by_its_flush(node: Node, receiver: Receiver) -> None:
    url = node.environment.pop("FLASHDUTY_OUTBOX_URL")
    receiver.faults.set("reset")
    assert node.run(node.write("site.yml", SITE.format(seconds=0)))[0] == 0
    receiver.faults.clear()
    node.kill_couriers()
    # As on a machine that was off for some days.
    with closing(sqlite3.connect(node.folder / "home" / "flashduty" / "outbox.sqlite3")) as outbox:
        outbox.execute("UPDATE events SET put_at = put_at - 3 * 86400")
        outbox.commit()
    node.environment["FLASHDUTY_OUTBOX_URL"] = url
    code, output = node.run(FLUSH, "-e", "flush_wait=20")
    assert (code, "2 delivered, 0 waiting" in output) == (0, True), output
    assert [body["change_status"] for body in of_change(receiver, "CHANGE-1")] == ["Processing", "Done"]
