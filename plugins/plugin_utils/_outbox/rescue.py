# Copyright (c) 2026, the flashcat.flashduty contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can still be read of a damaged outbox goes on in the one that takes its place."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

from ansible_collections.flashcat.flashduty.plugins.plugin_utils._outbox.database import committing

# What matters of a damaged file: the runs, whatever is not settled, and all events of a run that is not closed.
_WORTH_RESCUING = (
    ("runs", "TRUE"),
    ("parts", "TRUE"),
    ("events", "state IN ('waiting', 'sending') OR run IN (SELECT id FROM runs WHERE closed_at IS NULL)"),
)
# The number of the last event, which lies on two pages, of which one may be damaged.
_LAST_NUMBER = ("SELECT seq FROM sqlite_sequence WHERE name = 'events'", "SELECT max(id) FROM events")


def rescue(damaged: str, database: sqlite3.Connection) -> None:
    """Copy what matters of the damaged file into the new one, as far as it can be read.

    Other processes may have put events into the new one by now; they come after those of the damaged file.
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{damaged}?mode=ro", uri=True)) as old:
        # As one transaction: an event that is put between two rows would take the number of the second one.
        database.execute("BEGIN IMMEDIATE")
        with committing(database):
            _make_room(old, database)
            for table, condition in _WORTH_RESCUING:
                _copy(old, database, table, condition)


def _make_room(old: sqlite3.Connection, database: sqlite3.Connection) -> None:
    """Give the events of the new file numbers above those of the old one."""
    last = 0
    for query in _LAST_NUMBER:
        try:
            row = old.execute(query).fetchone()
        except sqlite3.Error:  # that page is damaged
            continue
        last = max(last, (row and row[0]) or 0)
    # In two steps, for each number may be taken until all have moved.
    database.execute("UPDATE events SET id = -id")
    database.execute("UPDATE events SET id = ? - id", (last,))


def _copy(old: sqlite3.Connection, database: sqlite3.Connection, table: str, condition: str) -> None:
    with suppress(sqlite3.Error):  # what was read until then is kept
        rows = old.execute(f"SELECT * FROM {table} WHERE {condition}")
        # By name: a file that an earlier version made has fewer columns.
        names = ", ".join(column[0] for column in rows.description)
        marks = ", ".join("?" * len(rows.description))
        for row in rows:
            database.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", tuple(row))
