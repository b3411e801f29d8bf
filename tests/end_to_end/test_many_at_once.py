# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many processes share an outbox and a rate limit: nothing is lost, nothing sent twice, no lock reaches a user."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from control_node import KEY, PATIENCE, ControlNode

pytestmark = pytest.mark.slow

PROCESSES = 50
HOSTS = 500
CHANGES = 1000
WRITERS = 10
SITE = """
- hosts: web1
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {change_key: release-7, change_status: Processing, title: Release 7}
    - flashcat.flashduty.flashduty_change: {change_key: "own-{{ number }}", change_status: Done, title: Own}
"""
IDENTICAL = """
- hosts: many
  gather_facts: false
  tasks:
    - flashcat.flashduty.flashduty_change: {change_key: release-7, change_status: Processing, title: Release 7}
"""
WRITER = """
import sys, time
from ansible_collections.flashcat.flashduty.plugins.module_utils._change_event import ChangeEvent
from ansible_collections.flashcat.flashduty.plugins.module_utils._connection import Connection
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._courier.delivery import Delivery
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.store import Store

folder, url, key, name, count = sys.argv[1:]
connection = Connection(url, key)
store = Store(folder, connection)


def put(outbox):
    for number in range(int(count)):
        fields = dict(change_key=f"{name}/{number}", change_status="Done", title="t")
        outbox.put(ChangeEvent.validated(fields, time.time()))


store.do(put)
end = time.monotonic() + 240
with Delivery(store):
    while store.look(lambda outbox: outbox.events.pending()):
        if time.monotonic() > end:
            sys.exit(1)
        time.sleep(0.2)
"""


@pytest.mark.alone
def test_fifty_playbooks_share_one_outbox(control: ControlNode) -> None:
    site = control.write("site.yml", SITE)
    running = [
        control.start("-e", f"number={number} flashduty_timeout={2 * PATIENCE:g}", site) for number in range(PROCESSES)
    ]
    for process in running:
        with process:
            output, _none = process.communicate(timeout=10 * PATIENCE)
        assert process.returncode == 0, output
        assert "WARNING" not in output
        assert "locked" not in output
    changes = Counter(change["change_status"] for change in control.receiver.changes())
    assert changes == {"Done": 2 * PROCESSES, "Processing": 1}
    arrived = Counter((event["change_key"], event["change_status"]) for event in control.receiver.events())
    assert set(arrived.values()) == {1}
    assert len(arrived) == 3 * PROCESSES + 1


@pytest.mark.alone
def test_five_hundred_identical_tasks_are_one_event(control: ControlNode) -> None:
    hosts = "".join(f"host{number}\n" for number in range(HOSTS))
    control.write("inventory", f"[many]\n{hosts}[many:vars]\nansible_connection=local\n")
    control.environment.update(ANSIBLE_FORKS=str(HOSTS), FLASHDUTY_TIMEOUT=str(2 * PATIENCE))
    del control.environment["ANSIBLE_CALLBACKS_ENABLED"]
    with control.start(control.write("site.yml", IDENTICAL)) as process:
        output, _none = process.communicate(timeout=10 * PATIENCE)
    failed = [line for line in output.splitlines() if line.startswith("fatal")]
    assert process.returncode == 0, failed[:3]
    assert control.statuses() == ["Processing"]
    assert output.count("changed: [") == 1
    assert output.count("ok: [") == HOSTS - 1
    assert "locked" not in output


def test_a_thousand_changes_stay_within_the_published_limits(control: ControlNode) -> None:
    script = control.write("writer.py", WRITER)
    environment = {**os.environ, "PYTHONPATH": os.environ["ANSIBLE_COLLECTIONS_PATH"]}
    folder = str(control.folder / "home" / "flashduty")
    writers = [
        subprocess.Popen(
            [sys.executable, script, folder, control.receiver.url, KEY, f"w{number}", str(CHANGES // WRITERS)],
            env=environment,
        )
        for number in range(WRITERS)
    ]
    for writer in writers:
        assert writer.wait(timeout=5 * PATIENCE) == 0
    answers = Counter(request["status"] for request in control.receiver.requests())
    assert len(control.receiver.changes()) == CHANGES
    # On a busy machine a sender may take so long that its event is taken for lost, and is sent again.
    assert CHANGES <= answers[200] <= 1.01 * CHANGES
    assert answers[429] < 0.01 * CHANGES
    assert set(answers) <= {200, 429}
