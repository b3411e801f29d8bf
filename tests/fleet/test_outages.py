# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL fails in every way: the run is reported all the same, warns once, and is entered afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import pytest
from control_node import unbroken, wait_until
from fleet import FLUSH, Node, of_change
from postgresql import Database

from flashduty_sandbox.receiver import Receiver

SITE = "- hosts: web1\n  gather_facts: false\n  tasks:\n    - ansible.builtin.raw: {command}\n"
WARNING = "the shared outbox cannot be used"
# Seconds by which a run may end later than one whose shared outbox answers; what libpq waits for is hidden in none.
LATER = 8.0


class Outage(NamedTuple):
    """What is wrong with PostgreSQL, and how it gets right again."""

    begin: Callable[[Database], object]
    end: Callable[[Database], object]


def _newer(database: Database) -> None:
    database.rows("UPDATE flashduty.settings SET value = '9999' WHERE name = 'version'")
    database.disconnect()


def _as_before(database: Database) -> None:
    from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.shared_schema import SCHEMA_VERSION

    database.rows(f"UPDATE flashduty.settings SET value = '{SCHEMA_VERSION}' WHERE name = 'version'")


def _missing(database: Database) -> None:
    database.rows("ALTER SCHEMA flashduty RENAME TO elsewhere")
    database.disconnect()


OUTAGES = {
    "stopped": Outage(lambda database: database.server.stop(), lambda database: database.server.start()),
    "killed": Outage(lambda database: database.server.kill(), lambda database: database.server.start()),
    "paused": Outage(lambda database: database.server.pause(), lambda database: database.server.resume()),
    "out of connections": Outage(lambda each: each.limit_connections(0), lambda each: each.limit_connections(-1)),
    "read-only": Outage(lambda database: database.set_read_only(True), lambda each: each.set_read_only(False)),
    "another password": Outage(
        lambda database: database.change_password("another"),
        lambda database: database.change_password(database.password),
    ),
    "no schema": Outage(_missing, lambda database: database.rows("ALTER SCHEMA elsewhere RENAME TO flashduty")),
    "a newer schema": Outage(_newer, _as_before),
}
EVERY_OUTAGE = pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
# The others look like one of these to a connection that is open.
IN_THE_MIDDLE = ("killed", "paused", "read-only", "no schema")


def statuses(receiver: Receiver, change_key: str) -> list[str]:
    return [body["change_status"] for body in of_change(receiver, change_key)]


def entered(database: Database, change_key: str) -> list[tuple[object, ...]]:
    """What the shared outbox holds of a change: how many events in which state."""
    return database.rows(
        f"SELECT state, count(*) FROM flashduty.events WHERE change_key = '{change_key}' GROUP BY 1 ORDER BY 1"
    )


def run(node: Node, change_key: str) -> tuple[float, str]:
    """A short run to its end: its seconds and its output."""
    site = node.write("site.yml", SITE.format(command="'true'"))
    began = time.monotonic()
    code, output = node.run("-e", f"flashduty_change_key={change_key}", site)
    assert code == 0
    return time.monotonic() - began, unbroken(output)


@EVERY_OUTAGE
def test_a_run_that_begins_in_an_outage_is_reported_and_entered_later(
    node: Node, database: Database, receiver: Receiver, outage: Outage
) -> None:
    usual, output = run(node, "before")
    assert WARNING not in output
    assert entered(database, "before") == [("delivered", 2)]
    outage.begin(database)
    seconds, output = run(node, "meanwhile")
    assert statuses(receiver, "meanwhile") == ["Processing", "Done"]
    assert output.count(WARNING) == 1, output
    assert database.password not in output
    assert seconds < usual + LATER
    outage.end(database)
    _seconds, output = run(node, "after")
    assert WARNING not in output
    wait_until(lambda: entered(database, "meanwhile") == [("delivered", 2)])
    assert [statuses(receiver, key) for key in ("before", "meanwhile", "after")] == 3 * [["Processing", "Done"]]
    assert database.rows("SELECT count(*) FROM flashduty.runs WHERE closed_at IS NULL") == [(0,)]


@pytest.mark.parametrize("outage", [OUTAGES[name] for name in IN_THE_MIDDLE], ids=IN_THE_MIDDLE)
def test_a_run_in_whose_middle_an_outage_begins_is_reported_and_entered_later(
    node: Node, database: Database, receiver: Receiver, outage: Outage
) -> None:
    go = node.folder / "go"
    site = node.write("site.yml", SITE.format(command=f"'until [ -e {go} ]; do sleep 0.1; done'"))
    with node.start("-e", "flashduty_change_key=middle", site) as process:
        wait_until(lambda: entered(database, "middle") == [("delivered", 1)])
        outage.begin(database)
        go.touch()
        output, _none = process.communicate(timeout=90)
    print(output)
    assert process.returncode == 0
    assert statuses(receiver, "middle") == ["Processing", "Done"]
    assert unbroken(output).count(WARNING) <= 1
    assert database.password not in output
    outage.end(database)
    assert node.run(FLUSH)[0] == 0
    wait_until(lambda: entered(database, "middle") == [("delivered", 2)])
    assert statuses(receiver, "middle") == ["Processing", "Done"]
    assert database.rows("SELECT count(*) FROM flashduty.runs WHERE closed_at IS NULL") == [(0,)]


def test_a_courier_goes_on_after_an_outage(node: Node, database: Database, receiver: Receiver) -> None:
    go = node.folder / "go"
    site = node.write("site.yml", SITE.format(command=f"'until [ -e {go} ]; do sleep 0.1; done'"))
    database.server.stop()
    with node.start("-e", "flashduty_change_key=long", site) as process:
        wait_until(lambda: statuses(receiver, "long") == ["Processing"])
        database.server.start()
        # Without any help: its courier tries again.
        wait_until(lambda: entered(database, "long") == [("delivered", 1)])
        go.touch()
        process.communicate(timeout=90)
    assert process.returncode == 0
    wait_until(lambda: entered(database, "long") == [("delivered", 2)])
    assert statuses(receiver, "long") == ["Processing", "Done"]
