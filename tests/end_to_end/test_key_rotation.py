# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The integration key is replaced by another one: what was stored for the old one is told, adopted or given up."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
from contextlib import closing

import pytest
from control_node import KEY, ControlNode, wait_until

from flashduty_sandbox.receiver import Receiver

pytestmark = pytest.mark.slow

NEW_KEY = "c41d9e7720ab5f83"
FLUSH = "flashcat.flashduty.flush"
SITE = "- name: {name}\n  hosts: web\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: {command}\n"


def _replace_key(control: ControlNode, receiver: Receiver) -> None:
    """Flashduty has a new key for the same integration, and so has the control node."""
    receiver._api.integrations = {NEW_KEY: receiver.integration_id(KEY)}
    control.environment["FLASHDUTY_PUSH_URL"] = receiver.push_url(NEW_KEY)


def _outbox(control: ControlNode, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(next(control.folder.rglob("outbox.sqlite3")), timeout=60)) as database:
        rows = database.execute(statement).fetchall()
        database.commit()
        return rows


def _flush(control: ControlNode, *arguments: str) -> tuple[int, str]:
    return control.run(FLUSH, "-v", *arguments)


def test_what_an_outage_held_up_is_adopted_by_the_new_key(control: ControlNode, receiver: Receiver) -> None:
    receiver.faults.set("status", status=503)
    site = control.write("site.yml", SITE.format(name="Upgrade", command="/bin/true"))
    control.environment["FLASHDUTY_WAIT"] = "0"
    assert control.run(site)[0] == 0
    _replace_key(control, receiver)
    receiver.faults.clear()
    # Whoever still delivers with the old key is refused, or has gone.
    _outbox(control, "UPDATE events SET put_at = put_at - 3600")
    control.environment["FLASHDUTY_WAIT"] = "60"
    other = control.write("other.yml", SITE.format(name="Other", command="/bin/true"))
    code, output = control.run(other)
    assert code == 0
    said = " ".join(output.split())
    (name,) = set(re.findall(r"for the integration (\w+), whose key this run does not have: 2 events since", said))
    assert "(Upgrade · " in said
    assert f"{FLUSH} -e adopt={name}" in said

    code, output = _flush(control, "--check", "-e", "adopt=all")
    assert (code, receiver.changes()[0]["title"].startswith("Other")) == (0, True)
    assert len(receiver.changes()) == 1
    adopt = control.write_import(FLUSH, adopt=name)
    code, output = control.run("-v", adopt, FLUSH, other)
    assert code == 0, output
    assert f"of the integration {name}, delivered with this key: 2 events since" in output
    _before, _adopted, flushed = output.split("PLAY [Deliver")
    assert '"others": []' in flushed
    assert KEY not in output
    assert "whose key this run does not have" not in " ".join(output.split())
    assert [change["change_status"] for change in receiver.changes()] == ["Done"] * 3


def test_a_run_that_was_killed_under_the_old_key_is_closed_with_the_new_one(
    control: ControlNode, receiver: Receiver
) -> None:
    site = control.write("site.yml", SITE.format(name="Upgrade", command="sleep 60"))
    run = control.start(site)
    wait_until(lambda: control.statuses() == ["Processing"])
    _replace_key(control, receiver)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    wait_until(lambda: _outbox(control, "SELECT 1 FROM events WHERE state = 'refused' AND change_status = 'Canceled'"))
    code, output = _flush(control, "-e", "adopt=true")
    assert code == 0, output
    change = control.only_change()
    assert (change["change_status"], change["labels"]["result"]) == ("Canceled", "killed")


def test_what_is_given_up_is_told_and_gone(control: ControlNode, receiver: Receiver) -> None:
    receiver.faults.set("status", status=503)
    control.environment["FLASHDUTY_WAIT"] = "0"
    assert control.run(control.write("site.yml", SITE.format(name="Upgrade", command="/bin/true")))[0] == 0
    _replace_key(control, receiver)
    receiver.faults.clear()
    wait_until(lambda: not _outbox(control, "SELECT 1 FROM events WHERE state = 'sending'"))
    drop, drop_unknown = (control.write_import(FLUSH, drop=name) for name in ("true", "0123abcd"))
    code, output = control.run("-v", drop_unknown, drop_unknown, drop, drop)
    assert code == 0, output
    flushes = output.split("PLAY [Deliver")[1:]
    assert ['"others": []' in said for said in flushes] == [False, False, True, True]
    assert receiver.changes() == []
