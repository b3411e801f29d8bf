# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on of a damaged outbox in the one that takes its place."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from outboxes import LEASE, ME, Clock, claimed, event, outbox_in, status_of

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.claims import Claim
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import salt_of
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.outbox import Outbox
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.rescue import rescue
from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.runs import Watch


@pytest.fixture
def new(outbox: Outbox, tmp_path: Path, clock: Clock) -> Iterator[Outbox]:
    """An outbox that has just been made, and knows integrations by the names of the other."""
    salt_of(str(tmp_path / "new"), like=outbox.folder)
    with outbox_in(tmp_path / "new", clock) as opened:
        yield opened


def rescued(outbox: Outbox, new: Outbox, damage: str = "") -> None:
    """Save what matters of an outbox into the new one.

    :param damage: what has become of the old file: statements.
    """
    outbox.close()
    path = Path(outbox.database.path)
    if damage:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.executescript(damage)
    with closing(sqlite3.connect(new.database.path, isolation_level=None)) as database:
        rescue(str(path), database)


def sent(outbox: Outbox) -> list[tuple[str, str]]:
    """What is sent of the integration, in order."""
    found = []
    while isinstance(claim := outbox.claims.claim(LEASE), Claim):
        found.append((claim.change_key, status_of(claim)))
        outbox.claims.delivered(claim, "r")
    return found


def rows(outbox: Outbox, columns: str, table: str) -> list[Any]:
    return [tuple(row) for row in outbox.database.rows(f"SELECT {columns} FROM {table} ORDER BY 1")]


def test_what_waits_is_sent_by_the_new_outbox_in_the_same_order(outbox: Outbox, new: Outbox) -> None:
    for key, status in (("a", "Processing"), ("b", "Processing"), ("a", "Done")):
        outbox.put(event(key, status))
    rescued(outbox, new)
    assert sent(new) == [("a", "Processing"), ("b", "Processing"), ("a", "Done")]


def test_an_answer_that_comes_later_finds_its_event(outbox: Outbox, new: Outbox) -> None:
    outbox.put(event())
    claim = claimed(outbox)
    rescued(outbox, new)
    new.claims.delivered(claim, "r")
    assert new.events.pending() == 0


def test_of_what_is_settled_only_that_of_open_runs_is_needed(outbox: Outbox, new: Outbox) -> None:
    for run, key in (("open", "a"), ("closed", "b")):
        outbox.runs.open(run, Watch(ME, "it vanished", "killed"), [event(key)])
        outbox.claims.delivered(claimed(outbox), "r")
    outbox.put(event("c"))
    outbox.claims.delivered(claimed(outbox), "r")
    outbox.runs.close("closed", [])
    rescued(outbox, new)
    assert rows(new, "change_key, state", "events") == [("a", "delivered")]
    assert [each.change_key for each in new.runs.canceled_events("open")] == ["a"]
    # Nobody takes it for open.
    assert new.runs.is_closed("closed")


def test_the_parts_of_hosts_go_on(outbox: Outbox, new: Outbox) -> None:
    outbox.runs.open("run", Watch(ME, "it vanished", "killed"), [event()])
    outbox.runs.start_part(rows(outbox, "uid", "events")[0][0], "h1")
    rescued(outbox, new)
    assert rows(new, "host, run, outcome", "parts") == [("h1", "run", "started")]


@pytest.mark.parametrize("lost", ["runs", "parts"])
def test_a_table_that_cannot_be_read_does_not_cost_the_others(outbox: Outbox, new: Outbox, lost: str) -> None:
    outbox.runs.open("run", Watch(ME, "it vanished", "killed"), [event()])
    outbox.put(event("b"))
    rescued(outbox, new, f"DROP TABLE {lost}")
    # Without the runs, nobody knows which of them are open.
    assert new.events.pending() == (0 if lost == "runs" else 2)
    assert len(rows(new, "id", "runs")) == (0 if lost == "runs" else 1)


def test_what_cannot_be_read_at_all_leaves_the_new_one_as_it_is(outbox: Outbox, new: Outbox, tmp_path: Path) -> None:
    new.put(event())
    outbox.close()
    Path(outbox.database.path).write_bytes(b"this is no database" * 1000)
    rescued(outbox, new)
    shutil.move(outbox.database.path, tmp_path / "elsewhere")
    rescued(outbox, new)
    assert not Path(outbox.database.path).exists()
    assert sent(new) == [("a", "Processing")]


def test_what_others_have_put_meanwhile_comes_after_it(outbox: Outbox, new: Outbox, clock: Clock) -> None:
    for key in ("a", "b"):
        outbox.put(event(key))
    uids = [new.put(event("a", status)).uid for status in ("Canceled", "Done")]
    new.put(event("c"))
    claim = claimed(new)
    rescued(outbox, new)
    new.put(event("b", "Done"))
    assert new.events.pending() == 6
    # What is being sent goes out as it is.
    new.claims.delivered(claim, "r")
    assert claim.uid == uids[0]
    assert sent(new) == [
        ("a", "Processing"),
        ("b", "Processing"),
        ("a", "Done"),
        ("c", "Processing"),
        ("b", "Done"),
    ]


def test_nobody_puts_anything_between(outbox: Outbox, new: Outbox) -> None:
    for number in range(3):
        outbox.put(event(str(number)))
    outbox.close()
    others: list[str] = []

    class Database(sqlite3.Connection):
        def execute(self, statement: str, values: Any = (), /) -> sqlite3.Cursor:
            done = super().execute(statement, values)
            if statement.startswith("INSERT") and "events" in statement:
                with closing(sqlite3.connect(new.database.path, isolation_level=None, timeout=0)) as other:
                    try:
                        other.execute("BEGIN IMMEDIATE")
                        others.append(statement)
                    except sqlite3.OperationalError:
                        pass
            return done

    with closing(sqlite3.connect(new.database.path, isolation_level=None, factory=Database)) as database:
        rescue(outbox.database.path, database)
    assert others == []
    assert new.events.pending() == 3


def test_what_an_earlier_version_stored_in_fewer_columns_goes_on(outbox: Outbox, new: Outbox) -> None:
    outbox.runs.open("run", Watch(ME, "It was killed.", "killed"), [event()])
    rescued(outbox, new, "ALTER TABLE events DROP COLUMN shared; ALTER TABLE runs DROP COLUMN shared")
    assert sent(new) == [("a", "Processing")]
    assert not new.runs.is_closed("run")
